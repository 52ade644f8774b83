"""From the labels of tokens to entities, as transformers' token-classification pipeline groups them.

"none": each token by itself, under its whole label. "simple": neighbours under one label are one entity, which a label
with B- begins anew. "first", "average" and "max": as simple, after all tokens of a word have got the label of the
first, of their mean scores, or of the surest.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from diptych.runtime.graph import Array

OUTSIDE = "O"
_BEGINNING, _INSIDE = "B-", "I-"

# The scores [tokens, labels] of a word's tokens -> the word's [labels].
_OF_WORD: dict[str, Callable[[Array], Array]] = {
    "first": lambda scores: scores[0],
    "average": lambda scores: scores.mean(axis=0),
    "max": lambda scores: scores[scores.max(axis=1).argmax()],
}
AGGREGATIONS = ("none", "simple", *_OF_WORD)


@dataclass(frozen=True)
class Entity:
    """`text` is the characters [start, end) of what was read; score: the mean of its tokens' or words'."""

    label: str
    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Piece:
    """A token, or a word: characters [start, end), the number of the word, and scores [labels]."""

    start: int
    end: int
    word: int | None
    scores: Array


def entities(text: str, tokens: Sequence[Piece], labels: Sequence[str], aggregation: str) -> Iterator[Entity]:
    """The entities of a text, in its order; what is labelled O is none."""
    pieces = _words(tokens, _OF_WORD[aggregation]) if aggregation in _OF_WORD else tokens
    named = [(labels[int(piece.scores.argmax())], piece) for piece in pieces]
    for group in _groups(named, alone=aggregation == "none"):
        label = group[0][0]
        visible = _visible([piece for _, piece in group])
        if label == OUTSIDE or not visible:
            continue
        start, end = visible[0].start, visible[-1].end
        score = float(np.mean([piece.scores.max() for _, piece in group]))
        yield Entity(label if aggregation == "none" else _kind(label), text[start:end], start, end, score)


def _visible(pieces: Sequence[Piece]) -> list[Piece]:
    """A token of nothing but white space may have a label too."""
    return [piece for piece in pieces if piece.start < piece.end]


def _words(tokens: Sequence[Piece], of_word: Callable[[Array], Array]) -> list[Piece]:
    words = []
    for number, group in groupby(tokens, key=lambda token: token.word):
        pieces = list(group)
        shown = _visible(pieces) or pieces
        scores = of_word(np.stack([piece.scores for piece in pieces]))
        words.append(Piece(shown[0].start, shown[-1].end, number, scores))
    return words


def _groups(named: Sequence[tuple[str, Piece]], *, alone: bool) -> list[list[tuple[str, Piece]]]:
    """Neighbours that make one entity."""
    groups: list[list[tuple[str, Piece]]] = []
    for label, piece in named:
        goes_on = bool(groups) and not label.startswith(_BEGINNING) and _kind(label) == _kind(groups[-1][-1][0])
        if goes_on and not alone:
            groups[-1].append((label, piece))
        else:
            groups.append([(label, piece)])
    return groups


def _kind(label: str) -> str:
    return label[2:] if label.startswith((_BEGINNING, _INSIDE)) else label
