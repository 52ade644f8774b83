"""Where a decoder's cache lies between steps: in the host's memory, as NumPy arrays."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np

from diptych.runtime.graph import Array, Graph
from diptych.runtime.ranked import Ranked, ranked

# By the name of the input that they feed: arrays [R, H, P, D] or [B, H, S, D], or what a memory keeps in their stead.
Entries = dict[str, Any]


class Memory(Protocol):
    """What can be done to cache entries where they lie. Nothing changes in place: entries may be fed meanwhile."""

    def empty(self, graph: Graph, names: Collection[str], rows: int) -> Entries:
        """Of so many rows, with nothing in them, as these inputs of the graph want them."""
        ...

    def run(
        self, graph: Graph, feeds: Mapping[str, Any], fetched: Collection[str], left: Mapping[str, str]
    ) -> tuple[dict[str, Array], Entries]:
        """Run with arrays and entries; the fetched outputs, and those left, by the names that they are to have."""
        ...

    def select(self, entries: Entries, rows: Array) -> Entries:
        """These rows: reordered, repeated or dropped."""
        ...

    def crop(self, entries: Entries, start: int, stop: int) -> Entries:
        """The cached tokens from `start` to `stop`."""
        ...

    def join(self, first: Entries, second: Entries, *, left: bool) -> Entries:
        """The rows of both, the shorter padded with zeros, on the left or on the right."""
        ...

    def arrays(self, entries: Entries) -> dict[str, Array]:
        """Copied to the host, if they are elsewhere."""
        ...

    def ranked(self, logits: Any, count: int, asked: Array) -> Ranked:
        """As of `Decoder.rank`, from logits [R, T, V] that a run has left: those after the last token."""
        ...


class HostMemory:
    """NumPy arrays, for any graph."""

    def empty(self, graph: Graph, names: Collection[str], rows: int) -> Entries:
        return {name: np.zeros(empty_shape(graph, name, rows), graph.dtypes[name]) for name in names}

    def run(
        self, graph: Graph, feeds: Mapping[str, Any], fetched: Collection[str], left: Mapping[str, str]
    ) -> tuple[dict[str, Array], Entries]:
        outputs = graph.run(feeds, [*fetched, *left.values()])
        return {name: outputs[name] for name in fetched}, {name: outputs[output] for name, output in left.items()}

    def select(self, entries: Entries, rows: Array) -> Entries:
        return {name: value[rows] for name, value in entries.items()}

    def crop(self, entries: Entries, start: int, stop: int) -> Entries:
        return {name: value[:, :, start:stop] for name, value in entries.items()}

    def join(self, first: Entries, second: Entries, *, left: bool) -> Entries:
        return {name: joined(value, second[name], 2, left=left) for name, value in first.items()}

    def arrays(self, entries: Entries) -> dict[str, Array]:
        return entries

    def ranked(self, logits: Any, count: int, asked: Array) -> Ranked:
        return ranked(logits[:, -1], count, asked)


def empty_shape(graph: Graph, name: str, rows: int) -> tuple[int, int, int, int]:
    """[R, H, 0, D] of a past."""
    _, heads, _, head_dim = graph.inputs[name]
    return rows, int(heads), 0, int(head_dim)


def joined(first: Array, second: Array, axis: int, *, left: bool) -> Array:
    """The rows of both, the shorter padded with zeros along the axis, on the left or on the right."""
    length = max(first.shape[axis], second.shape[axis])
    return np.concatenate([_widened(first, axis, length, left), _widened(second, axis, length, left)])


def _widened(array: Array, axis: int, length: int, left: bool) -> Array:
    missing = length - array.shape[axis]
    if not missing:
        return array
    padding = [(0, 0)] * array.ndim
    padding[axis] = (missing, 0) if left else (0, missing)
    return np.pad(array, padding)
