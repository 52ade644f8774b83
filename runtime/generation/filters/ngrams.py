"""Filters that forbid sequences of n tokens that the row or its source has already."""

import numpy as np

from diptych.runtime.generation.filters.filter import FORBIDDEN
from diptych.runtime.generation.filters.foresight import NONE, Effect
from diptych.runtime.generation.history import PADDING, History
from diptych.runtime.graph import Array


class NoRepeatNgram:
    """No sequence of `size` tokens occurs twice in a row of ids (Paulus et al. 2017)."""

    def __init__(self, size: int, vocab_size: int) -> None:
        self.size = size
        self.vocab_size = vocab_size

    def tokens(self, history: History) -> Array:
        """Whose n-grams are not repeated: [R, S], with padding on either side."""
        return history.ids

    def __call__(self, history: History, scores: Array) -> None:
        scores[self._completing(history)] = FORBIDDEN

    def effect(self, history: History) -> Effect:
        return Effect.forbid(*self._completing(history), len(history))

    def _completing(self, history: History) -> tuple[Array, Array]:
        """Rows, and tokens that would complete one of the n-grams there; padding belongs to none."""
        tokens, size, length = self.tokens(history), self.size, history.ids.shape[1]
        if tokens.shape[1] < size or length < size - 1:
            return NONE, NONE
        windows = np.lib.stride_tricks.sliding_window_view(tokens, size, axis=1)  # [R, S - size + 1, size]
        suffix = history.ids[:, length - size + 1 :]
        last = windows[:, :, -1]
        # A prompt may have ids beyond the scores, where a model embeds more tokens than it predicts.
        repeats = (windows[:, :, :-1] == suffix[:, None, :]).all(axis=2) & (last >= 0) & (last < self.vocab_size)
        row, start = np.nonzero(repeats)
        return row, last[row, start]


class EncoderNoRepeatNgram(NoRepeatNgram):
    """No sequence of `size` tokens of what was read is generated."""

    def tokens(self, history: History) -> Array:
        return read_tokens(history)


def read_tokens(history: History) -> Array:
    """What the encoder read, or, where there is none, the prompt: [R, S], with padding on either side."""
    if history.sources.shape[1]:
        return history.sources
    length = history.ids.shape[1]
    places = np.arange(length) - (length - history.lengths[:, None])
    return np.where(places < history.given[:, None], history.ids, PADDING)
