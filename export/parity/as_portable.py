"""Decoders of tuned graphs behind the ports of portable ones, so that every bundle is compared in the same way.

The product's own path runs: a state is made of the past that is fed, and the runtime's decoder takes the new tokens.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from diptych.export.parity.caches import Compact, Slotted
from diptych.runtime import ports
from diptych.runtime.bundle import BundleDecoder
from diptych.runtime.decoder import CachedDecoder, CacheState, Decoder
from diptych.runtime.generation.history import PADDING
from diptych.runtime.graph import Array, Arrays, OrtGraph, Shape
from diptych.runtime.grouped import GroupedDecoder, GroupedState
from diptych.runtime.in_place import InPlaceDecoder, InPlaceState
from diptych.runtime.in_place_cache import InPlaceCache
from diptych.runtime.ranked import Ranked
from diptych.runtime.row_cache import RowCache

Tuned = InPlaceDecoder | GroupedDecoder


class AsPortable:
    """A tuned decoder as a graph that takes its past and new tokens [R, T], and gives all their logits."""

    def __init__(self, decoder: Tuned) -> None:
        self.decoder = decoder
        graph, layers = decoder.decoder, len(decoder.past_names) // 2
        if isinstance(decoder, InPlaceDecoder):
            inputs = ports.decoder_inputs(layers)
            outputs = ports.decoder_outputs(layers, with_attention=decoder.attends)
        else:
            inputs, outputs = ports.causal_inputs(layers), ports.causal_outputs(layers)
        self.inputs = {port.name: _sized(port, graph.inputs) for port in inputs}
        self.outputs = {port.name: _sized(port, graph.outputs) for port in outputs}
        self.dtypes = {name: graph.dtypes.get(name, np.dtype(np.int64)) for name in self.inputs}

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        """Positions are those that the decoder gives to tokens after such a mask."""
        decoder: Decoder[Any] = self.decoder
        state, (ids, places) = state_of(self.decoder, feeds), self._new_ids(feeds)
        keep = int(feeds.get(ports.NUM_LOGITS_TO_KEEP, 0))
        if (places == np.arange(ids.shape[1])).all():
            logits = decoder.forward(state, ids, keep)
        else:
            logits = decoder.forward(state, ids)
            logits = np.take_along_axis(logits, np.argsort(places, axis=1)[:, :, None], axis=1)[:, -keep:]
            assert isinstance(state, GroupedState)
            state.cache.mask = _mask(feeds)
        found = {ports.LOGITS: logits}
        for name, entries in cached(self.decoder, state).items():
            found[ports.present_name(name)] = entries
        if decoder.attends:
            found[ports.CROSS_ATTENTIONS] = decoder.attention(state)
        return {name: value for name, value in found.items() if outputs is None or name in outputs}

    def rank(self, feeds: Arrays, count: int) -> Ranked:
        """After the last of the new tokens; asked for are the logits of all."""
        decoder: Decoder[Any] = self.decoder
        state, (ids, _) = state_of(self.decoder, feeds), self._new_ids(feeds)
        if ids.shape[1] > 1:
            decoder.forward(state, ids[:, :-1])
        return decoder.rank(state, ids[:, -1:], count, np.arange(self.decoder.vocab_size))

    def _new_ids(self, feeds: Arrays) -> tuple[Array, Array]:
        """ids [R, T], -1 where the mask hides them, and whence they come: some decoders want padding on the left."""
        ids = feeds[ports.INPUT_IDS]
        ids = np.where(_mask(feeds)[:, -ids.shape[1] :], ids, PADDING)
        places = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
        if isinstance(self.decoder, GroupedDecoder):
            places = np.argsort(ids != PADDING, axis=1, kind="stable")
        return np.take_along_axis(ids, places, axis=1), places


def is_tuned(graph: OrtGraph) -> bool:
    """Whether its cache lies in buffers."""
    return not graph.inputs.keys().isdisjoint({ports.WRITE_INDICES, ports.SEQLENS_K})


def state_of(decoder: Tuned, feeds: Arrays) -> InPlaceState | GroupedState:
    """With the past that a portable graph would be fed, in buffers that have no place left for more."""
    past = {name: feeds[name] for name in decoder.past_names}
    length = next(iter(past.values())).shape[2]
    mask = _mask(feeds)[:, :length]
    if isinstance(decoder, GroupedDecoder):
        compact = Compact(mask)
        places = max(int(compact.counts.max(initial=0)), 1)
        buffers = {name: compact.put(entries, places) for name, entries in past.items()}
        written = np.arange(len(mask) * places).reshape(len(mask), places)
        return GroupedState(1, RowCache(buffers, mask, written, written.size))
    sources = feeds[ports.ENCODER_ATTENTION_MASK]
    slotted = Slotted(mask, len(mask) // len(sources))
    slotted.cache.buffers = {name: slotted.put(entries) for name, entries in past.items()}
    return InPlaceState(
        source_mask=np.ascontiguousarray(sources),
        cross={name: np.ascontiguousarray(feeds[name]) for name in decoder.cross_names},
        cache=slotted.cache,
        attend=decoder.attends,
    )


def cached(decoder: BundleDecoder, state: Any) -> Mapping[str, Array]:
    """What a decoder keeps of its rows, [R, H, P, D] by the name of the input, wherever it lies."""
    match state:
        case CacheState(past=past) if isinstance(decoder, CachedDecoder):
            return decoder.memory.arrays(past)
        case InPlaceState(cache=InPlaceCache() as cache):
            return {name: Slotted.take(buffer, cache) for name, buffer in cache.buffers.items()}
        case GroupedState(cache=RowCache(buffers=buffers, mask=mask)):
            return {name: Compact(mask).take(buffer) for name, buffer in buffers.items()}
    raise TypeError(f"{type(decoder).__name__} has no {type(state).__name__}")


def _mask(feeds: Arrays) -> Array:
    """[R, P + T]"""
    causal = ports.DECODER_ATTENTION_MASK not in feeds
    return feeds[ports.ATTENTION_MASK if causal else ports.DECODER_ATTENTION_MASK].astype(np.int64)


def _sized(port: ports.Port, given: Mapping[str, Shape]) -> Shape:
    """Its axes, with the sizes that the tuned graph gives."""
    count = len(port.axes)
    return tuple(given[port.name][place - count] if axis is None else axis for place, axis in enumerate(port.axes))
