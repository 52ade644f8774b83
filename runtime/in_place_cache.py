"""A cache in buffers that graphs write in place, whose rows are reordered without moving what they hold.

Shapes: B sources, K rows per source, R = K·B rows (those of a source adjacent), M places of which P are taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from diptych.runtime.graph import Array

# Buffers begin with so many places, and double.
PLACES = 16


@dataclass
class InPlaceCache:
    """buffers [R, H, M, D] by input name; mask [R, M], int32, 1 where a place holds a token; length P.

    origins [B, K, M], int32: which of a source's rows wrote each place of a row's past.
    """

    buffers: dict[str, Array]
    mask: Array
    origins: Array
    length: int = 0

    @staticmethod
    def empty(shapes: Mapping[str, tuple[int, int]], sources: int, rows_per_source: int) -> "InPlaceCache":
        """shapes: H and D by input name."""
        rows = sources * rows_per_source
        return InPlaceCache(
            # Zeros cost nothing until they are written.
            {name: np.zeros((rows, heads, PLACES, width), np.float32) for name, (heads, width) in shapes.items()},
            np.zeros((rows, PLACES), dtype=np.int32),
            np.zeros((sources, rows_per_source, PLACES), dtype=np.int32),
        )

    @property
    def places(self) -> int:
        """M"""
        return int(self.mask.shape[1])

    @property
    def rows_per_source(self) -> int:
        return int(self.origins.shape[1])

    @property
    def counts(self) -> Array:
        """[R], tokens"""
        return np.asarray(self.mask[:, : self.length].sum(axis=1))

    def extend(self, known: Array) -> None:
        """A place for a token of each row [R], or for padding. Call `taken` once it is written."""
        if self.length == self.places:
            self._grow()
        self.mask[:, self.length] = known
        self.origins[:, :, self.length] = np.arange(self.rows_per_source)

    def trim(self, length: int) -> None:
        self.mask[:, length:] = 0
        self.length = min(self.length, length)

    def reorder(self, parents: Array) -> None:
        """Go on from these rows [B, K] of each source's."""
        self.origins = np.take_along_axis(self.origins, parents[:, :, None], axis=1)
        rows = parents + np.arange(len(parents))[:, None] * self.rows_per_source
        self.mask = self.mask[rows.reshape(-1)]

    def keep(self, sources: Array) -> None:
        """Only these sources [B'], in ascending order, move up within the buffers, a few rows at a time."""
        rows = self._rows(sources)
        for place, row in enumerate(rows.tolist()):
            if place != row:
                for buffer in self.buffers.values():
                    buffer[place, :, : self.length] = buffer[row, :, : self.length]
        self.buffers = {name: buffer[: len(rows)] for name, buffer in self.buffers.items()}
        self.mask, self.origins = self.mask[rows], self.origins[sources]

    def spread(self, rows: Array) -> None:
        """Go on from rows [B', K'], those of a source together; what each has said is copied, and is its own."""
        flat = rows.reshape(-1)
        written = self.origins.reshape(len(self.mask), -1)[flat, : self.length]
        written = written + (flat // self.rows_per_source * self.rows_per_source)[:, None]  # [R', P]
        places = np.arange(self.length)
        moved = {name: np.zeros((len(flat), *buffer.shape[1:]), buffer.dtype) for name, buffer in self.buffers.items()}
        for name, buffer in self.buffers.items():
            # Indices apart from each other put their axes first: [R', P, H, D].
            moved[name][:, :, : self.length] = buffer[written, :, places].transpose(0, 2, 1, 3)
        self.buffers = moved
        self.mask = self.mask[flat]
        self.origins = _own(len(rows), rows.shape[1], self.places)

    def joined(self, other: "InPlaceCache") -> "InPlaceCache":
        """The rows of both, which have as many for each source; the shorter past is padded on the left."""
        length = max(self.length, other.length)
        both = [one.shifted(length, max(self.places, other.places)) for one in (self, other)]
        return InPlaceCache(
            {name: np.concatenate([one.buffers[name] for one in both]) for name in self.buffers},
            np.concatenate([one.mask for one in both]),
            np.concatenate([one.origins for one in both]),
            length,
        )

    def _grow(self) -> None:
        """Make room: by leaving out places at the beginning that no row uses any more, or with larger buffers."""
        unused = int(np.argmax(self.mask.any(axis=0)))
        larger = self.shifted(self.length - unused, self.places if unused else 2 * self.places)
        vars(self).update(vars(larger))

    def shifted(self, length: int, places: int) -> "InPlaceCache":
        """The last places of the past, or with padding before it, in buffers of so many."""
        kept = min(length, self.length)
        old, new = slice(self.length - kept, self.length), slice(length - kept, length)
        moved = replace(self, buffers={}, length=length)
        for name, buffer in self.buffers.items():
            moved.buffers[name] = np.zeros((*buffer.shape[:2], places, buffer.shape[3]), buffer.dtype)
            moved.buffers[name][:, :, new] = buffer[:, :, old]
        moved.mask = np.zeros((len(self.mask), places), dtype=self.mask.dtype)
        moved.origins = _own(len(self.origins), self.rows_per_source, places)
        moved.mask[:, new], moved.origins[:, :, new] = self.mask[:, old], self.origins[:, :, old]
        return moved

    def _rows(self, sources: Array) -> Array:
        """All rows of these sources."""
        return (sources[:, None] * self.rows_per_source + np.arange(self.rows_per_source)).reshape(-1)


def _own(sources: int, rows_per_source: int, places: int) -> Array:
    """Every row has written its past itself."""
    own = np.arange(rows_per_source, dtype=np.int32)[None, :, None]
    return np.broadcast_to(own, (sources, rows_per_source, places)).copy()
