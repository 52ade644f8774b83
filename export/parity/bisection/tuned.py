"""Views of graphs whose cache is a buffer, fed as portable graphs are: one new token of each row after a past."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diptych.export.parity.bisection.points import OnnxWatched
from diptych.export.parity.bounds import Deviation
from diptych.export.parity.caches import Compact, Slotted
from diptych.export.parity.levels.probes import Probe
from diptych.runtime import ports
from diptych.runtime.errors import EngineError
from diptych.runtime.graph import DTYPES, Array, Arrays, Graph

# Of the new tokens of a case, so many are tried one by one.
_TRIED = 8


@dataclass(frozen=True)
class TunedWatched(OnnxWatched):
    """What the graph is fed as past, and what it gives as present, is each row's own, in portable order."""

    def fetch(self, session: Any, outputs: Sequence[str], feeds: Arrays) -> list[Array]:
        inputs = {port.name: port.shape for port in session.get_inputs()}
        known = {port.name for port in session.get_outputs()}
        pasts = [name for name in feeds if name in inputs and ports.present_name(name) in known - {name}]
        cache: _Lying = _InPlace(feeds) if ports.WRITE_INDICES in inputs else _Grouped(feeds)
        buffers = {name: cache.put(feeds[name]) for name in pasts}
        given = {**feeds, **buffers, **cache.given, ports.NUM_TOP_LOGITS: np.array(1)}
        types = {port.name: DTYPES[port.type] for port in session.get_inputs()}
        given = {name: np.array(given[name], dtype, order="C") for name, dtype in types.items()}
        binding = session.io_binding()
        for name, value in given.items():
            binding.bind_input(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        presents = {ports.present_name(name): name for name in pasts}
        for present, name in presents.items():  # The kernels write in place: past and present are one.
            value = given[name]
            binding.bind_output(present, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        others = [name for name in outputs or known if name not in presents]
        for name in others:
            binding.bind_output(name, "cpu")
        session.run_with_iobinding(binding)
        found = dict(zip([*presents, *others], (value.numpy() for value in binding.get_outputs()), strict=True))
        for present, name in presents.items():
            found[present] = cache.take(given[name], feeds[name])
        return [cache.by_row(name, found[name]) for name in outputs]


class _InPlace:
    """How the past of these feeds lies in buffers: the rows of a source share one, and are its new tokens."""

    def __init__(self, feeds: Arrays) -> None:
        ids, mask = feeds[ports.INPUT_IDS], feeds[ports.DECODER_ATTENTION_MASK]
        sources = len(feeds[ports.ENCODER_ATTENTION_MASK])
        self.shape = sources, len(ids) // sources
        self.slotted = Slotted(mask[:, :-1], self.shape[1], more=self.shape[1])
        cache, known = self.slotted.cache, mask[:, -1:] != 0
        slots = np.full(sources, cache.taken)
        seen, _ = cache.extend(1, known)
        self.given: Mapping[str, Array] = {
            ports.INPUT_IDS: ids.reshape(self.shape),
            ports.POSITION_IDS: feeds[ports.POSITION_IDS].reshape(self.shape),
            ports.DECODER_ATTENTION_MASK: seen.copy(),
            ports.WRITE_INDICES: slots,
            ports.SLOT_POSITIONS: cache.positions,
            ports.NUM_LOGITS: np.array(self.shape[1]),
        }
        cache.keep_new(1, known)

    def put(self, entries: Array) -> Array:
        return self.slotted.put(entries)

    def take(self, buffer: Array, before: Array) -> Array:
        found = Slotted.take(buffer, self.slotted.cache)
        found[:, :, :-1] = before
        return found

    def by_row(self, name: str, value: Array) -> Array:
        """[B, K, …] as [R, 1, …], and such a shape so; attention [B, layers, H, K, S] as [R, layers, H, 1, S]."""
        sources, rows = self.shape
        if value.ndim == 3 and value.shape[:2] == self.shape:
            return value.reshape(sources * rows, 1, -1)
        if value.ndim == 1 and len(value) == 3 and tuple(value[:2]) == self.shape:
            return np.array([sources * rows, 1, value[2]])
        if name == ports.CROSS_ATTENTIONS:
            return np.moveaxis(value, 3, 1).reshape(sources * rows, *value.shape[1:3], 1, -1)
        if name.endswith(f" {ports.CROSS_ATTENTIONS}"):
            return np.array([sources * rows, *value[1:3], 1, value[4]])
        return value


class _Grouped:
    """The same where a row's tokens take the first places; where there is padding, what is cached stays as it was."""

    def __init__(self, feeds: Arrays) -> None:
        self.mask = feeds[ports.ATTENTION_MASK]
        last = self.mask.sum(axis=1) - 1
        self.given: Mapping[str, Array] = {ports.SEQLENS_K: last, ports.MOST_TOKENS: last.max() + 1}

    def put(self, entries: Array) -> Array:
        return Compact(self.mask[:, :-1]).put(entries, self.mask.shape[1])

    def take(self, buffer: Array, before: Array) -> Array:
        found = Compact(self.mask).take(buffer)
        hidden = self.mask[:, None, :-1, None] == 0
        found[:, :, :-1] = np.where(hidden, before, found[:, :, :-1])
        return found

    def by_row(self, name: str, value: Array) -> Array:
        return value


_Lying = _InPlace | _Grouped


def one_token(probe: Probe, subject: Graph, truth: Graph, own: Graph) -> Probe:
    """The probe with one new token, after what the truth says of those before: the first at which the subject fails."""
    new = probe.feeds[ports.INPUT_IDS].shape[1]
    found = [_cut(probe, place, truth) for place in sorted({*range(min(new, _TRIED)), new - 1})]
    return next((each for each in found if _fails(each, subject, truth, own)), found[-1])


def _cut(probe: Probe, place: int, truth: Graph) -> Probe:
    """The token at this place alone; of rows that look back at nothing, those that have one."""
    feeds = dict(probe.feeds)
    alone = ports.ATTENTION_MASK in feeds
    masked = ports.ATTENTION_MASK if alone else ports.DECODER_ATTENTION_MASK
    ids, positions, mask = (feeds[name] for name in (ports.INPUT_IDS, ports.POSITION_IDS, masked))
    length = mask.shape[1] - ids.shape[1] + place
    feeds[ports.NUM_LOGITS_TO_KEEP] = np.array(0, dtype=np.int64)
    if place:
        before = {ports.INPUT_IDS: ids[:, :place], ports.POSITION_IDS: positions[:, :place], masked: mask[:, :length]}
        presents = truth.run(feeds | before)
        for name in feeds:
            if name != (present := ports.present_name(name)) and present in presents:
                feeds[name] = presents[present].astype(np.float32)
    feeds |= {
        ports.INPUT_IDS: ids[:, [place]],
        ports.POSITION_IDS: positions[:, [place]],
        masked: mask[:, : length + 1],
    }
    seen = probe.mask[:, : length + 1]
    if alone:
        rows = mask[:, length] != 0
        feeds = {name: value[rows] if value.ndim else value for name, value in feeds.items()}
        seen = seen[rows]
    words = f"{probe.case}, of these the one in place {place}" if ids.shape[1] > 1 else probe.case
    return replace(probe, case=words, feeds=feeds, mask=seen, past=length, kept=0)


def _fails(probe: Probe, subject: Graph, truth: Graph, own: Graph) -> bool:
    try:
        found, *others = (engine.run(probe.feeds) for engine in (subject, own, truth))
    except EngineError:
        return True
    return any(
        not Deviation.of(*(probe.seen(name, shape, each[name]) for each in (found, *others))).holds
        for name, shape in truth.outputs.items()
    )
