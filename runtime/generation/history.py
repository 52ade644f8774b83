"""What each decoder row has read and said so far, and how many more tokens it may get."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from diptych.runtime.graph import Array

PADDING = -1
# Tokens generated already, and their log-probabilities.
Begun = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class History:
    """Rows R of L tokens; whatever depends on lengths reads a row's own, so that no row depends on its neighbours.

    ids [R, L]: prompts and what was generated, int64, padded on the left. given [R]: how many were given. limits [R]:
    the most that may be generated. sources [R, S]: what the encoder read, padded on the right; S is 0 without one.
    scores [R, L]: the log-probability of each generated token after filters. attention [R, L, S]: what each generated
    token looked at, weights over its source; L is 0 where nobody asked.
    """

    ids: Array
    given: Array
    limits: Array
    sources: Array
    scores: Array
    attention: Array

    @staticmethod
    def start(
        prompts: Sequence[Sequence[int]],
        limits: Sequence[int],
        sources: Sequence[Sequence[int]] | None = None,
        begun: Sequence[Begun] | None = None,
    ) -> "History":
        """Prompts, which are not empty, the sources they belong to, if an encoder reads any, and what was generated."""
        begun = begun or [()] * len(prompts)
        rows = [[*prompt, *(token for token, _ in own)] for prompt, own in zip(prompts, begun, strict=True)]
        scores = [[0.0] * len(prompt) + [score for _, score in own] for prompt, own in zip(prompts, begun, strict=True)]
        ids = _padded(rows, PADDING, left=True).astype(np.int64)
        read = _padded(sources or [[]] * len(prompts), PADDING, left=False).astype(np.int64)
        return History(
            ids=ids,
            given=np.array([len(prompt) for prompt in prompts], dtype=np.int64),
            limits=np.array(limits, dtype=np.int64),
            sources=read,
            scores=_padded(scores, 0, left=True).astype(np.float32),
            attention=np.zeros((len(ids), 0, read.shape[1]), dtype=np.float32),
        )

    def __len__(self) -> int:
        """R"""
        return len(self.ids)

    @cached_property
    def lengths(self) -> Array:
        """[R], tokens without padding"""
        return np.asarray((self.ids != PADDING).sum(axis=1))

    @property
    def counts(self) -> Array:
        """[R], tokens generated"""
        return self.lengths - self.given

    @property
    def left(self) -> Array:
        """[R], tokens that may still come"""
        return self.limits - self.counts

    def generated(self, row: int) -> list[int]:
        """The ids generated in a row."""
        count = int(self.counts[row])
        return list(map(int, self.ids[row, len(self.ids[row]) - count :]))

    def select(self, rows: Array) -> "History":
        """Go on with these rows, without the columns that no row uses."""
        ids, sources = self.ids[rows], self.sources[rows]
        first = int(np.argmax((ids != PADDING).any(axis=0))) if len(ids) else 0
        width = int((sources != PADDING).sum(axis=1).max(initial=0))
        attention = self.attention[rows]
        return History(
            ids[:, first:],
            self.given[rows],
            self.limits[rows],
            sources[:, :width],
            self.scores[rows, first:],
            attention[:, first:, :width] if attention.shape[1] else attention[:, :, :width],
        )

    def extended(self, rows: Array, tokens: Array, scores: Array, attention: Array | None = None) -> "History":
        """Go on from these rows [R'], each with a new token, its score, and what it looked at [R', S], if asked for."""
        chosen = self.select(rows)
        looked = chosen.attention
        if attention is not None:
            missing = chosen.ids.shape[1] - looked.shape[1]
            looked = np.pad(looked, ((0, 0), (missing, 0), (0, 0)))
            looked = np.concatenate([looked, attention[:, None, : looked.shape[2]]], axis=1)
        return History(
            np.concatenate([chosen.ids, tokens[:, None]], axis=1),
            chosen.given,
            chosen.limits,
            chosen.sources,
            np.concatenate([chosen.scores, scores[:, None].astype(np.float32)], axis=1),
            looked,
        )

    def looking(self, looked: Array) -> "History":
        """With what each generated token looked at: the weights [R, L, S] of the token before it."""
        generated = np.arange(self.ids.shape[1]) >= self.ids.shape[1] - self.counts[:, None]
        return replace(self, attention=np.roll(looked, 1, axis=1) * generated[:, :, None])

    def joined(self, other: "History") -> "History":
        """The rows of both, padded to the longest."""
        length = max(self.ids.shape[1], other.ids.shape[1])
        width = max(self.sources.shape[1], other.sources.shape[1])
        looked = length if self.attention.shape[1] or other.attention.shape[1] else 0
        both = (self, other)
        return History(
            np.concatenate([_fit(one.ids, 1, length, PADDING, left=True) for one in both]),
            np.concatenate([one.given for one in both]),
            np.concatenate([one.limits for one in both]),
            np.concatenate([_fit(one.sources, 1, width, PADDING, left=False) for one in both]),
            np.concatenate([_fit(one.scores, 1, length, 0, left=True) for one in both]),
            np.concatenate(
                [_fit(_fit(one.attention, 1, looked, 0, left=True), 2, width, 0, left=False) for one in both]
            ),
        )


def _padded(rows: Sequence[Sequence[float]], fill: int, *, left: bool) -> Array:
    """[R, L], float64"""
    length = max(map(len, rows), default=0)
    values = np.full((len(rows), length), fill, dtype=np.float64)
    for row, own in enumerate(rows):
        values[row, length - len(own) if left else 0 : length if left else len(own)] = own
    return values


def _fit(values: Array, axis: int, length: int, fill: int, *, left: bool) -> Array:
    missing = length - values.shape[axis]
    padding = [(0, 0)] * values.ndim
    padding[axis] = (missing, 0) if left else (0, missing)
    return np.pad(values, padding, constant_values=fill) if missing else values
