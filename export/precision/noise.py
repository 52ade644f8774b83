"""What each layer alone loses if its weights have fewer bits: in its own output, and in what the model says."""

from collections.abc import Collection, Mapping, Sequence
from math import inf, log10
from pathlib import Path

import numpy as np
import onnx_ir as ir

from diptych.export.precision.quality import Expected, quality
from diptych.export.precision.reduce import Models, stored
from diptych.export.precision.rewriting import Rewriting
from diptych.export.weights_file import write_models
from diptych.runtime.graph import Array, Arrays, Graph, OrtGraph
from diptych.runtime.providers import SessionSettings

_CHOSEN, _SIGNAL, _NOISE = "quality.chosen", "quality.signal", "quality.noise"
_NONE = -1


class Noise:
    """The float32 graphs with every product computed in both ways, of which one module at a time uses the other."""

    def __init__(self, models: Models, precision: str, groups: Sequence[Sequence[str]], folder: Path) -> None:
        """models: in float32, which stay as they are. groups: modules that share a weight. folder: an empty one."""
        self._groups = groups
        numbers = {module: number for number, group in enumerate(groups) for module in group}
        copies = [(file, model.clone()) for file, model in models]
        watched = {file: _both_ways(model.graph, precision, numbers) for file, model in copies}
        write_models(copies, folder)
        self._engines = {
            file: _Watched(OrtGraph(folder / file, SessionSettings()), modules) for file, modules in watched.items()
        }

    def signal_to_noise(self, references: Sequence[Expected]) -> dict[str, float]:
        """By module, in decibels: 10 log10 of the power of what it puts out over that of the error."""
        for reference in references:
            reference.example.answers(self._engines)
        found: dict[str, float] = {}
        for engine in self._engines.values():
            for module, (signal, noise) in zip(engine.modules, engine.powers, strict=True):
                found[module] = min(found.get(module, inf), _decibels(signal, noise))
        return found

    def losses(self, references: Sequence[Expected]) -> list[float]:
        """For each group, what the model loses if that alone is reduced: divergence, or of states, cosine."""
        found = []
        for number in range(len(self._groups)):
            for engine in self._engines.values():
                engine.chosen = number
            measured = quality(references, self._engines)
            found.append(measured.get("divergence", 1 - measured["agreement"]))
        return found


class _Watched:
    """A graph with the choice of a group, and the powers of signal and noise at each product, summed over its runs."""

    def __init__(self, graph: Graph, modules: Sequence[str]) -> None:
        self._graph, self.modules, self.chosen = graph, modules, _NONE
        self._names = [f"{kind}.{place}" for place in range(len(modules)) for kind in (_SIGNAL, _NOISE)]
        self.powers = np.zeros((len(modules), 2))
        self.inputs = {name: shape for name, shape in graph.inputs.items() if name != _CHOSEN}
        self.outputs = {name: shape for name, shape in graph.outputs.items() if name not in self._names}
        self.dtypes = graph.dtypes

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        wanted = list(self.outputs if outputs is None else outputs)
        watched = self._names if self.chosen == _NONE else []
        values = self._graph.run({**feeds, _CHOSEN: np.array(self.chosen)}, [*wanted, *watched])
        if watched:
            self.powers += np.array([float(values[name]) for name in watched]).reshape(-1, 2)
        return {name: values[name] for name in wanted}


def _both_ways(graph: ir.Graph, precision: str, numbers: Mapping[str, int]) -> list[str]:
    """Compute each product both ways; the modules, in the order of the powers put out."""
    rewriting = Rewriting(graph)
    where = stored(rewriting, precision, {})
    chosen = ir.Value(name=_CHOSEN, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([]))
    graph.inputs.append(chosen)
    modules: list[str] = []
    for node in list(graph):
        if node not in where:
            continue
        kind, place = where[node]
        whole, hidden = node.outputs[0], node.inputs[0]
        assert hidden is not None
        reduced = kind.look_up(node, place) if node in place.lookups else kind.multiply(node, hidden, place)
        users = list(whole.uses())
        number = rewriting.constant(f"quality.group.{numbers[place.module]}", np.array(numbers[place.module]))
        asked = rewriting.add(node, "Equal", [chosen, number], f"{whole.name}.asked", ir.DataType.BOOL)
        used = rewriting.after(node, "Where", [asked, reduced, whole], f"{whole.name}.used")
        for use in users:
            use.node.replace_input_with(use.idx, used)
        for place_out, output in enumerate(graph.outputs):
            if output is whole:
                used.name, whole.name = whole.name, used.name
                used.shape = whole.shape
                graph.outputs[place_out] = used
        error = rewriting.append("Sub", [reduced, whole], f"{whole.name}.error")
        for name, value in ((_SIGNAL, whole), (_NOISE, error)):
            power = rewriting.append("ReduceSumSquare", [value], f"{name}.{len(modules)}", keepdims=0)
            power.shape = ir.Shape([])
            graph.outputs.append(power)
        modules.append(place.module)
    return modules


def _decibels(signal: float, noise: float) -> float:
    """At most 200, which is more than float32 tells."""
    return min(10 * log10(signal / noise), 200.0) if signal and noise else 200.0
