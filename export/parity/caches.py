"""How what is cached of rows, [R, H, P, D], lies in the buffers of tuned graphs, and what it is there.

Shapes: B sources, K rows per source, R = K·B rows, P places of their past, M places of a buffer, H heads, D head width.
"""

from dataclasses import dataclass

import numpy as np

from diptych.runtime.graph import Array

_SEED = 43


@dataclass(frozen=True)
class Scattered:
    """Of graphs with `cache_indirection`. origins [B, K, M], int32: which row of its source has each place of a row."""

    origins: Array

    @staticmethod
    def drawn(sources: int, rows_per_source: int, places: int) -> "Scattered":
        """As beam search leaves it: at each place the rows of a source have written each other's past."""
        own = np.arange(rows_per_source, dtype=np.int32)[None, :, None]
        rows = np.broadcast_to(own, (sources, rows_per_source, places))
        return Scattered(np.ascontiguousarray(np.random.default_rng(_SEED).permuted(rows, axis=1)))

    def put(self, entries: Array, heads: int) -> Array:
        """Into a buffer with so many heads: one of several queries' is there for each of them."""
        entries = np.repeat(entries, heads // entries.shape[1], axis=1)
        rows, heads, length, width = entries.shape
        buffer = np.zeros((rows, heads, self.origins.shape[2], width), entries.dtype)
        # Indices apart from each other put their axes first: [R, P, H, D].
        buffer[self._owners[:, :length], :, np.arange(length)] = entries.transpose(0, 2, 1, 3)
        return buffer

    def take(self, buffer: Array, length: int) -> Array:
        """Out of a buffer, the first so many places of each row."""
        return np.asarray(buffer[self._owners[:, :length], :, np.arange(length)].transpose(0, 2, 1, 3))

    @property
    def _owners(self) -> Array:
        """[R, M], rows of the buffer."""
        sources, rows, places = self.origins.shape
        return np.asarray(self.origins + np.arange(sources)[:, None, None] * rows).reshape(sources * rows, places)


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
