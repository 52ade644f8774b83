"""Filters that make tokens less or more likely by what came before, or by how long a text has become."""

from collections.abc import Sequence

import numpy as np

from diptych.runtime.generation.filters.filter import Filter
from diptych.runtime.generation.filters.ngrams import read_tokens
from diptych.runtime.generation.history import History
from diptych.runtime.graph import Array


def repetition_penalty(penalty: float) -> Filter:
    """Divide the positive and multiply the negative scores of tokens already there (CTRL, Keskar et al. 2019)."""
    return lambda history, scores: _penalise(history.ids, penalty, scores)


def encoder_repetition_penalty(penalty: float) -> Filter:
    """The reverse for the tokens of what was read: above 1, they become more likely."""
    return lambda history, scores: _penalise(read_tokens(history), 1 / penalty, scores)


def exponential_decay_length_penalty(start: int, factor: float, eos: Sequence[int]) -> Filter:
    """Raise the score s of an end by |s| · (factor^(tokens since `start`) - 1), once there are more new tokens."""
    columns = np.unique(np.array(eos, dtype=np.int64))

    def apply(history: History, scores: Array) -> None:
        rows = np.flatnonzero(history.counts > start)
        if not len(rows):
            return
        seen = scores[np.ix_(rows, columns)]
        with np.errstate(over="ignore", invalid="ignore"):
            growth = (float(factor) ** (history.counts[rows] - start).astype(np.float64) - 1).astype(np.float32)
            raised = seen + np.abs(seen) * growth[:, None]
        # What outgrows float32 stays a number, so that it can still be normalised.
        scores[np.ix_(rows, columns)] = np.where(np.isfinite(seen), np.nan_to_num(raised), seen)

    return apply


def _penalise(tokens: Array, penalty: float, scores: Array) -> None:
    """However often a token occurs, it is penalised once. Padding is below 0, ids without a score beyond V."""
    row, place = np.nonzero((tokens >= 0) & (tokens < scores.shape[1]))
    column = tokens[row, place]
    seen = scores[row, column]
    scores[row, column] = np.where(seen < 0, seen * penalty, seen / penalty)
