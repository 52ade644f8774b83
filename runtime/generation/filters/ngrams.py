"""Filters that forbid sequences of n tokens that the row or its source has already."""

import numpy as np

from diptych.runtime.generation.filters.filter import FORBIDDEN, Filter
from diptych.runtime.generation.history import PADDING, History
from diptych.runtime.graph import Array


def no_repeat_ngram(size: int) -> Filter:
    """No sequence of `size` tokens occurs twice in a row of ids (Paulus et al. 2017)."""
    return lambda history, scores: _forbid_ngrams(history.ids, history, size, scores)


def encoder_no_repeat_ngram(size: int) -> Filter:
    """No sequence of `size` tokens of what was read is generated."""
    return lambda history, scores: _forbid_ngrams(read_tokens(history), history, size, scores)


def read_tokens(history: History) -> Array:
    """What the encoder read, or, where there is none, the prompt: [R, S], with padding on either side."""
    if history.sources.shape[1]:
        return history.sources
    length = history.ids.shape[1]
    places = np.arange(length) - (length - history.lengths[:, None])
    return np.where(places < history.given[:, None], history.ids, PADDING)


def _forbid_ngrams(tokens: Array, history: History, size: int, scores: Array) -> None:
    """Forbid what would complete one of the n-grams of `tokens`; its padding belongs to none."""
    length = history.ids.shape[1]
    if tokens.shape[1] < size or length < size - 1:
        return
    windows = np.lib.stride_tricks.sliding_window_view(tokens, size, axis=1)  # [R, S - size + 1, size]
    suffix = history.ids[:, length - size + 1 :]
    last = windows[:, :, -1]
    # A prompt may have ids beyond the scores, where a model embeds more tokens than it predicts.
    repeats = (windows[:, :, :-1] == suffix[:, None, :]).all(axis=2) & (last >= 0) & (last < scores.shape[1])
    row, start = np.nonzero(repeats)
    scores[row, last[row, start]] = FORBIDDEN
