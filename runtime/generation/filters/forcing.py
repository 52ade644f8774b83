"""Filters that forbid or force tokens, everywhere or at some places of a text."""

from collections.abc import Sequence

import numpy as np

from diptych.runtime.generation.filters.filter import FORBIDDEN, Condition, Filter
from diptych.runtime.generation.history import History
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.graph import Array


def always(history: History) -> Array:
    return np.ones(len(history), dtype=bool)


def forbid(tokens: Sequence[int], where: Condition = always) -> Filter:
    """Never these tokens, in the rows that meet the condition."""
    columns = np.array(tokens, dtype=np.int64)

    def apply(history: History, scores: Array) -> None:
        scores[np.ix_(where(history), columns)] = FORBIDDEN

    return apply


def force(tokens: Sequence[int], where: Condition = always) -> Filter:
    """Only these tokens, all with score 0, in the rows that meet the condition."""
    columns = np.array(tokens, dtype=np.int64)

    def apply(history: History, scores: Array) -> None:
        rows = where(history)
        scores[rows] = FORBIDDEN
        scores[np.ix_(rows, columns)] = 0.0

    return apply


def is_too_short(options: GenerationOptions) -> Condition | None:
    """Whether a row may not end yet, if it ever may not: fewest new tokens win over a fewest total."""
    new, total = options.min_new_tokens, options.min_length
    if new is not None:
        return (lambda history: history.counts < new) if new else None
    return (lambda history: history.lengths < total) if total else None


def is_first(history: History) -> Array:
    """Whether nothing but a start token is there."""
    return history.lengths == 1


def is_last(history: History) -> Array:
    return history.left == 1


def is_first_free(forced: bool) -> Condition:
    """Whether the next token is the first that is free: a forced one, which follows a prompt of one token, is not."""
    return lambda history: history.counts == (forced & (history.given == 1))
