"""answer: the part of a context that answers a question."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, overload

import numpy as np

from diptych.runtime import ports
from diptych.runtime.errors import InputError
from diptych.runtime.graph import Array
from diptych.runtime.option_fields import flag, whole_number
from diptych.runtime.tasks.encoder_task import EncoderTask
from diptych.runtime.tasks.pairs import Pair, check_pair, pair_from_json, pair_from_line
from diptych.runtime.tasks.scores import softmax
from diptych.runtime.tokens import Tokens

_CONTEXT = 1


@dataclass(frozen=True)
class AnswerOptions:
    """What may be an answer, and how a long context is read."""

    top_k: int = whole_number(1, "most answers, best first", least=1)
    max_answer_tokens: int = whole_number(15, "tokens of the longest answer", least=1)
    max_length: int = whole_number(384, "tokens of a window on a long context, the question included", least=1)
    stride: int = whole_number(128, "context tokens that neighbouring windows share, at most half", least=0)
    allow_no_answer: bool = flag(False, "an empty answer where the model finds none")
    align_to_words: bool = flag(True, "answers are of whole words")


@dataclass(frozen=True)
class Span:
    """`text` is the characters [start, end) of the context; all empty where there is no answer."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Answer(Span):
    """The best answer; and the `top_k` best, itself included."""

    answers: tuple[Span, ...]


class _Window(NamedTuple):
    """The best answers in a window, characters [start, end) and score; and the score of there being none."""

    spans: dict[tuple[int, int], float]
    none: float


class Answerer(EncoderTask[Pair, AnswerOptions, _Window, Answer]):
    """Pairs (question, context) to answers, as transformers' question-answering pipeline found them.

    A score is the probability of the start times that of the end, among the tokens of a window's context and the first
    token, where models put "no answer". A long context is read in windows; the best answer of all counts.
    """

    doing = "answering"
    options = AnswerOptions
    outputs = (ports.START_LOGITS, ports.END_LOGITS)

    @overload
    def __call__(self, texts: Pair, /, **options: Any) -> Answer: ...
    @overload
    def __call__(self, texts: list[Pair], /, **options: Any) -> list[Answer]: ...
    @overload
    def __call__(self, question: str, context: str, /, **options: Any) -> Answer: ...
    def __call__(self, texts: Any, context: str | None = None, /, **options: Any) -> Answer | list[Answer]:
        """The answer to a question, or to each of a list of pairs; errors as in every task."""
        found: Answer | list[Answer] = super().__call__(texts if context is None else (texts, context), **options)
        return found

    def read(self, text: Pair, options: AnswerOptions) -> list[Tokens]:
        check_pair(text, "question", "context")
        tokens = self.tokenizer.read(*text)
        longest = min(options.max_length, self.encoder.longest or options.max_length)
        question = len(tokens.ids) - len(tokens.places(_CONTEXT))
        if question >= longest:
            raise InputError(
                f"the question is too long: {question} tokens leave no room for the context in windows of {longest}"
            )
        return tokens.windows(_CONTEXT, longest, options.stride)

    def see(self, tokens: Tokens, outputs: dict[str, Array], options: AnswerOptions) -> _Window:
        places = tokens.places(_CONTEXT)
        # The first token's share keeps down the scores of windows that have no answer.
        counted = [0, *places] if tokens.parts[0] is None else [*places]
        starts, ends = (_probabilities(outputs[name], counted) for name in self.outputs)
        spans: dict[tuple[int, int], float] = {}
        for start, end in _ranked(starts, ends, places, options.max_answer_tokens):
            if len(spans) == options.top_k:
                break
            first, last = _whole_words(tokens, start, end) if options.align_to_words else (start, end)
            span = tokens.offsets[first][0], tokens.offsets[last][1]
            if span[0] < span[1]:
                spans.setdefault(span, float(starts[start] * ends[end]))
        return _Window(spans, none=float(starts[0] * ends[0]))

    def tell(self, text: Pair, seen: list[_Window], options: AnswerOptions) -> Answer:
        scores: dict[tuple[int, int], float] = {}
        for window in seen:
            for span, score in window.spans.items():
                scores[span] = max(score, scores.get(span, 0.0))
        if options.allow_no_answer or not scores:
            scores[0, 0] = min(window.none for window in seen)
        ranked = sorted(scores.items(), key=lambda item: -item[1])[: options.top_k]
        spans = tuple(Span(text[1][start:end], start, end, score) for (start, end), score in ranked)
        return Answer(**asdict(spans[0]), answers=spans)

    def from_line(self, line: str) -> Pair:
        return pair_from_line(line, "question", "context")

    def from_json(self, row: object) -> Pair:
        """`text` is the question, `second` the context."""
        return pair_from_json(row)

    def to_line(self, result: Answer) -> str:
        return "\t".join(span.text for span in result.answers)

    def to_json(self, result: Answer) -> dict[str, Any]:
        values = asdict(result)
        if len(result.answers) == 1:
            del values["answers"]
        return values


def _probabilities(logits: Array, places: list[int]) -> Array:
    """A softmax over some places, zero elsewhere."""
    result = np.zeros_like(logits)
    result[places] = softmax(logits[places])
    return result


def _ranked(starts: Array, ends: Array, places: Sequence[int], longest: int) -> Iterator[tuple[int, int]]:
    """Where answers of at most `longest` tokens may start and end, the likeliest first."""
    scores = np.outer(starts[places], ends[places])
    start, end = np.nonzero(np.triu(np.tri(*scores.shape, longest - 1, dtype=bool)))
    for number in np.argsort(-scores[start, end], kind="stable"):
        yield places[start[number]], places[end[number]]


def _whole_words(tokens: Tokens, start: int, end: int) -> tuple[int, int]:
    """From the first token of the word that begins an answer to the last of the word that ends it."""
    while tokens.words[start - 1] == tokens.words[start]:
        start -= 1
    while end + 1 < len(tokens.words) and tokens.words[end + 1] == tokens.words[end]:
        end += 1
    return start, end
