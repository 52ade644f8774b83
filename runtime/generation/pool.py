"""The best finished hypotheses of a source under beam search."""

from bisect import bisect_right
from collections.abc import Callable

from diptych.runtime.generation.steps import Hypothesis

# A hypothesis of a score that is written out when it is wanted: most are overtaken by others.
Written = Callable[[float], Hypothesis]


class Pool:
    """So many, and no more: the best first, of equals the first to come. None is worse than the least score."""

    __slots__ = ("_below", "_written", "least", "size")

    def __init__(self, size: int, least: float) -> None:
        self.size = size
        self.least = least
        self._below: list[float] = []  # Scores with the other sign, ascending.
        self._written: list[Written] = []

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._written)

    @property
    def worst(self) -> float:
        """The score to be beaten: the least while there is room."""
        return self.least if len(self._below) < self.size else -self._below[-1]

    def add(self, score: float, write: Written) -> None:
        """If it is better than the worst."""
        if not score > self.worst:
            return
        place = bisect_right(self._below, -score)
        self._below.insert(place, -score)
        self._written.insert(place, write)
        del self._below[self.size :], self._written[self.size :]

    def best(self, count: int) -> list[Hypothesis]:
        """So many, if there are, written out."""
        found = zip(self._written[:count], self._below, strict=False)
        return [write(-below) for write, below in found]
