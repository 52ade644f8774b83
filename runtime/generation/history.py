"""What each decoder row has read and said so far, and how many more tokens it may get."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from diptych.runtime.generation.record import Record, Said, fit
from diptych.runtime.graph import Array

PADDING = -1
# More than any row may get.
_MANY = np.iinfo(np.int64).max
# Tokens generated already, and their log-probabilities.
Begun = Sequence[tuple[int, float]]


class _Origins(NamedTuple):
    """What rows come from, each one of N: what the encoder read [N, S], how many tokens were given and generated
    already [N], and how many more were allowed [N]; least: the smallest of these.
    """

    sources: Array
    given: Array
    counts: Array
    left: Array
    least: int

    @staticmethod
    def of(sources: Array, given: Array, counts: Array, left: Array) -> "_Origins":
        return _Origins(sources, given, counts, left, int(left.min(initial=_MANY)))


@dataclass(eq=False, slots=True)
class History:
    """Rows R of L tokens; whatever depends on lengths reads a row's own, so that no row depends on its neighbours.

    It never changes: `extended` and `select` make others. record: all that was said, prompts first. origin [R]: which
    of the origins is a row's. steps: how many tokens each row got since.
    """

    record: Record
    origin: Array
    origins: _Origins
    steps: int = 0

    @staticmethod
    def start(
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        sources: Sequence[Sequence[int]] | None = None,
        begun: Sequence[Begun] | None = None,
    ) -> "History":
        """Prompts, which are not empty, the sources they belong to, if an encoder reads any, and what was generated.

        limits: the most that may be generated, with what was.
        """
        begun = begun or [()] * len(prompts)
        rows = [[*prompt, *(token for token, _ in own)] for prompt, own in zip(prompts, begun, strict=True)]
        scores = [[0.0] * len(prompt) + [score for _, score in own] for prompt, own in zip(prompts, begun, strict=True)]
        read = _padded(sources or [[]] * len(prompts), PADDING, left=False).astype(np.int64)
        said = Said(
            ids=_padded(rows, PADDING, left=True).astype(np.int64),
            scores=_padded(scores, 0, left=True).astype(np.float32),
            attention=np.zeros((len(rows), 0, read.shape[1]), dtype=np.float32),
        )
        counts = np.array([len(own) for own in begun], dtype=np.int64)
        given = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
        left = np.array(limits, dtype=np.int64) - counts
        return History(Record(said), np.arange(len(rows)), _Origins.of(read, given, counts, left))

    def __len__(self) -> int:
        """R"""
        return len(self.origin)

    @property
    def counts(self) -> Array:
        """[R], how many tokens were generated"""
        return self.origins.counts[self.origin] + self.steps

    @property
    def left(self) -> Array:
        """[R], how many tokens may still come"""
        return self.origins.left[self.origin] - self.steps

    @property
    def ends_soon(self) -> bool:
        """Whether the next token may be the last that is allowed; it is no row's otherwise."""
        return self.origins.least - self.steps <= 1

    @property
    def ids(self) -> Array:
        """[R, L], int64: prompts and what was generated, padded on the left."""
        return self._used(self.record.said().ids)

    @property
    def scores(self) -> Array:
        """[R, L], float32: the log-probability of each generated token after filters."""
        return self._used(self.record.said().scores)

    @property
    def attention(self) -> Array:
        """[R, L, S]: what each generated token looked at, weights over its source; L is 0 where nobody asked."""
        return self._used(self.record.said().attention)[:, :, : self.sources.shape[1]]

    @property
    def sources(self) -> Array:
        """[R, S]: what the encoder read, padded on the right; S is 0 without one."""
        sources = self.origins.sources[self.origin]
        return sources[:, : int((sources != PADDING).sum(axis=1).max(initial=0))]

    @property
    def given(self) -> Array:
        """[R], how many tokens were given"""
        return self.origins.given[self.origin]

    @property
    def lengths(self) -> Array:
        """[R], tokens without padding"""
        return self.given + self.counts

    def generated(self, row: int) -> list[int]:
        """The ids generated in a row."""
        return self.told(row)[0]

    def told(self, row: int) -> tuple[list[int], list[float]]:
        """The ids generated in a row, and their log-probabilities after filters."""
        return self.record.of(row, self.origins.counts.item(self.origin.item(row)) + self.steps)

    def select(self, rows: Array) -> "History":
        """Go on with these rows."""
        return History(Record(self.record.said().select(rows)), self.origin[rows], self.origins, self.steps)

    def extended(self, rows: Array | None, tokens: Array, scores: Array, attention: Array | None = None) -> "History":
        """Go on from these rows [R'], or from all, each with a new token, its score, and what it looked at [R', S]."""
        record = self.record.extended(rows, tokens, scores, attention)
        return History(record, self.origin if rows is None else self.origin[rows], self.origins, self.steps + 1)

    def looking(self, looked: Array) -> "History":
        """With what each generated token looked at: the weights [R, L, S] of the token before it."""
        generated = np.arange(self.ids.shape[1]) >= self.ids.shape[1] - self.counts[:, None]
        attention = np.roll(looked, 1, axis=1) * generated[:, :, None]
        return replace(self, record=Record(Said(self.ids, self.scores, attention)))

    def joined(self, other: "History") -> "History":
        """The rows of both, padded to the longest."""
        both = (self, other)
        length = max(one.ids.shape[1] for one in both)
        width = max(one.sources.shape[1] for one in both)
        looked = length if self.record.attends or other.record.attends else 0
        attention = [fit(fit(one.attention, 1, looked, 0, left=True), 2, width, 0, left=False) for one in both]
        said = Said(
            np.concatenate([fit(one.ids, 1, length, PADDING, left=True) for one in both]),
            np.concatenate([fit(one.scores, 1, length, 0, left=True) for one in both]),
            np.concatenate(attention),
        )
        origins = _Origins.of(
            np.concatenate([fit(one.sources, 1, width, PADDING, left=False) for one in both]),
            np.concatenate([one.given for one in both]),
            np.concatenate([one.counts for one in both]),
            np.concatenate([one.left for one in both]),
        )
        return History(Record(said), np.arange(len(origins.given)), origins)

    def _used(self, columns: Array) -> Array:
        """Without those [R, L, …] that no row uses."""
        return columns[:, max(0, columns.shape[1] - int(self.lengths.max(initial=0))) :]


def _padded(rows: Sequence[Sequence[float]], fill: int, *, left: bool) -> Array:
    """[R, L], float64"""
    length = max(map(len, rows), default=0)
    values = np.full((len(rows), length), fill, dtype=np.float64)
    for row, own in enumerate(rows):
        values[row, length - len(own) if left else 0 : length if left else len(own)] = own
    return values
