"""tag: the entities in a text, such as names of people and places."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

from diptych.runtime import ports
from diptych.runtime.encoder import Encoder
from diptych.runtime.graph import Array
from diptych.runtime.option_fields import one_of
from diptych.runtime.tasks.encoder_task import EncoderTask
from diptych.runtime.tasks.entities import AGGREGATIONS, Entity, Piece, entities
from diptych.runtime.tasks.labels import labels_of
from diptych.runtime.tasks.scores import softmax
from diptych.runtime.tokenizer import Tokenizer
from diptych.runtime.tokens import Tokens


@dataclass(frozen=True)
class TagOptions:
    """How tokens become entities."""

    aggregation: str = one_of("simple", "how tokens become entities", AGGREGATIONS)


@dataclass(frozen=True)
class Tags:
    """The entities of a text, in its order."""

    entities: tuple[Entity, ...]


class _Window(NamedTuple):
    """The tokens of a text from one number up to another."""

    start: int
    stop: int
    tokens: list[Piece]


class Tagger(EncoderTask[str, TagOptions, _Window, Tags]):
    """Texts to the entities in them, as transformers' token-classification pipeline finds them.

    Words are what the tokenizer marks as such, else what spaces part. A text that is too long for the model is read in
    windows that share a quarter of their tokens; each token's label comes from the window whose middle is nearest.
    """

    doing = "tagging"
    options = TagOptions
    outputs = (ports.LOGITS,)

    def __init__(self, tokenizer: Tokenizer, encoder: Encoder) -> None:
        super().__init__(tokenizer, encoder)
        self.labels = labels_of(encoder)

    def read(self, text: str, options: TagOptions) -> list[Tokens]:
        longest, tokens = self.encoder.longest, self.tokenizer.read(text)
        if not self.tokenizer.marks_words:
            tokens = replace(tokens, words=list(_parted_by_spaces(text, tokens, self.encoder.manifest.tokens.unknown)))
        return tokens.windows(0, longest, overlap=(longest or 0) // 4)

    def see(self, tokens: Tokens, outputs: dict[str, Array], options: TagOptions) -> _Window:
        places, scores = tokens.places(0), softmax(outputs[ports.LOGITS])
        pieces = [Piece(*tokens.offsets[place], tokens.words[place], scores[place]) for place in places]
        return _Window(tokens.skipped, tokens.skipped + len(places), pieces)

    def tell(self, text: str, seen: list[_Window], options: TagOptions) -> Tags:
        return Tags(tuple(entities(text, _joined(seen), self.labels.names, options.aggregation)))

    def from_line(self, line: str) -> str:
        return line

    def to_line(self, result: Tags) -> str:
        return "\t".join(f"{entity.label}:{entity.text}" for entity in result.entities)

    def to_json(self, result: Tags) -> dict[str, Any]:
        return asdict(result)


def _parted_by_spaces(text: str, tokens: Tokens, unknown: int | None) -> Iterator[int | None]:
    """Numbers of words as transformers guesses them; what is unknown is a word of its own."""
    number = 0
    for token, part, (start, _) in zip(tokens.ids, tokens.parts, tokens.offsets, strict=True):
        if part is None:
            yield None
            continue
        number += start == 0 or " " in text[start - 1 : start + 1] or token == unknown
        yield number


def _joined(windows: Sequence[_Window]) -> list[Piece]:
    """All tokens of the text, each from one window: where two overlap, the middle parts them."""
    bounds = [0, *((one.stop + next_.start) // 2 for one, next_ in pairwise(windows)), windows[-1].stop]
    return [
        token
        for window, (start, stop) in zip(windows, pairwise(bounds), strict=True)
        for token in window.tokens[start - window.start : stop - window.start]
    ]
