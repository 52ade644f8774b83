"""Level 4, texts: the tokenizer there and back, and the task's answers with one engine's graphs and the other's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import tokenizers

from diptych.export.parity.levels.lockstep import Lockstep
from diptych.export.parity.levels.tokens import PLAIN
from diptych.export.parity.report import UNREADABLE, AnswerReport, TextReport
from diptych.export.parity.sides import Engines, decoder_of
from diptych.runtime import ports
from diptych.runtime.bundle import Bundle, BundleDecoder
from diptych.runtime.errors import InputError
from diptych.runtime.graph import Graph
from diptych.runtime.providers import SessionSettings
from diptych.runtime.tasks import Task, task_of
from diptych.runtime.tasks.generate import TextGenerator

# Tokens generated for a text; and the least error of a score that is one.
NEW_TOKENS = 32
_LEAST = 1e-6
# Of a text, and the options with which two engines generated something else for it: whether that is a near-tie.
NearTie = Callable[[str, Mapping[str, Any]], bool]


@dataclass(frozen=True)
class RunBy(Bundle):
    """A bundle whose graphs are run by these engines instead of its own sessions. lockstep: decodes in their place."""

    engines: Engines
    lockstep: Lockstep | None = None

    def decoder(self, settings: SessionSettings) -> BundleDecoder:
        return decoder_of(self.engines) if self.lockstep is None else cast("BundleDecoder", self.lockstep)

    def model(self, settings: SessionSettings) -> Graph:
        return self.engines[ports.MODEL_FILE]


def open_task(bundle: Bundle, engines: Engines, lockstep: Lockstep | None = None) -> Task[Any, Any]:
    """What the bundle is for, done by these engines. Raises BundleError if it reads no text."""
    return task_of(bundle).open(RunBy(bundle.folder, bundle.manifest, engines, lockstep), SessionSettings())


def compare_texts(
    task: Task[Any, Any], reference: Task[Any, Any], lines: Sequence[str], tolerance: float, near: NearTie
) -> list[AnswerReport]:
    """What both say of each line, of one that they cannot read its error. tolerance: of scores, absolute."""
    options: dict[str, Any] = {}
    if isinstance(task, TextGenerator):
        options = {**PLAIN, "num_return_sequences": 1, "max_new_tokens": _new_tokens(task)}
    answers = []
    for line in lines:
        found, expected = (_answer(each, line, options) for each in (task, reference))
        if isinstance(found, str) or isinstance(expected, str):
            note = UNREADABLE if isinstance(expected, str) else ""
            answers.append(AnswerReport(line, str(found), str(expected), found == expected, note))
            continue
        ours, theirs = (dict(_leaves(each.to_json(result))) for each, result in ((task, found), (reference, expected)))
        close = _scores_apart(ours, theirs) <= max(tolerance, _LEAST)
        words = [{path: leaf for path, leaf in each.items() if not isinstance(leaf, float)} for each in (ours, theirs)]
        # Of two that are as likely, either may be the first.
        tied = words[0] != words[1] and (
            near(line, options) if options else close and set(words[0].values()) == set(words[1].values())
        )
        shown = task.to_line(found), reference.to_line(expected)
        same = tied or (close and words[0] == words[1])
        answers.append(AnswerReport(line, *shown, same=same, note="near-tie" if tied else ""))
    return answers


def _new_tokens(task: TextGenerator) -> int:
    """A decoder that looks back starts with one token."""
    positions = task.generator.manifest.target_positions
    return NEW_TOKENS if positions is None else max(1, min(NEW_TOKENS, positions - 1))


def compare_tokenizers(
    bundle: Bundle, expected: Sequence[tuple[str, tokenizers.Tokenizer]], lines: Sequence[str]
) -> TextReport:
    """expected: for each file of the bundle, what it should be. Whole files differ, or else no text does."""
    differing, round_trips = [], 0
    for name, reference in expected:
        if name not in bundle.manifest.files:
            continue
        ours = _whole((bundle.folder / name).read_text(encoding="utf-8"))
        other = _whole(reference.to_str())
        if ours.to_str() != other.to_str():
            apart = [line for line in lines if ours.encode(line).ids != other.encode(line).ids]
            first = f"; ids differ, first for {apart[0]!r:.60}" if apart else ""
            differing.append(f"{name} is not the reference's{first}")
        if name == ports.TOKENIZER_FILE:
            round_trips = sum(_comes_back(ours, line) for line in lines)
    return TextReport(len(lines), round_trips, 0, differing, [])


def _whole(text: str) -> tokenizers.Tokenizer:
    """As the runtime uses it: whatever the file says, nothing is cut or padded."""
    tokenizer = tokenizers.Tokenizer.from_str(text)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _comes_back(tokenizer: tokenizers.Tokenizer, line: str) -> bool:
    ids = tokenizer.encode(line, add_special_tokens=False).ids
    return bool(tokenizer.encode(tokenizer.decode(ids), add_special_tokens=False).ids == ids)


def _answer(task: Task[Any, Any], line: str, options: dict[str, Any]) -> Any:
    """A result, or why there is none, as a text."""
    try:
        (result,) = task.attempt([task.from_line(line)], **options)
    except InputError as error:
        return str(error)
    return str(result) if isinstance(result, InputError) else result


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The texts and numbers of a JSON value, and where each is."""
    if isinstance(value, dict):
        for key in value:
            yield from _leaves(value[key], (*path, key))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _leaves(item, (*path, place))
    else:
        yield path, value


def _scores_apart(ours: Mapping[Any, Any], expected: Mapping[Any, Any]) -> float:
    """The largest difference of two numbers in the same place."""
    pair = [{path: leaf for path, leaf in each.items() if isinstance(leaf, float)} for each in (ours, expected)]
    if pair[0].keys() != pair[1].keys():
        return float("inf")
    return max((abs(pair[0][path] - pair[1][path]) for path in pair[0]), default=0.0)
