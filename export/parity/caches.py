"""How what is cached of rows, [R, H, P, D], lies in the buffers of tuned graphs, and what it is there.

Shapes: B sources, K rows per source, R = K·B rows, P places of their past, M slots of a buffer, H heads, D head width.
"""

from dataclasses import dataclass

import numpy as np

from diptych.runtime.graph import Array
from diptych.runtime.in_place_cache import InPlaceCache

_SEED = 43


class Slotted:
    """Of graphs with `write_indices`: each source has one buffer, in which every place of each row has a slot.

    slots [B, K, P]: which, in any order, as beam search and rows that left may have it. mask [R, P], 1 = token.
    """

    def __init__(self, mask: Array, rows_per_source: int, more: int = 0) -> None:
        """more: slots that are free, for new tokens."""
        length = mask.shape[1]
        sources, taken = len(mask) // rows_per_source, rows_per_source * length
        every = np.broadcast_to(np.arange(taken), (sources, taken))
        self.slots = np.random.default_rng(_SEED).permuted(every, axis=1).reshape(sources, rows_per_source, length)
        places = max(taken + more, 1)
        own, rows = np.arange(sources)[:, None, None], np.arange(rows_per_source)[:, None]
        by_source = mask.reshape(self.slots.shape)
        seen = np.zeros((sources, rows_per_source, places), dtype=bool)
        columns, positions = (np.zeros((sources, places), dtype=np.int64) for _ in range(2))
        seen[own, rows, self.slots] = by_source
        columns[own, self.slots] = np.arange(length)
        positions[own, self.slots] = np.maximum(by_source.cumsum(axis=2) - 1, 0)
        self.cache = InPlaceCache({}, seen, columns, positions, mask.sum(axis=1), taken, length)

    def put(self, entries: Array) -> Array:
        """[R, H, P, D] -> a buffer [B, H, M, D]"""
        sources, rows, length = self.slots.shape
        _, heads, _, width = entries.shape
        buffer = np.zeros((sources, heads, self.cache.seen.shape[2], width), entries.dtype)
        by_source = entries.reshape(sources, rows, heads, length, width)
        # Indices apart from each other put their axes first: [B, K, P, H, D].
        buffer[np.arange(sources)[:, None, None], :, self.slots] = by_source.swapaxes(2, 3)
        return buffer

    @staticmethod
    def take(buffer: Array, cache: InPlaceCache) -> Array:
        """A buffer -> [R, H, P, D]; 0 where there is padding."""
        _, heads, _, width = buffer.shape
        found = np.zeros((len(cache.counts), heads, cache.length, width), buffer.dtype)
        source, row, slot = np.nonzero(cache.seen)
        found[source * cache.rows_per_source + row, :, cache.columns[source, slot]] = buffer[source, :, slot]
        return found


@dataclass(frozen=True)
class Compact:
    """Of graphs with `seqlens_k`: a row's tokens take the first places. mask [R, P], 1 = token."""

    mask: Array

    @property
    def counts(self) -> Array:
        """[R], tokens"""
        return np.asarray(self.mask.sum(axis=1))

    def put(self, entries: Array, places: int) -> Array:
        """Into a buffer of so many places."""
        buffer = np.zeros((*entries.shape[:2], places, entries.shape[3]), entries.dtype)
        rows, at = np.nonzero(self.mask)
        buffer[rows, :, self._places[rows, at]] = entries[rows, :, at]
        return buffer

    def take(self, buffer: Array) -> Array:
        """Out of a buffer; 0 where there is padding."""
        found = np.zeros((*buffer.shape[:2], self.mask.shape[1], buffer.shape[3]), buffer.dtype)
        rows, at = np.nonzero(self.mask)
        found[rows, :, at] = buffer[rows, :, self._places[rows, at]]
        return found

    @property
    def _places(self) -> Array:
        """[R, P], of the buffer."""
        return np.asarray(np.cumsum(self.mask, axis=1) - 1)
