"""What filters do at a step, as far as it can be told before the step: then the best tokens stand for all scores."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from diptych.runtime.generation.filters.filter import Filter
from diptych.runtime.generation.history import History
from diptych.runtime.graph import Array

NONE = np.zeros(0, dtype=np.int64)


class Effect(NamedTuple):
    """What is done whatever the scores are.

    forbidden [n]: these tokens, ascending, in the rows that `where` [R, n] tells, or in all. forced [n]: all but these,
    ascending, which have score 0, in all rows; None: nothing else.
    """

    forbidden: Array = NONE
    where: Array | None = None
    forced: Array | None = None

    @staticmethod
    def forbid(rows: Array, tokens: Array, count: int) -> "Effect":
        """Of each of these rows, of `count`, the token beside it."""
        if not len(tokens):
            return NOTHING
        forbidden, places = np.unique(tokens, return_inverse=True)
        where = np.zeros((count, len(forbidden)), dtype=bool)
        where[rows, places] = True
        return Effect(forbidden, where)

    @property
    def most(self) -> int:
        """The most tokens that are forbidden in a row."""
        return len(self.forbidden) if self.where is None else int(self.where.sum(axis=1).max())

    def then(self, later: "Effect") -> "Effect | None":
        """Both, one after the other; None if that is no such effect."""
        if later is NOTHING or self is NOTHING:
            return self if later is NOTHING else later
        if later.forced is not None:
            return later
        if self.forced is not None:
            left = np.setdiff1d(self.forced, later.forbidden)
            return Effect(forced=left) if len(left) and later.where is None else None
        forbidden = np.union1d(self.forbidden, later.forbidden)
        some = later.where if self.where is None else self.where
        if some is None:
            return Effect(forbidden)
        where = np.zeros((len(some), len(forbidden)), dtype=bool)
        for one in (self, later):
            where[:, np.searchsorted(forbidden, one.forbidden)] |= True if one.where is None else one.where
        return Effect(forbidden, where)

    def is_that_of(self, other: "Effect") -> bool:
        """Whether the same is done to all rows."""
        if self is other:
            return self.where is None
        alike = self.where is None and other.where is None and np.array_equal(self.forbidden, other.forbidden)
        if self.forced is None or other.forced is None:
            return alike and self.forced is other.forced
        return alike and np.array_equal(self.forced, other.forced)


NOTHING = Effect()


@runtime_checkable
class Foreseeable(Protocol):
    """A filter that can often tell what it will do."""

    def __call__(self, history: History, scores: Array) -> None: ...

    def effect(self, history: History) -> Effect | None:
        """None if it depends on scores, or cannot be told."""
        ...


class Foresight:
    """Of all filters together."""

    def __init__(self, filters: Sequence[Filter]) -> None:
        self._filters = [each for each in filters if isinstance(each, Foreseeable)]
        self._possible = len(self._filters) == len(filters)

    def __call__(self, histories: Sequence[History]) -> Effect | None:
        """What they do to the rows of these, the same to all if there are several; None where they need all scores."""
        if not self._possible:
            return None
        if not self._filters:
            return NOTHING
        first, *others = [self._of(history) for history in histories]
        if first is None or any(each is None or not first.is_that_of(each) for each in others):
            return None
        return first

    def _of(self, history: History) -> Effect | None:
        every: Effect | None = NOTHING
        for each in self._filters:
            effect = each.effect(history)
            every = None if every is None or effect is None else every.then(effect)
            if every is None:
                break
        return every
