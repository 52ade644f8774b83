"""What rows said, kept step by step, since most steps of most searches need but the last token of it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from diptych.runtime.graph import Array

# So many steps are kept as they are before they are put together.
_MOST_STEPS = 32


class Said(NamedTuple):
    """ids [R, L], scores [R, L] and attention [R, L, S], padded on the left; its L is 0 where nobody asked for it."""

    ids: Array
    scores: Array
    attention: Array

    def select(self, rows: Array | slice) -> "Said":
        return Said(self.ids[rows], self.scores[rows], self.attention[rows])


class Step(NamedTuple):
    """The rows [R'] of a record gone on from, all if None; the token of each, its score, and what it looked at."""

    before: "Record"
    rows: Array | None
    tokens: Array
    scores: Array
    looked: Array | None


class Record:
    """It never changes, however it is kept: as arrays, or as one step more than another record.

    step: None where it is kept as arrays. steps: how many there are to the next arrays.
    """

    __slots__ = ("_said", "step", "steps")

    def __init__(self, said: Said | None, step: Step | None = None) -> None:
        """Either is there."""
        self._said = said
        self.step = step
        self.steps: int = 0 if step is None else step.before.steps + 1

    @property
    def last(self) -> Array:
        """[R], the last token of each row"""
        return self.said().ids[:, -1] if self.step is None else self.step.tokens

    @property
    def attends(self) -> bool:
        """Whether it is known what tokens looked at."""
        return self.said().attention.shape[1] > 0 if self.step is None else self.step.looked is not None

    def of(self, row: int, count: int) -> tuple[list[int], list[float]]:
        """The last `count` ids of a row, and their scores."""
        ids: list[int] = []
        scores: list[float] = []
        record = self
        while (step := record.step) is not None and len(ids) < count:
            record, rows, said, gained, _ = step
            ids.append(said.item(row))
            scores.append(gained.item(row))
            row = row if rows is None else rows.item(row)
        if rest := count - len(ids):
            first = record.said()
            ids += first.ids[row, : -1 - rest : -1].tolist()
            scores += first.scores[row, : -1 - rest : -1].tolist()
        return ids[::-1], scores[::-1]

    def extended(self, rows: Array | None, tokens: Array, scores: Array, looked: Array | None) -> "Record":
        """These rows [R'], or all, each with a new token, its score, and what it looked at [R', S], if asked for."""
        if self.steps == _MOST_STEPS:
            self.said()
        return Record(None, Step(self, rows, tokens, scores, looked))

    def said(self) -> Said:
        """All of it, put together once: from the last step to the first, each at the rows that were gone on from."""
        if self._said is None:
            rows: Array | slice = slice(None)
            tokens, scores, looked = [], [], []
            record = self
            while (step := record.step) is not None:
                tokens.append(step.tokens[rows])
                scores.append(step.scores[rows])
                looked += [] if step.looked is None else [step.looked[rows]]
                rows = rows if step.rows is None else step.rows[rows]
                record = step.before
            before = record.said().select(rows)
            self._said = Said(
                np.concatenate([before.ids, np.stack(tokens[::-1], axis=1)], axis=1),
                np.concatenate([before.scores, np.stack(scores[::-1], axis=1).astype(np.float32)], axis=1),
                _looked(before, looked[::-1]) if looked else before.attention,
            )
            self.step, self.steps = None, 0
        return self._said


def _looked(before: Said, steps: Sequence[Array]) -> Array:
    """Sources may have become narrower meanwhile, or what is known of them: columns that no row uses were left out."""
    width = min(each.shape[1] for each in steps)
    known = fit(before.attention, 1, before.ids.shape[1], 0, left=True)[:, :, :width]
    known = fit(known, 2, width, 0, left=False)
    return np.concatenate([known, *(each[:, None, :width] for each in steps)], axis=1)


def fit(values: Array, axis: int, length: int, fill: int, *, left: bool) -> Array:
    """Padded on an axis to a length, on the left or on the right."""
    missing = length - values.shape[axis]
    padding = [(0, 0)] * values.ndim
    padding[axis] = (missing, 0) if left else (0, missing)
    return np.pad(values, padding, constant_values=fill) if missing else values
