"""The grid's cases: texts, and generation options in any combination, drawn so that every one of them matters."""

import os
import random
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from families import training
from families.case import EOS, PAD, START
from families.training import FIRST, MODES, VOCAB, Language
from families.twins import Engine

SEED = int(os.environ.get("DIPTYCH_GRID_SEED", "0"))
CASES = int(os.environ.get("DIPTYCH_GRID_CASES", "500"))
LONGEST = 20
FINAL = range(VOCAB - Language.FINAL, VOCAB)

Kind = Literal["bart", "llama"]
Ids = tuple[int, ...]
# What counts a row's tokens, or looks at all of them, sees the padding of a batch in transformers, in ours it does not.
SEES_PADDED_PROMPTS = {
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "encoder_repetition_penalty",
    "encoder_no_repeat_ngram_size",
    "forced_bos_token_id",
}
SEES_PADDED_SOURCES = {"encoder_repetition_penalty", "encoder_no_repeat_ngram_size"}


@dataclass(frozen=True)
class Case:
    """sources: what an encoder reads, or prompts. prefixes: of targets. batch_size: ours; None is more than enough.

    guesses: that we look up in what was read, for greedy search, which must not change anything.
    """

    kind: Kind
    engine: Engine
    sources: tuple[Ids, ...]
    prefixes: tuple[Ids, ...] | None
    batch_size: int | None
    options: dict[str, Any]
    guesses: int | None = None

    @property
    def is_pair(self) -> bool:
        return self.kind == "bart"

    @property
    def eos(self) -> list[int]:
        return list(self.options.get("eos_token_id", [EOS]))

    @property
    def beams(self) -> int:
        return int(self.options["num_beams"])

    @property
    def groups(self) -> list[list[int]]:
        """Which sources transformers reads in one batch: all, unless what they are padded with would count."""
        places = list(range(len(self.sources)))
        return [[place] for place in places] if self._is_padding_seen() else [places]

    def _is_padding_seen(self) -> bool:
        if self.prefixes is not None and len(set(map(len, self.prefixes))) > 1:
            return True
        sees = SEES_PADDED_SOURCES if self.is_pair else SEES_PADDED_PROMPTS
        return len(set(map(len, self.sources))) > 1 and bool(sees & self.options.keys())


def draw_case(seed: int, number: int) -> Case:
    """Beams by turns; of the other options a few at a time, so that each is often seen alone and with any other."""
    draw = random.Random(f"{seed} {number}")
    kind: Kind = "bart" if number % 2 else "llama"
    engine: Engine = "PyTorch" if draw.random() < 0.25 else "ONNX"
    sources = _sources(kind, draw)
    case = Case(kind, engine, sources, None, draw.choice([None, None, 2, 3]), {})
    if case.is_pair and draw.random() < 0.25:
        case = replace(case, prefixes=_prefixes(sources, draw))
    options = _search(number % 5 + 1, draw) | _limits(case, draw)
    filters = _filters(case, draw)
    for name in draw.sample(sorted(filters), draw.choice([0, 1, 1, 2, 2, 3, 4, 6])):
        options[name] = filters[name]
    guesses = draw.choice([None, 1, 4]) if options["num_beams"] == 1 else None
    return replace(case, options=_without_contradictions(options), guesses=guesses)


def _without_contradictions(options: dict[str, Any]) -> dict[str, Any]:
    """transformers refuses to suppress what it is to force. Two forced ends are equally good: of beams, any may win."""
    ends = options.get("forced_eos_token_id", [])
    ends = ends if isinstance(ends, list) else [ends]
    if options["num_beams"] > 1 and ends:
        options["forced_eos_token_id"] = ends[-1]
    forced = {options.get("forced_bos_token_id"), *ends}
    if "suppress_tokens" in options:
        options["suppress_tokens"] = [token for token in options["suppress_tokens"] if token not in forced]
    return options


def _sources(kind: Kind, draw: random.Random) -> tuple[Ids, ...]:
    """From one to five, of any lengths or all alike; of prompts the beginning."""
    language = training.successions if kind == "bart" else training.dialects
    inputs, _ = language(40, torch.Generator().manual_seed(draw.randrange(2**32)))
    rows = [row[row != PAD].tolist() for row in inputs["input_ids"]]
    if kind == "llama":
        rows = [row[: row.index(EOS)] if EOS in row else row for row in rows]
        rows = [row[: draw.randint(1, 7)] for row in rows]
    count = draw.randint(1, 5)
    if draw.random() < 0.2:
        rows = [row for row in rows if len(row) == len(rows[0])]
    return tuple(tuple(row) for row in rows[:count])


