"""The decoder of graphs that are made for ONNX Runtime's CPU: one token at a time, its cache a buffer written in place.

Shapes: B sources, K rows per source, R = K·B rows (those of a source adjacent), S source length, T new tokens,
P cached ones, V vocabulary, C best tokens.
"""

from dataclasses import dataclass, field

import numpy as np

from diptych.runtime import ports
from diptych.runtime.bound import Bound
from diptych.runtime.decoder import Sources, cache_names, is_all, sources_of
from diptych.runtime.errors import BundleError
from diptych.runtime.graph import Array, Graph, OrtGraph
from diptych.runtime.in_place_cache import InPlaceCache
from diptych.runtime.memory import joined
from diptych.runtime.ranked import Ranked, check, ranked


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


class InPlaceDecoder:
    """A decoder graph that has `cache_indirection`, with the encoder it looks back at.

    Several tokens at once are taken one after another. Rows of a source are reordered without a copy of their past.
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
        return self._run(state, ids, 1)[:, -1]

    def forward(self, state: InPlaceState, ids: Array, keep: int = 0) -> Array:
        return self._run(state, ids, keep or ids.shape[1])

    def rank(self, state: InPlaceState, ids: Array, count: int, asked: Array) -> Ranked:
        if count > ports.MOST_TOP_LOGITS:
            return ranked(self.step(state, ids), count, asked)
        self._run(state, ids, 0, min(count, self.vocab_size))
        assert state.step is not None
        return state.step.ranked(asked)

    def attention(self, state: InPlaceState) -> Array:
        if state.attention is None:
            raise ValueError("no attention: it is that of the last step, of a state started with attend=True")
        return state.attention

    def select(self, state: InPlaceState, rows: Array) -> None:
        cache, before = state.cache, state.cache.rows_per_source
        if is_all(rows, cache.mask):
            return
        sources, after = sources_of(rows, before)
        state.attention = None
        of_source = (rows % before).reshape(len(sources), after)
        if after != before or (np.diff(sources) <= 0).any():
            cache.spread(rows.reshape(len(sources), after))
        else:
            if len(sources) < len(cache.origins):
                cache.keep(sources)
            cache.reorder(of_source)
            if len(sources) == len(state.source_mask):
                return
        self._take(state, sources)

    def part(self, state: InPlaceState) -> None:
        before, sources = state.cache.rows_per_source, len(state.source_mask)
        if before > 1:
            state.cache.spread(np.arange(sources * before)[:, None])
            self._take(state, np.arange(sources).repeat(before))

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

    def _take(self, state: InPlaceState, sources: Array) -> None:
        """These sources, without places that only others used."""
        state.step = None
        if is_all(sources, state.source_mask):
            return
        state.source_mask = state.source_mask[sources]
        # A source of padding alone still needs something to look at.
        width = int(np.max(np.flatnonzero(state.source_mask.any(axis=0)), initial=0)) + 1
        state.source_mask = np.ascontiguousarray(state.source_mask[:, :width])
        state.cross = {name: np.ascontiguousarray(entry[sources, :, :width]) for name, entry in state.cross.items()}

    def _run(self, state: InPlaceState, ids: Array, keep: int, count: int = 1) -> Array:
        """Append ids [R, T]; logits [R, keep, V] after the last. A graph that fails leaves the state as it was."""
        last, done = ids.shape[1] - keep, 0
        told, looked = [], []
        try:
            for place in range(ids.shape[1]):
                step = self._step(state, ids[:, place], count)
                done += 1
                if place >= last:
                    told.append(step.logits.copy())
                if step.attention is not None:
                    looked.append(step.attention.copy())
        except Exception:
            # Places before these may have been left out meanwhile.
            state.cache.trim(state.cache.length - done)
            raise
        state.attention = np.concatenate(looked, axis=3) if looked else None
        return np.stack(told, axis=1) if told else ids[:, :0]

    def _step(self, state: InPlaceState, ids: Array, count: int) -> "_Step":
        known = ids >= 0
        positions = np.where(known, state.cache.counts, 0)
        state.cache.extend(known)
        step = state.step
        if step is None or not step.fits(state, count):
            step = state.step = _Step(self.decoder, state, count, self.vocab_size)
        step.run(state.cache, ids, positions)
        state.cache.length += 1
        return step


class _Step:
    """The graph with a state's arrays bound, as long as they stay the same; what it told last."""

    def __init__(self, graph: OrtGraph, state: InPlaceState, count: int, vocab_size: int) -> None:
        cache = state.cache
        rows = len(cache.mask)
        self._bound = Bound(graph)
        self._buffers = cache.buffers
        self._ids, self._positions = np.zeros((rows, 1), dtype=np.int64), np.zeros((rows, 1), dtype=np.int64)
        self.logits = np.empty((rows, vocab_size), dtype=np.float32)
        self._tokens, self._values = np.empty((rows, count), dtype=np.int64), np.empty((rows, count), dtype=np.float32)
        self._sums = np.empty(rows, dtype=np.float32)
        self.attention: Array | None = None
        bound = self._bound
        bound.feed(ports.INPUT_IDS, self._ids)
        bound.feed(ports.POSITION_IDS, self._positions)
        bound.feed(ports.ENCODER_ATTENTION_MASK, state.source_mask)
        self._length = np.zeros(1, dtype=np.int32)
        bound.feed(ports.PAST_SEQUENCE_LENGTH, self._length)
        bound.feed(ports.BEAM_WIDTH, np.array([cache.rows_per_source], dtype=np.int32))
        bound.feed(ports.NUM_TOP_LOGITS, np.array(count, dtype=np.int64))
        for name, entry in state.cross.items():
            bound.feed(name, entry)
        for name, buffer in cache.buffers.items():
            bound.feed(name, buffer)
            bound.fetch(ports.present_name(name), buffer)
        bound.fetch(ports.LOGITS, self.logits)
        bound.fetch(ports.TOP_IDS, self._tokens)
        bound.fetch(ports.TOP_LOGITS, self._values)
        bound.fetch(ports.LOG_SUM_EXP, self._sums)
        if ports.CROSS_ATTENTIONS in graph.outputs:
            _, layers, heads, _, _ = graph.outputs[ports.CROSS_ATTENTIONS]
            shape = (rows, int(layers), int(heads), 1, state.source_mask.shape[1])
            looked = np.empty(shape, dtype=np.float32)
            bound.fetch(ports.CROSS_ATTENTIONS, looked)
            self.attention = looked if state.attend else None

    def fits(self, state: InPlaceState, count: int) -> bool:
        return self._buffers is state.cache.buffers and self._tokens.shape[1] == count

    def run(self, cache: InPlaceCache, ids: Array, positions: Array) -> None:
        np.maximum(ids, 0, out=self._ids[:, 0])
        self._positions[:, 0] = positions
        self._length[0] = cache.length
        self._bound.feed(ports.DECODER_ATTENTION_MASK, np.ascontiguousarray(cache.mask[:, : cache.length + 1]))
        self._bound.feed(ports.CACHE_INDIRECTION, cache.origins)
        self._bound.run()

    def ranked(self, asked: Array) -> Ranked:
        check(self._sums)
        return Ranked(self._tokens.copy(), self._values.copy(), self._sums.copy(), self.logits[:, asked])
