"""Values between modules, in PyTorch and in ONNX: where they are, and how to see a few of them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import onnx_ir as ir
import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils.hooks import RemovableHandle

from diptych.export.graph_spec import GraphSpec
from diptych.export.parity.bisection.scopes import ROOT, Scopes
from diptych.export.torch_graph import Context, TorchGraph
from diptych.runtime.errors import BundleError, EngineError, ProviderError
from diptych.runtime.graph import DTYPES, Array, Arrays
from diptych.runtime.providers import SessionSettings
from diptych.runtime.sessions import make_session

Size = tuple[int, ...]
End = Literal["input", "output"]


class Point(NamedTuple):
    """Where a floating-point tensor crosses a module's border; place: which of those that enter or leave it."""

    module: str
    end: End
    place: int


See = Callable[[Point, torch.Tensor], None]


class Watched(Protocol):
    """An engine of one graph in which values between modules can be seen, a few at a time; nothing else is kept."""

    def shapes(self, feeds: Arrays) -> dict[Point, Size]:
        """Every point there is, in the order in which values come by."""
        ...

    def observe(self, points: Collection[Point], feeds: Arrays) -> dict[Point, Array]: ...


class TorchWatched:
    """The module of a `GraphSpec` in PyTorch, in float32 or, if `precise`, in float64."""

    def __init__(self, spec: GraphSpec, precise: bool, rounding: Context = nullcontext) -> None:
        self.graph = TorchGraph(spec, precise=precise, rounding=rounding)

    def shapes(self, feeds: Arrays) -> dict[Point, Size]:
        shapes: dict[Point, Size] = {}

        def measure(point: Point, value: torch.Tensor) -> None:
            shapes[point] = tuple(value.shape)

        self._watch(feeds, measure)
        return shapes

    def observe(self, points: Collection[Point], feeds: Arrays) -> dict[Point, Array]:
        values: dict[Point, Array] = {}

        def keep(point: Point, value: torch.Tensor) -> None:
            if point in points:
                values[point] = value.numpy()

        self._watch(feeds, keep)
        return values

    def _by_name(self, outputs: object) -> list[object]:
        """Those of the whole, in the order of `Scopes.leaving`."""
        named = dict(zip(self.graph.outputs, pytree.tree_leaves(outputs), strict=True))
        return [named[name] for name in sorted(named)]

    def _watch(self, feeds: Arrays, see: See) -> None:
        """An empty place in the network, an identity, is nothing in its graph, and nothing here."""
        counts: Counter[tuple[str, End]] = Counter()

        def pass_on(module: str, end: End, values: object) -> None:
            for value in pytree.tree_leaves(values):
                if isinstance(value, torch.Tensor) and value.dtype.is_floating_point:
                    see(Point(module, end, counts[module, end]), value)
                    counts[module, end] += 1

        def entered(name: str, _module: nn.Module, arguments: object, named: object) -> None:
            pass_on(name, "input", (arguments, named))

        def left(name: str, _module: nn.Module, _arguments: object, result: object) -> None:
            pass_on(name, "output", result if name != ROOT else self._by_name(result))

        handles: list[RemovableHandle] = []
        for name, module in self.graph.module.named_modules():
            if isinstance(module, nn.Identity):
                continue
            if name != ROOT:
                handles.append(module.register_forward_pre_hook(partial(entered, name), with_kwargs=True))
            handles.append(module.register_forward_hook(partial(left, name)))
        try:
            self.graph.run(feeds)
        finally:
            for handle in handles:
                handle.remove()


