"""A cache in buffers that graphs write in place, in which each row has a length of its own.

Shapes: R rows, P places as a decoder counts them (padding included), M places of a buffer, G heads, D head width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from diptych.runtime.graph import Array
from diptych.runtime.memory import joined

# Buffers begin with so many places, and double.
PLACES = 16


@dataclass
class RowCache:
    """buffers [R, G, M, D] by input name: the tokens of a row take the first places.

    mask [R, P], int64, 1 where a place, as a decoder counts them, holds a token. written [R, M], int64, below `number`:
    equal where rows hold the same.
    """

    buffers: dict[str, Array]
    mask: Array
    written: Array
    number: int = 1

    @staticmethod
    def empty(shapes: Mapping[str, tuple[int, int]], rows: int) -> "RowCache":
        """shapes: G and D by input name."""
        return RowCache(
            # Zeros cost nothing until they are written.
            {name: np.zeros((rows, heads, PLACES, width), np.float32) for name, (heads, width) in shapes.items()},
            np.zeros((rows, 0), dtype=np.int64),
            np.zeros((rows, PLACES), dtype=np.int64),
        )

    def __len__(self) -> int:
        return len(self.mask)

    @property
    def places(self) -> int:
        """M"""
        return int(self.written.shape[1])

    @property
    def counts(self) -> Array:
        """[R], tokens"""
        return np.asarray(self.mask.sum(axis=1))

    def extend(self, known: Array, before: Array) -> bool:
        """Places for tokens of each row, or padding [R, T], which has room, too. Whether the buffers are others now.

        before: the counts, [R].
        """
        self.mask = np.concatenate([self.mask, known], axis=1, dtype=np.int64)
        needed = int(before.max(initial=0)) + known.shape[1]
        grown = needed > self.places
        rows = np.arange(len(self))
        if grown:
            self._move(max(needed, 2 * self.places), rows, before)
        places = before[:, None] + np.arange(known.shape[1])
        self.written[rows[:, None], places] = self.number + np.arange(known.size).reshape(known.shape)
        self.number += known.size
        return grown

    def trim(self, length: int) -> None:
        self.mask = self.mask[:, :length]

    def select(self, rows: Array) -> bool:
        """Go on with these rows [R'], reordered, repeated or dropped. Whether the buffers are others now.

        Where rows hold the same, nothing is moved.
        """
        lengths = self.counts[rows]
        self.mask = self.mask[rows]
        others = len(rows) != len(self.written)
        if len(rows) > len(self.written):
            self._move(self.places, rows, lengths)
        else:
            self._reorder(rows, int(lengths.max(initial=0)))
        return others

    def drop_unused(self) -> None:
        """Places at the beginning that no row uses any more; there are none in the buffers."""
        begin = int(np.argmax(np.append(self.mask.any(axis=0), values=True)))
        self.mask = self.mask[:, begin:]

    def joined(self, other: "RowCache") -> "RowCache":
        """The rows of both."""
        places = max(self.places, other.places)
        found = RowCache(
            {
                name: np.zeros((len(self) + len(other), buffer.shape[1], places, buffer.shape[3]), buffer.dtype)
                for name, buffer in self.buffers.items()
            },
            joined(self.mask, other.mask, 1, left=True),
            np.zeros((len(self) + len(other), places), dtype=np.int64),
            self.number + other.number,
        )
        for one, start, number in ((self, 0, 0), (other, len(self), self.number)):
            used, rows = int(one.counts.max(initial=0)), slice(start, start + len(one))
            for name, buffer in one.buffers.items():
                found.buffers[name][rows, :, :used] = buffer[:, :, :used]
            found.written[rows, : one.places] = one.written + number
        return found

    def _reorder(self, rows: Array, used: int) -> None:
        """Within the buffers. All that is read is read before anything is written."""
        to = np.flatnonzero(rows != np.arange(len(rows)))
        differ = (self.written[rows[to], :used] != self.written[to, :used]).any(axis=0)
        if differ.any():
            moved = slice(int(np.argmax(differ)), used)
            for buffer in self.buffers.values():
                buffer[to, :, moved] = buffer[rows[to], :, moved]
        self.written = self.written[rows]
        self.buffers = {name: buffer[: len(rows)] for name, buffer in self.buffers.items()}

    def _move(self, places: int, rows: Array, lengths: Array) -> None:
        """Into buffers of so many places."""
        for name, buffer in self.buffers.items():
            moved = np.zeros((len(rows), buffer.shape[1], places, buffer.shape[3]), buffer.dtype)
            for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
                moved[place, :, :length] = buffer[row, :, :length]
            self.buffers[name] = moved
        written = np.zeros((len(rows), places), dtype=np.int64)
        written[:, : self.places] = self.written[rows]
        self.written = written
