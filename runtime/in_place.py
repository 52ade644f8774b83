"""The decoder of graphs that are made for a CPU: their cache is a buffer for each source, written in place.

Shapes: B sources, K rows per source, R = K·B rows (those of a source adjacent), S source length, T new tokens of a
row, V vocabulary, C best tokens. The graph knows of sources only: each has K·T new tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from diptych.runtime import ports
from diptych.runtime.bound import Bound
from diptych.runtime.decoder import Sources, cache_names, is_all, sources_of
from diptych.runtime.errors import BundleError
from diptych.runtime.graph import Array, Graph, OrtGraph
from diptych.runtime.in_place_cache import InPlaceCache, of_sources
from diptych.runtime.memory import joined
from diptych.runtime.ranked import Ranked, ranked

# Where the longest source that is left is so much shorter, all are cut to it, which copies them.
_NARROWER = 0.875
# So many new tokens are read at once: of each come the logits of the whole vocabulary.
_TOKENS = 32


@dataclass
class InPlaceState:
    """source_mask [B, S]; cross [B, H, S, D] by input name; what is cached of the rows.

    attention: of the last step, if the state was started to attend. step: the graph with these arrays bound.
    """

    source_mask: Array
    cross: dict[str, Array]
    cache: InPlaceCache
    attend: bool = False
    attention: Array | None = None
    step: "_Step | None" = field(default=None, repr=False)

    def release(self) -> None:
        """What is bound keeps its arrays."""
        self.step = None


class InPlaceDecoder:
    """A decoder graph that has `write_indices`, with the encoder it looks back at.

    Rows of a source are reordered without a copy of their past. They share a buffer: what one has cached that is no
    number (NaN) makes the others none, too.
    """

    def __init__(self, encoder: Graph, decoder: OrtGraph) -> None:
        """Raises BundleError if the graphs do not fit together."""
        self.encoder = encoder
        self.decoder = decoder
        self.cross_names, self.past_names = cache_names(encoder, decoder)
        self.vocab_size = int(decoder.outputs[ports.LOGITS][-1])
        self._shapes = {
            name: (int(shape[1]), int(shape[3])) for name, shape in decoder.inputs.items() if name in self.past_names
        }

    @property
    def attends(self) -> bool:
        return ports.CROSS_ATTENTIONS in self.decoder.outputs

    def start(self, sources: Sources, rows_per_source: int, *, attend: bool = False) -> InPlaceState:
        """Raises BundleError if it is to attend and the graph does not tell its cross-attention."""
        if attend and not self.attends:
            raise BundleError("the decoder's graph does not tell its cross-attention; export it with --with-attention")
        feeds = {ports.INPUT_IDS: sources.ids, ports.ATTENTION_MASK: sources.mask}
        encoded = self.encoder.run(feeds, [ports.present_name(name) for name in self.cross_names])
        return InPlaceState(
            source_mask=np.ascontiguousarray(sources.mask),
            cross={name: encoded[ports.present_name(name)] for name in self.cross_names},
            cache=InPlaceCache.empty(self._shapes, len(sources.ids), rows_per_source),
            attend=attend,
        )

    def step(self, state: InPlaceState, ids: Array) -> Array:
        return self.forward(state, ids, 1)[:, -1]

    def forward(self, state: InPlaceState, ids: Array, keep: int = 0) -> Array:
        keep = keep or ids.shape[1]
        told = [step.logits for step in self._steps(state, ids, 1, keep, logits=True)]
        return (told[0] if len(told) == 1 else np.concatenate(told, axis=1))[:, -keep:]

    def rank(self, state: InPlaceState, ids: Array, count: int, asked: Array) -> Ranked:
        if count > ports.MOST_TOP_LOGITS:
            return ranked(self.step(state, ids), count, asked)
        *_, last = self._steps(state, ids, min(count, self.vocab_size), 1, logits=len(asked) > 0)
        return last.ranked(asked)

    def attention(self, state: InPlaceState) -> Array:
        if state.attention is None:
            raise ValueError("no attention: it is that of the last step, of a state started with attend=True")
        return state.attention

    def select(self, state: InPlaceState, rows: Array) -> None:
        cache, before = state.cache, state.cache.rows_per_source
        # At most steps of a beam search nothing leaves.
        if len(rows) == len(cache.counts) and (rows // before == np.arange(len(rows)) // before).all():
            self._go_on(state, rows.reshape(-1, before), None)
            return
        sources, after = sources_of(rows, before)
        self._go_on(state, rows.reshape(len(sources), after), None if is_all(sources, state.source_mask) else sources)

    def part(self, state: InPlaceState) -> None:
        if (before := state.cache.rows_per_source) > 1:
            rows = np.arange(len(state.cache.counts))
            self._go_on(state, rows[:, None], rows // before)

    def join(self, state: InPlaceState, newcomers: InPlaceState) -> None:
        """Raises ValueError if their sources have other numbers of rows."""
        here, there = state.cache.rows_per_source, newcomers.cache.rows_per_source
        if here != there:
            raise ValueError(f"every source must have the same number of rows: {there} cannot join {here}")
        state.source_mask = joined(state.source_mask, newcomers.source_mask, 1, left=False)
        state.cross = {name: joined(entry, newcomers.cross[name], 2, left=False) for name, entry in state.cross.items()}
        state.cache = state.cache.joined(newcomers.cache)
        state.attention = state.step = None

    def length(self, state: InPlaceState) -> int:
        return state.cache.length

    def trim(self, state: InPlaceState, length: int) -> None:
        state.cache.trim(length)
        state.attention = None

    def _go_on(self, state: InPlaceState, rows: Array, sources: Array | None) -> None:
        """From rows [B', K'], those of each of these sources; None: of all, in order."""
        state.attention = None
        state.cache.select(rows, sources)
        if sources is None:
            return
        state.step = None
        state.source_mask, before = state.source_mask[sources], state.source_mask.shape[1]
        # A source of padding alone still needs something to look at.
        width = int(np.max(np.flatnonzero(state.source_mask.any(axis=0)), initial=0)) + 1
        state.cross = {name: of_sources(entry, sources, width) for name, entry in state.cross.items()}
        if width <= _NARROWER * before:
            state.source_mask = np.ascontiguousarray(state.source_mask[:, :width])
            state.cross = {name: np.ascontiguousarray(entry[:, :, :width]) for name, entry in state.cross.items()}

    def _steps(self, state: InPlaceState, ids: Array, count: int, keep: int, *, logits: bool) -> Iterator["_Step"]:
        """Append ids [R, T], some at a time; those runs that read any of the last `keep`, each before the next one
        overwrites it. A graph that fails leaves the state as it was. logits: tell all, not just the best.
        """
        length, before, looked = ids.shape[1], state.cache.length, list[Array]()
        some = max(1, _TOKENS // max(1, len(ids)))
        try:
            for first in range(0, length, some):
                step = self._step(state, ids[:, first : first + some], count, logits)
                if (attention := step.attention) is not None:
                    looked.append(attention)
                if first + some > length - keep:
                    yield step
        except Exception:
            state.cache.trim(before)
            raise
        state.attention = np.concatenate(looked, axis=3) if looked else None

    def _step(self, state: InPlaceState, ids: Array, count: int, logits: bool) -> "_Step":
        cache, length = state.cache, ids.shape[1]
        known = None if (ids >= 0).all() else ids >= 0
        seen, positions = cache.extend(length, known, state.release)
        step = state.step
        if step is None or not step.fits(state, length, count, logits):
            step = state.step = _Step(self.decoder, state, length, count, logits)
        step.run(cache, ids, positions, seen)
        cache.keep_new(length, known)
        return step


class _Step:
    """The graph with a state's arrays bound, as long as they stay the same; what it told last."""

    def __init__(self, graph: OrtGraph, state: InPlaceState, length: int, count: int, logits: bool) -> None:
        cache = state.cache
        sources, rows = cache.seen.shape[:2]
        new = rows * length
        self._shape = len(cache.counts), length
        self._bound = bound = Bound(graph)
        self._buffers = cache.buffers
        self._seen: Array | None = None
        self._slot_positions: Array | None = None
        self._ids, self._positions = np.zeros((sources, new), np.int64), np.zeros((sources, new), np.int64)
        self._slots = np.zeros(sources, dtype=np.int64)
        told = new if logits else 0
        self._logits = np.empty((sources, told, int(graph.outputs[ports.LOGITS][-1])), dtype=np.float32)
        self._tokens = np.empty((sources, new, count), dtype=np.int64)
        self._values = np.empty((sources, new, count), dtype=np.float32)
        self._sums = np.empty((sources, new), dtype=np.float32)
        bound.feed(ports.INPUT_IDS, self._ids)
        bound.feed(ports.POSITION_IDS, self._positions)
        bound.feed(ports.ENCODER_ATTENTION_MASK, state.source_mask)
        bound.feed(ports.WRITE_INDICES, self._slots)
        bound.feed(ports.NUM_LOGITS, np.array(told, dtype=np.int64))
        bound.feed(ports.NUM_TOP_LOGITS, np.array(count, dtype=np.int64))
        for name, entry in state.cross.items():
            bound.feed(name, entry)
        for name, buffer in cache.buffers.items():
            bound.feed(name, buffer)
            bound.fetch(ports.present_name(name), buffer)
        bound.fetch(ports.LOGITS, self._logits)
        bound.fetch(ports.TOP_IDS, self._tokens)
        bound.fetch(ports.TOP_LOGITS, self._values)
        bound.fetch(ports.LOG_SUM_EXP, self._sums)
        self._looked: Array | None = None
        if ports.CROSS_ATTENTIONS in graph.outputs:
            _, layers, heads, _, _ = graph.outputs[ports.CROSS_ATTENTIONS]
            looked = np.empty((sources, int(layers), int(heads), new, state.source_mask.shape[1]), dtype=np.float32)
            bound.fetch(ports.CROSS_ATTENTIONS, looked)
            self._looked = looked if state.attend else None

    def fits(self, state: InPlaceState, length: int, count: int, logits: bool) -> bool:
        """Whether it makes such a step; one that tells all logits tells the best of them, too."""
        alike = self._shape == (len(state.cache.counts), length) and self._tokens.shape[2] == count
        return alike and self._buffers is state.cache.buffers and (self._logits.shape[1] > 0 or not logits)

    def run(self, cache: InPlaceCache, ids: Array, positions: Array, seen: Array) -> None:
        np.maximum(ids.reshape(self._ids.shape), 0, out=self._ids)
        self._positions[...] = positions
        self._slots.fill(cache.taken)
        if self._seen is not seen:
            self._bound.feed(ports.DECODER_ATTENTION_MASK, seen)
            self._seen = seen
        if self._slot_positions is not cache.positions:
            self._bound.feed(ports.SLOT_POSITIONS, cache.positions)
            self._slot_positions = cache.positions
        self._bound.run()

    @property
    def logits(self) -> Array:
        """A copy [R, T, V]"""
        return self._by_row(self._logits).copy()

    @property
    def attention(self) -> Array | None:
        """A copy [R, layers, H, T, S], if it was asked for"""
        if self._looked is None:
            return None
        sources, layers, heads, _, width = self._looked.shape
        by_row = self._looked.reshape(sources, layers, heads, -1, self._shape[1], width)
        return np.moveaxis(by_row, 3, 1).copy().reshape(-1, layers, heads, self._shape[1], width)

    def ranked(self, asked: Array) -> Ranked:
        """After the last token of each row."""
        tokens, values, sums = (self._by_row(each)[:, -1].copy() for each in (self._tokens, self._values, self._sums))
        # No logits were told where none are asked for.
        told = self._by_row(self._logits)[:, -1, asked] if len(asked) else values[:, :0]
        return Ranked(tokens, values, sums, told)

    def _by_row(self, values: Array) -> Array:
        """[B, K·T, …] -> [R, T, …]"""
        return values.reshape(*self._shape, *values.shape[2:])
