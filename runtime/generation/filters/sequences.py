"""Filters of token sequences: the last token is made more or less likely where the tokens before it have just come."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from diptych.runtime.generation.filters.filter import FORBIDDEN, Filter
from diptych.runtime.generation.filters.foresight import NOTHING, Effect
from diptych.runtime.generation.history import History
from diptych.runtime.graph import Array


def sequence_bias(biases: Mapping[tuple[int, ...], float]) -> Filter:
    """Add to the score of a token that completes a sequence; biases of one token add up."""
    columns = np.unique([tokens[-1] for tokens in biases])
    values = np.array([*biases.values()], dtype=np.float32)
    completable = _completable([*biases])

    def apply(history: History, scores: Array) -> None:
        bias = np.zeros((len(history), len(columns)), dtype=np.float32)
        for row, sequence, last in completable(history):
            np.add.at(bias, (row, np.searchsorted(columns, last)), values[sequence])
        scores[:, columns] += bias

    return apply


class BadWords:
    """Forbid what would complete a word."""

    def __init__(self, words: Sequence[tuple[int, ...]]) -> None:
        longer = [word for word in words if len(word) > 1]
        self._tokens = np.unique(np.array([word[0] for word in words if len(word) == 1], dtype=np.int64))
        self._completable = _completable(longer)
        self._effect = Effect(self._tokens) if len(self._tokens) else NOTHING

    def __call__(self, history: History, scores: Array) -> None:
        scores[:, self._tokens] = FORBIDDEN
        for row, _, last in self._completable(history):
            scores[row, last] = FORBIDDEN

    def effect(self, history: History) -> Effect | None:
        effect: Effect | None = self._effect
        for row, _, last in self._completable(history):
            effect = effect and effect.then(Effect.forbid(row, last, len(history)))
        return effect


def _completable(sequences: Sequence[tuple[int, ...]]) -> Callable[[History], Iterator[tuple[Array, Array, Array]]]:
    """Finds the rows that lack but the last token of a sequence: rows, numbers of sequences, last tokens.

    They come in groups of one length: single tokens, then in order of appearance, as biases are added in float32.
    """
    lengths = sorted(dict.fromkeys(map(len, sequences)), key=lambda length: length > 1)
    numbers = [np.array([n for n, tokens in enumerate(sequences) if len(tokens) == length]) for length in lengths]
    groups = [(of, np.array([sequences[n] for n in of], dtype=np.int64)) for of in numbers]

    def find(history: History) -> Iterator[tuple[Array, Array, Array]]:
        for of, tokens in groups:
            before, length = tokens.shape[1] - 1, history.ids.shape[1]
            if before <= length:
                suffix = history.ids[:, length - before :]
                row, which = np.nonzero((suffix[:, None, :] == tokens[:, :-1]).all(axis=2))
                yield row, of[which], tokens[which, -1]

    return find
