"""A cache in a device's memory: what a step leaves there, the next one reads, and nothing passes through the host.

Rows are selected, cropped, padded and joined by graphs of one operator, over all layers' entries at once; the best of
all logits are found there, too.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from diptych.runtime.device_ranking import DeviceRanking
from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.graph import DTYPES, Array, Graph, OrtGraph
from diptych.runtime.memory import Entries, HostMemory, Memory, empty_shape
from diptych.runtime.onnx_bytes import Node, Value, model
from diptych.runtime.ranked import Ranked
from diptych.runtime.sessions import Device

_INT64 = np.dtype(np.int64)
_RANK = 4  # [rows, heads, length, head width]


def memory_of(graph: Graph) -> Memory:
    """Where the cache of a decoder graph lies best: where its provider computes."""
    if isinstance(graph, OrtGraph) and graph.device is not None:
        return DeviceMemory(graph.device)
    return HostMemory()


class DeviceMemory:
    """Entries are `OrtValue`s on a device, and so is what all graphs that it runs compute with."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._operators: dict[tuple[str, int, tuple[str, ...]], ort.InferenceSession] = {}
        self._rankings: dict[tuple[str, int], DeviceRanking] = {}

    def empty(self, graph: Graph, names: Collection[str], rows: int) -> Entries:
        make, place = ort.OrtValue.ortvalue_from_shape_and_type, (self.device.kind, self.device.number)
        return {name: make(empty_shape(graph, name, rows), graph.dtypes[name].type, *place) for name in names}

    def run(
        self, graph: Graph, feeds: Mapping[str, Any], fetched: Collection[str], left: Mapping[str, str]
    ) -> tuple[dict[str, Array], Entries]:
        assert isinstance(graph, OrtGraph)
        outputs, values = graph.run_bound(feeds, fetched, left.values(), self.device)
        return outputs, {name: values[output] for name, output in left.items()}

    def select(self, entries: Entries, rows: Array) -> Entries:
        return self._each("Gather", [entries], {"rows": rows}, axis=0)

    def crop(self, entries: Entries, start: int, stop: int) -> Entries:
        return self._each("Slice", [entries], {"start": [start], "stop": [stop], "axis": [2]})

    def join(self, first: Entries, second: Entries, *, left: bool) -> Entries:
        groups = [entries for entries in (first, second) if _size(entries, 0)]
        length = max((_size(entries, 2) for entries in groups), default=0)
        groups = [self._padded(entries, length, left=left) for entries in groups]
        return self._each("Concat", groups, {}, axis=0) if len(groups) == 2 else (groups or [second])[0]

    def arrays(self, entries: Entries) -> dict[str, Array]:
        return {name: value.numpy() for name, value in entries.items()}

    def ranked(self, logits: Any, count: int, asked: Array) -> Ranked:
        kind = logits.data_type(), int(logits.shape()[2])
        if kind not in self._rankings:
            self._rankings[kind] = DeviceRanking(self.device, logits)
        return self._rankings[kind](logits, count, asked)

    def _padded(self, entries: Entries, length: int, *, left: bool) -> Entries:
        missing = length - _size(entries, 2)
        if not missing:
            return entries
        pads = [0] * 2 * _RANK
        pads[2 if left else _RANK + 2] = missing
        return self._each("Pad", [entries], {"pads": pads})

    def _each(self, operator: str, groups: list[Entries], parameters: Mapping[str, Any], **attributes: int) -> Entries:
        """What the operator makes of each entry, or of those of the same name in several groups, all in one run."""
        names = list(groups[0])
        if not names:
            return {}
        dtypes = tuple(str(value.data_type()) for value in groups[0].values())
        key = operator, len(groups), dtypes
        if key not in self._operators:
            written = _written(operator, len(groups), dtypes, list(parameters), attributes)
            self._operators[key] = self.device.session(written)
        session = self._operators[key]
        binding = session.io_binding()
        fed = {name: np.asarray(value, dtype=np.int64, order="C") for name, value in parameters.items()}
        for name, value in fed.items():
            binding.bind_cpu_input(name, value)
        for group, entries in enumerate(groups):
            for place, name in enumerate(names):
                binding.bind_ortvalue_input(f"{group}.{place}", entries[name])
        for place in range(len(names)):
            binding.bind_output(str(place), self.device.kind, self.device.number)
        session.run_with_iobinding(binding)
        return dict(zip(names, binding.get_outputs(), strict=True))


def _written(
    operator: str, groups: int, dtypes: tuple[str, ...], parameters: list[str], attributes: dict[str, int]
) -> bytes:
    """A model with one node for each entry, of the inputs `group.place`; all share the parameters."""
    types = [DTYPES[dtype] for dtype in dtypes]
    entries = [Value(f"{group}.{place}", dtype, _RANK) for group in range(groups) for place, dtype in enumerate(types)]
    nodes = [
        Node(operator, [*(f"{group}.{place}" for group in range(groups)), *parameters], [str(place)], attributes)
        for place in range(len(types))
    ]
    inputs = [*entries, *(Value(name, _INT64, 1) for name in parameters)]
    return model(nodes, inputs, [Value(str(place), dtype, _RANK) for place, dtype in enumerate(types)])


def _size(entries: Entries, axis: int) -> int:
    return next((int(value.shape()[axis]) for value in entries.values()), 0)
