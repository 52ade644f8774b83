"""The decoder of a graph that is a decoder alone, made for ONNX Runtime's CPU: its cache is written in place.

Shapes: R rows, T new tokens, P cached ones, V vocabulary, C best tokens. Within the graph padding is on the right.
"""

from dataclasses import dataclass, field

import numpy as np

from diptych.runtime import ports
from diptych.runtime.bound import Bound
from diptych.runtime.decoder import Sources, cache_names, is_all, sources_of
from diptych.runtime.errors import BundleError
from diptych.runtime.graph import Array, OrtGraph
from diptych.runtime.ranked import Ranked, check, ranked
from diptych.runtime.row_cache import RowCache


@dataclass
class GroupedState:
    """rows_per_source K; what is cached of the rows. step: the graph with the cache bound, for a token of each row."""

    rows_per_source: int
    cache: RowCache
    step: "_Run | None" = field(default=None, repr=False)


class GroupedDecoder:
    """A graph that has `seqlens_k`.

    Several tokens of rows that have a past are taken row by row, since the kernel does not take them together.
    """

    encoder: None = None
    attends = False

    def __init__(self, decoder: OrtGraph) -> None:
        """Raises BundleError if no output feeds a cache."""
        self.decoder = decoder
        _, self.past_names = cache_names(None, decoder)
        self.vocab_size = int(decoder.outputs[ports.LOGITS][-1])
        shapes = {name: decoder.inputs[name] for name in self.past_names}
        self._shapes = {name: (int(shape[1]), int(shape[3])) for name, shape in shapes.items()}

    def start(self, sources: Sources, rows_per_source: int, *, attend: bool = False) -> GroupedState:
        """Raises BundleError if it is to attend: there is nothing to look back at."""
        if attend:
            raise BundleError("the decoder's graph looks back at no encoder, so it has no cross-attention to tell")
        return GroupedState(rows_per_source, RowCache.empty(self._shapes, len(sources.ids) * rows_per_source))

    def step(self, state: GroupedState, ids: Array) -> Array:
        return self.forward(state, ids, keep=1)[:, -1]

    def forward(self, state: GroupedState, ids: Array, keep: int = 0) -> Array:
        """A graph that fails leaves the state as it was."""
        keep = min(keep or ids.shape[1], ids.shape[1])
        logits = np.zeros((len(ids), keep, self.vocab_size), dtype=np.float32)
        for run in self._runs(state, ids, keep, 1):
            logits[run.rows, keep - run.logits.shape[1] :] = run.logits
        return logits

    def rank(self, state: GroupedState, ids: Array, count: int, asked: Array) -> Ranked:
        if count > ports.MOST_TOP_LOGITS:
            return ranked(self.step(state, ids), count, asked)
        first, *others = [run.ranked(asked) for run in self._runs(state, ids, 1, min(count, self.vocab_size))]
        for other in others:
            first = first.joined(other)
        return first

    def attention(self, state: GroupedState) -> Array:
        raise ValueError("no attention: the decoder looks back at no encoder")

    def select(self, state: GroupedState, rows: Array) -> None:
        _, state.rows_per_source = sources_of(rows, state.rows_per_source)
        if not is_all(rows, state.cache.mask) and state.cache.select(rows):
            state.step = None
        state.cache.drop_unused()

    def part(self, state: GroupedState) -> None:
        state.rows_per_source = 1

    def join(self, state: GroupedState, newcomers: GroupedState) -> None:
        """Raises ValueError if their sources have other numbers of rows."""
        here, there = state.rows_per_source, newcomers.rows_per_source
        if here != there:
            raise ValueError(f"every source must have the same number of rows: {there} cannot join {here}")
        state.cache = state.cache.joined(newcomers.cache)
        state.step = None

    def length(self, state: GroupedState) -> int:
        return int(state.cache.mask.shape[1])

    def trim(self, state: GroupedState, length: int) -> None:
        state.cache.trim(length)

    def _runs(self, state: GroupedState, ids: Array, keep: int, count: int) -> "list[_Run]":
        """Append ids [R, T]: one run of all rows, or one of each. What they told lasts until the next call."""
        cache, known = state.cache, ids >= 0
        before, mask = cache.counts, cache.mask
        if cache.extend(known, before):
            state.step = None
        try:
            if ids.shape[1] == 1:
                run = state.step
                if run is None or run.count != count:
                    run = state.step = _Run(self, cache, slice(None), 1, 1, count)
                run(ids, known, before)
                return [run]
            if not before.any():
                return [self._whole(cache, slice(None), ids, known, before, keep, count)]
            rows = [slice(row, row + 1) for row in range(len(ids))]
            return [self._whole(cache, row, ids[row], known[row], before[row], keep, count) for row in rows]
        except Exception:
            cache.mask = mask
            raise

    def _whole(
        self, cache: RowCache, rows: slice, ids: Array, known: Array, before: Array, keep: int, count: int
    ) -> "_Run":
        """Without the padding that all of these rows have."""
        length = max(int(known.sum(axis=1).max(initial=0)), 1)
        ids, known = ids[:, -length:], known[:, -length:]
        run = _Run(self, cache, rows, length, min(keep, length), count)
        run(ids, known, before)
        return run


