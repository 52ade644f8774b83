"""Graphs in float16, but for what float16 has no room for.

In float32 stay: means of squares and what is divided by them (norms written out), positions and angles computed from
whole numbers, and all that reads or makes values found to be too large. Logits, scores and states come out in float32;
caches are float16, in and out.
"""

from collections.abc import Collection, Iterator

import numpy as np
import onnx_ir as ir

from diptych.export.precision.places import module_of
from diptych.export.precision.rewriting import Rewriting

LARGEST = float(np.finfo(np.float16).max)
# Stands for what masks add where nothing may be seen: with a score added, it is still a number.
MASKED = -20000.0
_STATISTICS = frozenset({"Pow", "ReduceMean", "ReduceSumSquare", "ReduceL2", "Sqrt", "Reciprocal"})
_AFTER_STATISTICS = frozenset({"Add", "Sub", "Mul", "Div"})
_FLOAT, _HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16


def mask_within_reach(graph: ir.Graph) -> None:
    """Let constants that stand for minus infinity be numbers of float16."""
    for name, value in list(graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != _FLOAT or tensor.size > 1:
            continue
        array = tensor.numpy()
        if (array < -LARGEST).any():
            value.const_value = ir.tensor(np.full_like(array, MASKED), name=name)


def halve(graph: ir.Graph, large: Collection[str]) -> list[str]:
    """Put a graph into float16; the modules that stay in float32 on account of values that are too `large`, by name."""
    mask_within_reach(graph)
    nodes = list(graph)
    statistics = _statistics(nodes)
    counted = _counted(nodes)
    overflowing = [node for node in nodes if any(str(value.name) in large for value in _floats(node))]
    whole = {*statistics, *counted, *overflowing, *(node for node in nodes if _has_subgraphs(node))}
    _Halving(graph, whole).run(nodes)
    kept = [module_of(node) for node in overflowing if node not in statistics]
    return list(dict.fromkeys(module for module in kept if module))


def _floats(node: ir.Node) -> Iterator[ir.Value]:
    """What it reads and makes in floating point."""
    for value in (*node.inputs, *node.outputs):
        if value is not None and value.dtype == _FLOAT:
            yield value


def _has_subgraphs(node: ir.Node) -> bool:
    return any(each.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for each in node.attributes.values())


def _statistics(nodes: list[ir.Node]) -> set[ir.Node]:
    """Powers and means, what is made of them alone, and what they are then put to."""
    found: set[ir.Node] = set()
    alone: set[ir.Value] = set()
    for node in nodes:
        inputs = [value for value in node.inputs if value is not None and value.dtype == _FLOAT]
        computed = [value for value in inputs if value.const_value is None]
        inner = bool(computed) and all(value in alone for value in computed)
        if node.op_type in _STATISTICS or (node.op_type in _AFTER_STATISTICS and any(v in alone for v in computed)):
            found.add(node)
            if inner or node.op_type in _STATISTICS:
                alone.update(node.outputs)
    return found


def _counted(nodes: list[ir.Node]) -> set[ir.Node]:
    """What computes with whole numbers and constants, not with weights or what is fed: positions, angles, buckets."""
    found: set[ir.Node] = set()
    values: set[ir.Value] = set()
    for node in nodes:
        inputs = [value for value in node.inputs if value is not None]
        makes = any(value.dtype == _FLOAT for value in node.outputs)
        floats = [value for value in inputs if value.dtype == _FLOAT]
        known = all(
            value in values or (value.const_value is not None and value.const_value.size <= 4096) for value in floats
        )
        computed = any(value in values for value in floats) or (node.op_type == "Cast" and not floats)
        if makes and known and computed:
            found.add(node)
            values.update(node.outputs)
    return found


class _Halving:
    """One graph's nodes, in two widths, with casts between them."""

    def __init__(self, graph: ir.Graph, whole: Collection[ir.Node]) -> None:
        self._graph, self._whole = graph, whole
        self._rewriting = Rewriting(graph)
        self._cast: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def run(self, nodes: list[ir.Node]) -> None:
        for port in self._graph.inputs:
            if port.dtype == _FLOAT:
                port.type = ir.TensorType(_HALF)
        for node in nodes:
            width = _FLOAT if node in self._whole else _HALF
            for place, value in enumerate(node.inputs):
                if value is not None and value.dtype in (_FLOAT, _HALF):
                    node.replace_input_with(place, self._as(value, width, node))
            if width == _HALF:
                self._make_half(node)
        for place, output in enumerate(self._graph.outputs):
            self._put_out(place, output)
        self._rewriting.clean()

    def _as(self, value: ir.Value, width: ir.DataType, before: ir.Node | None) -> ir.Value:
        """The value in this width: a constant is stored so, anything else cast, once."""
        if value.dtype == width:
            return value
        if (value, width) not in self._cast:
            name = f"{value.name}.{'half' if width == _HALF else 'whole'}"
            if value.const_value is not None and value.producer() is None:
                made = self._constant(value)
            elif before is None:
                made = self._rewriting.append("Cast", [value], name, to=width)
            else:
                made = self._rewriting.add(before, "Cast", [value], name, width, to=width)
            made.shape = value.shape
            self._cast[value, width] = made
        return self._cast[value, width]

    def _constant(self, value: ir.Value) -> ir.Value:
        """A weight keeps its name in float16; one that is used in both widths has another there."""
        assert value.const_value is not None
        array = value.const_value.numpy().astype(np.float16)
        name = str(value.name)
        if any(use.node in self._whole for use in value.uses()):
            return self._rewriting.constant(f"{name}.half", array)
        value.name = f"{name}.replaced"
        return self._rewriting.constant(name, array)

    @staticmethod
    def _make_half(node: ir.Node) -> None:
        for value in node.outputs:
            if value.dtype == _FLOAT:
                value.type = ir.TensorType(_HALF)
        to = node.attributes.get("to")
        if node.op_type == "Cast" and to is not None and to.as_int() == _FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", int(_HALF))
        for name, attribute in list(node.attributes.items()):
            if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == _FLOAT:
                array = attribute.as_tensor().numpy().astype(np.float16)
                node.attributes[name] = ir.AttrTensor(name, ir.tensor(array))

    def _put_out(self, place: int, value: ir.Value) -> None:
        """Caches in float16, the rest in float32, under their names."""
        if value.dtype not in (_FLOAT, _HALF):
            return
        width = _HALF if str(value.name).startswith("present.") else _FLOAT
        if value.dtype == width:
            return
        name = str(value.name)
        value.name = f"{name}.inside"
        made = self._as(value, width, None)
        made.name = name
        self._graph.outputs[place] = made