@dataclass(frozen=True)
class OnnxWatched:
    """An ONNX file in ONNX Runtime, with a few more outputs than it has; weights are mapped, not read.

    optimized: as sessions are by default. length: if given, only so many nodes are run.
    """

    path: Path
    settings: SessionSettings
    optimized: bool = True
    length: int | None = None

    @cached_property
    def scopes(self) -> Scopes:
        return Scopes(ir.load(self.path).graph)

    @cached_property
    def names(self) -> dict[Point, str]:
        """The value at each point. What enters the whole is what it is fed."""
        scopes = self.scopes
        made = [
            (Point(module, "output", place), name)
            for module, names in scopes.leaving.items()
            for place, name in enumerate(names)
        ]
        used = [
            (Point(module, "input", place), name)
            for module, names in scopes.entering.items()
            if module != ROOT
            for place, name in enumerate(names)
        ]
        return {point: name for point, name in (*made, *used) if self._reaches(scopes.order[name])}

    def _reaches(self, place: int) -> bool:
        return self.length is None or place < self.length

    def shapes(self, feeds: Arrays) -> dict[Point, Size]:
        found = {
            name: tuple(shape.tolist()) for name, shape in self._run(self._made(self.names), feeds, "Shape").items()
        }
        return {point: found[name] if name in found else feeds[name].shape for point, name in self.names.items()}

    def observe(self, points: Collection[Point], feeds: Arrays) -> dict[Point, Array]:
        values = self._run(self._made(points), feeds)
        return {point: values[name] if (name := self.names[point]) in values else feeds[name] for point in points}

    def values(self, names: Iterable[str], feeds: Arrays) -> dict[str, Array]:
        """What some nodes make, by name."""
        return self._run(sorted(names), feeds)

    def runs(self, feeds: Arrays) -> bool:
        try:
            self._run([], feeds)
        except (BundleError, EngineError, ProviderError):
            return False
        return True

    def fetch(self, session: Any, outputs: Sequence[str], feeds: Arrays) -> list[Array]:
        """These outputs of a session; of none, that it runs."""
        ports = (*session.get_inputs(), *session.get_overridable_initializers())
        given = {port.name: feeds[port.name].astype(DTYPES[port.type]) for port in ports if port.name in feeds}
        found: list[Array] = session.run(list(outputs) or None, given)
        return found

    def _made(self, points: Iterable[Point]) -> list[str]:
        """The names of those that are not fed."""
        names = {self.names[point] for point in points}
        return sorted(name for name in names if self.scopes.order[name] >= 0)

    def _run(self, names: list[str], feeds: Arrays, through: str | None = None) -> dict[str, Array]:
        """Values by name, or what a node of the type `through` makes of each: its shape is smaller than itself."""
        model = ir.load(self.path)
        if self.length is not None:
            _cut(model.graph, self.length)
        outputs = _add_outputs(model.graph, names, through)
        serialized = bytes(ir.to_proto(model).SerializeToString())  # type: ignore[no-untyped-call]
        settings = replace(self.settings, lean=True)
        session = make_session(self.path, settings, optimized=self.optimized, model=serialized)
        try:
            values = self.fetch(session, outputs, feeds)
        except Exception as error:  # ONNX Runtime's own exceptions share no base but this.
            raise EngineError(f"{self.path}: ONNX Runtime failed: {error}") from error
        return dict(zip(names, values, strict=False))


def _cut(graph: ir.Graph, length: int) -> None:
    """Leave the first nodes; the last one's results come out, and what else they make of the graph's own outputs."""
    nodes = list(graph)
    made = [*graph.outputs, *nodes[length - 1].outputs]
    graph.outputs.clear()
    graph.remove(nodes[length:], safe=True)
    graph.outputs.extend(dict.fromkeys(value for value in made if value.producer() in nodes[:length]))


def _add_outputs(graph: ir.Graph, names: list[str], through: str | None) -> list[str]:
    """The outputs' names, in the order of the values'."""
    values = {value.name: value for node in graph for value in node.outputs}
    outputs = []
    for name in names:
        value = values[name]
        if through is not None:
            node = ir.node(through, [value])
            graph.append(node)
            value = node.outputs[0]
            value.name, value.dtype = f"{through} of {name}", ir.DataType.INT64
        if not value.is_graph_output():
            graph.outputs.append(value)
        outputs.append(str(value.name))
    return outputs