def _prefixes(sources: tuple[Ids, ...], draw: random.Random) -> tuple[Ids, ...]:
    """Some of what follows the source's word, or anything; for several sources of several lengths, or of one."""
    length = draw.choice([None, draw.randint(1, 4)])
    return tuple(_prefix(source, draw.randint(0, 4) if length is None else length, draw) for source in sources)


def _prefix(source: Ids, length: int, draw: random.Random) -> Ids:
    if draw.random() < 0.3:
        return tuple(draw.randrange(FIRST, VOCAB) for _ in range(length))
    words = [max(source[1], FIRST)]
    for _ in range(length):
        words.append(_follow(Language(2), words[-1], draw, MODES.index(source[0])))
    return tuple(words[1:])


def _follow(language: Language, word: int, draw: random.Random, dialect: int | None = None) -> int:
    """A likely next word."""
    spoken = draw.randrange(2) if dialect is None else dialect
    return int(language.successors[spoken, draw.randrange(2), word - FIRST])


def _search(beams: int, draw: random.Random) -> dict[str, Any]:
    if beams == 1:
        return {"num_beams": 1}
    return {
        "num_beams": beams,
        "num_return_sequences": draw.randint(1, beams),
        "length_penalty": draw.choice([0.0, 0.6, 1.0, 2.0, -0.5]),
        "early_stopping": draw.choice([True, False, "never"]),
    }


def _limits(case: Case, draw: random.Random) -> dict[str, Any]:
    """A limit of some kind, since the defaults differ; new tokens win over a total, which counts what is given."""
    given = max(map(len, case.sources)) if not case.is_pair else 1 + max(map(len, case.prefixes or [()]))
    new, total = draw.choice([1, 5, 9, LONGEST]), given + draw.choice([1, 6, 10, LONGEST])
    limits = {"max_new_tokens": new, "max_length": total}
    options = {name: limits[name] for name in draw.choice([("max_new_tokens",), ("max_length",), tuple(limits)])}
    room = options.get("max_new_tokens", total - given)
    fewest = {"min_new_tokens": draw.randint(0, min(room, 8)), "min_length": draw.randint(0, min(room, 8)) + given}
    for name in draw.choice([(), (), ("min_new_tokens",), ("min_length",), ("min_new_tokens", "min_length")]):
        options[name] = fewest[name]
    return options


def _filters(case: Case, draw: random.Random) -> dict[str, Any]:
    """A value for every other option. Sequences are mostly such as a model says."""
    language = Language(2 if case.is_pair else 1)

    def words(length: int) -> list[int]:
        said = [draw.randrange(FIRST, VOCAB)]
        while len(said) < length:
            said.append(_follow(language, said[-1], draw) if draw.random() < 0.8 else draw.randrange(FIRST, VOCAB))
        return said

    def some(count: int) -> list[int]:
        return draw.sample(range(FIRST, VOCAB), count)

    filters: dict[str, Any] = {
        "repetition_penalty": draw.choice([0.7, 1.3, 2.0]),
        "encoder_repetition_penalty": draw.choice([0.6, 1.5, 3.0]),
        "no_repeat_ngram_size": draw.randint(1, 3),
        "encoder_no_repeat_ngram_size": draw.randint(1, 3),
        "bad_words_ids": [words(draw.randint(1, 3)) for _ in range(draw.randint(1, 30))] + draw.choice([[], [[EOS]]]),
        "suppress_tokens": some(draw.randint(1, 15)) + draw.choice([[], [], [EOS]]),
        "begin_suppress_tokens": [EOS, *some(draw.randint(0, 20))],
        "forced_bos_token_id": draw.randrange(FIRST, VOCAB),
        "forced_eos_token_id": draw.choice([EOS, draw.randrange(FIRST, VOCAB), [EOS, draw.randrange(FIRST, VOCAB)]]),
        "sequence_bias": {tuple(words(draw.randint(1, 3))): draw.uniform(-6, 6) for _ in range(draw.randint(1, 20))},
        "exponential_decay_length_penalty": (draw.randint(0, 6), draw.choice([0.8, 1.05, 1.2])),
        "renormalize_logits": True,
        "remove_invalid_values": True,
        "eos_token_id": draw.choice([[EOS], [FINAL[0]], *([EOS, *some(count)] for count in (1, 2, 8, 30))]),
    }  # fmt: skip
    if case.is_pair:
        filters["decoder_start_token_id"] = draw.choice([START, PAD, draw.randrange(FIRST, VOCAB)])
    return filters
