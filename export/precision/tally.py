"""Numbers about values inside graphs, gathered while these run: one for each, whatever the values' size."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import onnx_ir as ir

from diptych.export.precision.rewriting import Rewriting
from diptych.runtime.graph import Array, Arrays, Graph, Shape


class Tally:
    """A graph with further outputs that are numbers; `combine` says what becomes of them from run to run."""

    def __init__(self, graph: Graph, names: Collection[str], combine: Callable[[float, float], float]) -> None:
        self._graph, self._names, self._combine = graph, list(names), combine
        self.inputs: Mapping[str, Shape] = graph.inputs
        self.outputs = {name: shape for name, shape in graph.outputs.items() if name not in names}
        self.dtypes = graph.dtypes
        self.found = dict.fromkeys(self._names, 0.0)

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        wanted = list(self.outputs if outputs is None else outputs)
        values = self._graph.run(feeds, [*wanted, *self._names])
        for name in self._names:
            self.found[name] = self._combine(self.found[name], float(values[name]))
        return {name: values[name] for name in wanted}
