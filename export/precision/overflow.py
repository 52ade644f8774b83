"""What float16 has no room for: weights, and values inside graphs while they read texts."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from diptych.export.errors import ExportError
from diptych.export.precision.calibration import Example
from diptych.export.precision.half import LARGEST, mask_within_reach
from diptych.export.precision.reduce import Models
from diptych.export.precision.rewriting import Rewriting
from diptych.export.weights_file import write_models
from diptych.runtime.graph import Array, Arrays, Graph, OrtGraph
from diptych.runtime.providers import SessionSettings

# Other texts may reach further than these.
_MARGIN = 2


def too_large(models: Models, examples: Sequence[Example], folder: Path) -> dict[str, set[str]]:
    """By file, the names of values and weights that come near the end of float16, or beyond.

    models: in float32, which stay as they are. folder: an empty one, for graphs that put out their largest values.
    Raises ExportError if one of them is kept in a cache, which is float16.
    """
    copies = [(file, model.clone()) for file, model in models]
    watched = {file: _watch(model.graph) for file, model in copies}
    write_models(copies, folder)
    engines = {file: _Watched(OrtGraph(folder / file, SessionSettings()), watched[file]) for file, _ in copies}
    for example in examples:
        example.answers(engines)
    found = {}
    for file, model in models:
        reached = dict(zip(watched[file], engines[file].largest, strict=True))
        for output in model.graph.outputs:
            if str(output.name).startswith("present.") and not reached.get(str(output.name), 0.0) <= LARGEST:
                raise ExportError(
                    f"{file}: {output.name} reaches {reached[str(output.name)]:.3g}, but float16 ends at {LARGEST:g}, "
                    "and caches are float16; use another --precision"
                )
        # What is no number is too large, too.
        values = {name for name, largest in reached.items() if not largest <= LARGEST / _MARGIN}
        found[file] = values | _large_weights(model.graph)
    return found


def _watch(graph: ir.Graph) -> list[str]:
    """Put out the largest magnitude of each value; the values' names, in that order."""
    mask_within_reach(graph)
    rewriting = Rewriting(graph)
    names: list[str] = []
    for value in [value for node in list(graph) for value in node.outputs if value.dtype == ir.DataType.FLOAT]:
        magnitude = rewriting.append("Abs", [value], f"{value.name}.magnitude")
        largest = rewriting.append("ReduceMax", [magnitude], _output(len(names)), keepdims=0)
        largest.shape = ir.Shape([])
        graph.outputs.append(largest)
        names.append(str(value.name))
    return names


def _output(place: int) -> str:
    return f"overflow.largest.{place}"


def _large_weights(graph: ir.Graph) -> set[str]:
    """Masks aside, which are single numbers."""
    found = set()
    for name, value in graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size <= 1:
            continue
        if not np.abs(tensor.numpy()).max() <= LARGEST:
            found.add(name)
    return found


class _Watched:
    """A graph, and the largest magnitude of each of its values in all runs."""

    def __init__(self, graph: Graph, values: Sequence[str]) -> None:
        self._graph, self._names = graph, [_output(place) for place in range(len(values))]
        self.largest = np.zeros(len(values))
        self.inputs, self.dtypes = graph.inputs, graph.dtypes
        self.outputs = {name: shape for name, shape in graph.outputs.items() if name not in self._names}

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        wanted = list(self.outputs if outputs is None else outputs)
        values = self._graph.run(feeds, [*wanted, *self._names])
        found = np.array([float(values[name]) for name in self._names])
        self.largest = np.maximum(self.largest, found)
        return {name: values[name] for name in wanted}
