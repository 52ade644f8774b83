"""A cache in buffers that graphs write in place: one for each source, in which its rows share what they have in common.

Shapes: B sources, K rows per source, R = K·B rows (those of a source adjacent), T new tokens of a row, M slots of a
buffer. A token takes a slot, whichever row says it; rows are reordered by what they see, and nothing is moved. Slots
that no row sees any more are left out when a buffer is full.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from diptych.runtime.graph import Array

# Buffers are so many slots wide, or a multiple of it; when full, they get room for so many more steps, and for twice as
# many where they grow, or for such a share of a long past: then little is copied for each token.
SLOTS, _STEPS = 32, 4
_SHARE = 4


@dataclass
class InPlaceCache:
    """buffers [B, H, M, D] by input name. seen [B, K, M], bool: which slots each row sees.

    columns, positions [B, M], int64: at which place of the rows' past a slot's token stands, padding counted or not.
    taken: slots that were written. length: places that rows have had, padding included. counts [R]: tokens.
    """

    buffers: dict[str, Array]
    seen: Array
    columns: Array
    positions: Array
    counts: Array
    taken: int = 0
    length: int = 0

    @staticmethod
    def empty(shapes: Mapping[str, tuple[int, int]], sources: int, rows_per_source: int) -> "InPlaceCache":
        """shapes: H and D by input name."""
        return InPlaceCache(
            {name: np.zeros((sources, heads, SLOTS, width), np.float32) for name, (heads, width) in shapes.items()},
            np.zeros((sources, rows_per_source, SLOTS), dtype=bool),
            np.zeros((sources, SLOTS), dtype=np.int64),
            np.zeros((sources, SLOTS), dtype=np.int64),
            np.zeros(sources * rows_per_source, dtype=np.int64),
        )

    @property
    def rows_per_source(self) -> int:
        return int(self.seen.shape[1])

    def extend(
        self, length: int, known: Array | None, release: Callable[[], None] | None = None
    ) -> tuple[Array, Array]:
        """Slots for so many new tokens of each row: what each token sees [B, K·T, M], and its position [B, K·T].

        Slots of a source's rows follow each other. known [R, T]: where there is no padding; None if there is none.
        release: called before buffers are replaced, one by one, so that nothing else need keep them. Call `keep_new`
        once slots are written, or else `trim`.
        """
        sources, rows, slots = self.seen.shape
        if self.taken + rows * length > slots:
            self._make_room(rows * length, release)
        new = slice(self.taken, self.taken + rows * length)
        if length == 1:
            self.columns[:, new] = self.length
            positions = (self.counts if known is None else self.counts * known[:, 0]).reshape(sources, rows)
            own = np.arange(rows)
            self.seen[:, own, self.taken + own] = True
            seen = self.seen
        else:
            known = np.ones((len(self.counts), length), dtype=bool) if known is None else known
            self.columns[:, new] = np.tile(np.arange(self.length, self.length + length), rows)
            positions = np.where(known, self.counts[:, None] + known.cumsum(axis=1) - 1, 0).reshape(sources, -1)
            seen = self._seen_by_each(known)
        self.positions[:, new] = positions
        return seen, positions

    def _seen_by_each(self, known: Array) -> Array:
        """[B, K·T, M], of new tokens: what is cached, and those of the row up to itself; padding sees itself, too."""
        sources, rows, _ = self.seen.shape
        length = known.shape[1]
        new = slice(self.taken, self.taken + rows * length)
        each = (known[:, None] & np.tri(length, dtype=bool)) | np.eye(length, dtype=bool)  # [R, T, T]
        seen, own = self.seen.repeat(length, axis=1), np.arange(rows)
        block = seen[:, :, new].reshape(sources, rows, length, rows, length)
        block[:, own, :, own] = each.reshape(sources, rows, length, length).swapaxes(0, 1)
        seen[:, :, new] = block.reshape(sources, rows * length, -1)
        return seen

    def keep_new(self, length: int, known: Array | None) -> None:
        """What `extend` made room for is written."""
        sources, rows, _ = self.seen.shape
        if length > 1 or known is not None:
            slots = self.taken + np.arange(rows * length).reshape(rows, length)
            seen = True if known is None else known.reshape(sources, rows, length)
            self.seen[:, np.arange(rows)[:, None], slots] = seen
        self.counts = self.counts + (length if known is None else known.sum(axis=1))
        self.taken += rows * length
        self.length += length

    def trim(self, length: int) -> None:
        self.seen &= (self.columns < length)[:, None]
        self.counts = self.seen.sum(axis=2).reshape(-1)
        self.length = min(self.length, length)
        self.taken = int(np.max(np.flatnonzero(self.seen.any(axis=(0, 1))), initial=-1)) + 1

    def select(self, rows: Array, sources: Array | None) -> None:
        """Go on from rows [B', K'], those of each of the sources [B'], which may be repeated; None: of all."""
        if sources is not None:
            self._select_sources(sources)
        flat, slots = rows.reshape(-1), self.seen.shape[2]
        self.seen = self.seen.reshape(-1, slots)[flat].reshape(*rows.shape, slots)
        self.counts = self.counts[flat]

    def joined(self, other: "InPlaceCache") -> "InPlaceCache":
        """The rows of both, which have as many for each source; the shorter past is padded on the left."""
        both = self, other
        slots, length = max(one.seen.shape[2] for one in both), max(one.length for one in both)

        def together(parts: Iterable[Array], axis: int = 1) -> Array:
            return np.concatenate([_widened(part, slots, axis) for part in parts])

        return InPlaceCache(
            {name: together((one.buffers[name] for one in both), axis=2) for name in self.buffers},
            together((one.seen for one in both), axis=2),
            together(one.columns + length - one.length for one in both),
            together(one.positions for one in both),
            np.concatenate([one.counts for one in both]),
            max(one.taken for one in both),
            length,
        )

    def _select_sources(self, sources: Array) -> None:
        self.buffers = {name: of_sources(buffer, sources, self.taken) for name, buffer in self.buffers.items()}
        self.columns, self.positions = self.columns[sources], self.positions[sources]

    def _make_room(self, count: int, release: Callable[[], None] | None) -> None:
        """For so many more slots, at least: by leaving out what no row sees any more, and with larger buffers."""
        alive = np.asarray(self.seen[:, :, : self.taken].any(axis=1))
        # Up to the first that is left out all stay where they are.
        first = int(np.argmin(np.append(np.all(alive, axis=0), False)))
        kept = int(alive.sum(axis=1).max(initial=0))
        moved = first + np.argsort(~alive[:, first:], axis=1, kind="stable")[:, : kept - first]
        room, slots = max(count, _STEPS * self.rows_per_source), self.seen.shape[2]
        if kept + room > slots:
            slots = -(-(kept + max(2 * room, kept // _SHARE)) // SLOTS) * SLOTS
            if release is not None:
                release()
            before, self.buffers = self.buffers, {}
            for name in list(before):
                self.buffers[name] = _rebuilt(before.pop(name), moved, first, slots)
        else:
            for buffer in self.buffers.values():
                buffer[:, :, first:kept] = _taken(buffer, moved)
        self.seen = _moved(self.seen, moved[:, None], first, slots)
        self.columns, self.positions = (_moved(each, moved, first, slots) for each in (self.columns, self.positions))
        self.taken = kept


def of_sources(values: Array, sources: Array, slots: int) -> Array:
    """Those [B'] of values [B, H, M, D], of which so many slots count.

    In place, where all that move come from behind those that stay, as when a few leave; else, or where most have left
    the memory that they had, in memory of their own.
    """
    moved = (sources != np.arange(len(sources))).nonzero()[0]
    owner = values.base if isinstance(values.base, np.ndarray) else values
    if (sources[moved] < len(sources)).any() or 2 * len(sources) <= len(owner):
        return np.asarray(values[sources])
    for place in moved.tolist():
        values[place, :, :slots] = values[sources[place], :, :slots]
    return values[: len(sources)]


def _taken(buffer: Array, slots: Array) -> Array:
    """These slots [B, N] of a buffer [B, H, M, D], in order: line by line."""
    sources, heads, every, width = buffer.shape
    lines = np.arange(sources * heads).reshape(sources, heads, 1) * every + slots[:, None]
    return buffer.reshape(-1, width).take(lines, axis=0)


def _rebuilt(buffer: Array, slots: Array, first: int, wanted: int) -> Array:
    """A larger one: all up to the first, then these slots [B, N], and zeros."""
    sources, heads, _, width = buffer.shape
    kept = first + slots.shape[1]
    found = np.empty((sources, heads, wanted, width), buffer.dtype)
    found[:, :, :first] = buffer[:, :, :first]
    if first < kept:
        found[:, :, first:kept] = _taken(buffer, slots)
    found[:, :, kept:] = 0
    return found


def _moved(values: Array, slots: Array, first: int, wanted: int) -> Array:
    """[..., M] -> [..., wanted]: all up to the first, then these slots [..., N]."""
    found = np.zeros((*values.shape[:-1], wanted), values.dtype)
    found[..., :first] = values[..., :first]
    found[..., first : first + slots.shape[-1]] = np.take_along_axis(values, slots, axis=-1)
    return found


def _widened(values: Array, slots: int, axis: int = 1) -> Array:
    """With zeros behind, on an axis that then has so many slots."""
    before = values.shape
    if before[axis] == slots:
        return values
    found = np.zeros((*before[:axis], slots, *before[axis + 1 :]), values.dtype)
    found[(slice(None),) * axis + (slice(before[axis]),)] = values
    return found
