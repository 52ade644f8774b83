"""Filters that forbid or force tokens, everywhere or at some places of a text."""

from collections.abc import Sequence

import numpy as np

from diptych.runtime.generation.filters.filter import FORBIDDEN, Condition
from diptych.runtime.generation.filters.foresight import NOTHING, Effect
from diptych.runtime.generation.history import History
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.graph import Array


class Forbid:
    """Never these tokens, in the rows that meet the condition, or in all."""

    def __init__(self, tokens: Sequence[int], where: Condition | None = None) -> None:
        self._tokens = np.unique(np.array(tokens, dtype=np.int64))
        self._where = where
        self._effect = Effect(self._tokens)

    def __call__(self, history: History, scores: Array) -> None:
        if self._where is None:
            scores[:, self._tokens] = FORBIDDEN
        else:
            scores[np.ix_(self._where(history), self._tokens)] = FORBIDDEN

    def effect(self, history: History) -> Effect:
        if self._where is None:
            return self._effect
        rows = self._where(history)
        count = np.count_nonzero(rows)
        if count == len(rows):
            return self._effect
        return Effect(self._tokens, np.tile(rows[:, None], (1, len(self._tokens)))) if count else NOTHING


class Force:
    """Only these tokens, all with score 0, in the rows that meet the condition."""

    def __init__(self, tokens: Sequence[int], where: Condition) -> None:
        self._tokens = np.unique(np.array(tokens, dtype=np.int64))
        self._where = where
        self._effect = Effect(forced=self._tokens)

    def __call__(self, history: History, scores: Array) -> None:
        rows = self._where(history)
        scores[rows] = FORBIDDEN
        scores[np.ix_(rows, self._tokens)] = 0.0

    def effect(self, history: History) -> Effect | None:
        """None where it acts in some rows alone."""
        rows = self._where(history)
        count = np.count_nonzero(rows)
        return NOTHING if not count else self._effect if count == len(rows) else None


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
