"""Where a graph multiplies by weights or looks rows of them up, whatever the kernels round it are."""

import ast
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from diptych.export.trace import SCOPES
from diptych.runtime.graph import Array

# Narrower weights are not worth a scale for each row: classifiers of few classes, tables of positions relative.
_NARROWEST = 16
# The modules whose tables are worth it.
_TOKENS, _POSITIONS = "embedding.tokens", "embedding.positions"


@dataclass(frozen=True)
class Place:
    """One weight, [in, out], or [out, in] if `by_rows`, and all that is done with it.

    name: as the network calls it. value: what the graph has; folded: [in, out] though the network has [out, in].
    products: each MatMul or Gemm with it. lookups: each Gather of its rows.
    """

    name: str
    value: ir.Value
    by_rows: bool
    products: tuple[ir.Node, ...]
    lookups: tuple[ir.Node, ...]
    folded: bool = False

    @property
    def module(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def of_positions(self) -> bool:
        return not self.products and module_of(self.lookups[0]).endswith(_POSITIONS)

    def weight(self) -> Array:
        """As the network has it."""
        assert self.value.const_value is not None
        weight = self.value.const_value.numpy()
        return np.ascontiguousarray(weight.T) if self.folded else weight


def places(graph: ir.Graph) -> list[Place]:
    """In the order of the graph's initializers. A weight that is used otherwise, too, is left alone."""
    found = (_place(value) for value in graph.initializers.values())
    return [place for place in found if place is not None]


def _place(value: ir.Value) -> Place | None:
    tensor = value.const_value
    if tensor is None or tensor.dtype != ir.DataType.FLOAT or value.is_graph_input() or value.is_graph_output():
        return None
    shape = tensor.shape.numpy()
    if len(shape) != 2 or min(shape) < _NARROWEST:
        return None
    products, lookups, orders = [], [], set()
    for use in value.uses():
        if use.node.op_type == "Gather" and use.idx == 0 and _axis(use.node) == 0:
            lookups.append(use.node)
            orders.add(True)
        elif use.node.op_type == "Transpose" and all(_multiplies(node, value) for node in _users(use.node)):
            products += _users(use.node)
            orders.add(True)
        elif use.idx == 1 and _multiplies(use.node, value):
            products.append(use.node)
            orders.add(_flag(use.node, "transB"))
        else:
            return None
    if len(orders) != 1 or not (products or all(module_of(node).endswith((_TOKENS, _POSITIONS)) for node in lookups)):
        return None
    by_rows = orders.pop()
    # What the exporter transposed beforehand has a name of its own making.
    folded = "." not in str(value.name)
    name = f"{module_of(products[0])}.weight" if folded and products else str(value.name)
    return Place(name, value, by_rows or folded, tuple(products), tuple(lookups), folded)


def _users(transpose: ir.Node) -> list[ir.Node]:
    return [use.node for use in transpose.outputs[0].uses()]


def _multiplies(node: ir.Node, weight: ir.Value) -> bool:
    """A product of something with a weight, and no more than that."""
    if node.inputs[0] is weight:
        return False
    if node.op_type == "MatMul" and not node.domain:
        return True
    return node.op_type == "Gemm" and not _flag(node, "transA") and all(_one(node, each) for each in ("alpha", "beta"))


def _flag(node: ir.Node, name: str) -> bool:
    attribute = node.attributes.get(name)
    return attribute is not None and attribute.as_int() != 0


def _one(node: ir.Node, name: str) -> bool:
    attribute = node.attributes.get(name)
    return attribute is None or attribute.as_float() == 1.0


def _axis(node: ir.Node) -> int:
    attribute = node.attributes.get("axis")
    return 0 if attribute is None else attribute.as_int()


def scopes(node: ir.Node) -> list[str]:
    """The modules round a node, outermost first, and its own name."""
    text = node.metadata_props.get(SCOPES)
    return [str(scope) for scope in ast.literal_eval(text)] if text else []


def module_of(node: ir.Node) -> str:
    within = scopes(node)[:-1]
    return within[-1] if within else ""