class _Run:
    """The graph with some rows of a cache bound, as long as its buffers stay the same; what it told last.

    logits [R, keep, V]
    """

    def __init__(
        self, decoder: GroupedDecoder, cache: RowCache, rows: slice, length: int, keep: int, count: int
    ) -> None:
        """length: T. keep: logits of so many tokens; count: C."""
        size = len(range(len(cache))[rows])
        self.rows, self.count = rows, count
        self._ids, self._positions = (np.zeros((size, length), dtype=np.int64) for _ in range(2))
        self._last, self._total = np.zeros(size, dtype=np.int32), np.zeros((), dtype=np.int32)
        self.logits = np.empty((size, keep, decoder.vocab_size), dtype=np.float32)
        self._tokens, self._values = np.empty((size, count), dtype=np.int64), np.empty((size, count), dtype=np.float32)
        self._sums = np.empty(size, dtype=np.float32)
        bound = self._bound = Bound(decoder.decoder)
        bound.feed(ports.INPUT_IDS, self._ids)
        bound.feed(ports.POSITION_IDS, self._positions)
        bound.feed(ports.SEQLENS_K, self._last)
        bound.feed(ports.MOST_TOKENS, self._total)
        bound.feed(ports.NUM_LOGITS_TO_KEEP, np.array(keep, dtype=np.int64))
        bound.feed(ports.NUM_TOP_LOGITS, np.array(count, dtype=np.int64))
        for name, buffer in cache.buffers.items():
            bound.feed(name, buffer[rows])
            bound.fetch(ports.present_name(name), buffer[rows])
        bound.fetch(ports.LOGITS, self.logits)
        bound.fetch(ports.TOP_IDS, self._tokens)
        bound.fetch(ports.TOP_LOGITS, self._values)
        bound.fetch(ports.LOG_SUM_EXP, self._sums)

    def __call__(self, ids: Array, known: Array, before: Array) -> None:
        """ids, known [R, T], before [R]: padding comes first. A row of it alone writes where its next token will be."""
        length = ids.shape[1]
        if length == 1:  # Most runs: each call of numpy's is slow, for the weights have just been through all caches.
            np.maximum(ids, 0, out=self._ids)
            self._positions[:, 0] = self._last[:] = before
        else:
            new = np.maximum(known.sum(axis=1), 1)
            places = np.arange(length)
            given = np.minimum(places + (length - new)[:, None], length - 1)
            self._ids[:] = np.where(places < new[:, None], np.maximum(np.take_along_axis(ids, given, axis=1), 0), 0)
            self._positions[:] = np.minimum(places, new[:, None] - 1) + before[:, None]
            self._last[:] = before + new - 1
        # The kernel takes tokens for the first ones where they are as many as there are in all.
        self._total[()] = self._last.max(initial=0) + 1
        self._bound.run()

    def ranked(self, asked: Array) -> Ranked:
        check(self._sums)
        return Ranked(self._tokens.copy(), self._values.copy(), self._sums.copy(), self.logits[:, 0, asked])
