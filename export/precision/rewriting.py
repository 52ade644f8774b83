"""Nodes and constants put into a graph, beside those that they stand for."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from diptych.export.precision.places import Place, scopes
from diptych.export.trace import SCOPES
from diptych.runtime.graph import Array

CONTRIB = "com.microsoft"
# A value, or a constant with its name.
Operand = ir.Value | None


class Rewriting:
    """Changes to one graph. Names are made of those that are there, so that two exports are the same."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph

    def constant(self, name: str, array: Array) -> ir.Value:
        """An initializer; one that has been put there before is taken again."""
        if name not in self.graph.initializers:
            tensor = ir.tensor(np.asarray(array), name=name)
            value = ir.Value(
                name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(tensor.shape.numpy()), const_value=tensor
            )
            self.graph.register_initializer(value)
        return self.graph.initializers[name]

    def add(
        self,
        before: ir.Node,
        operator: str,
        inputs: Sequence[Operand],
        name: str,
        dtype: ir.DataType = ir.DataType.FLOAT,
        *,
        outer: bool = False,
        domain: str = "",
        **attributes: Any,
    ) -> ir.Value:
        """The output of a new node, called so. outer: it belongs to the module round that of the node it precedes."""
        made = ir.Value(name=name, type=ir.TensorType(dtype))
        within = scopes(before)
        if outer and len(within) > 2:
            del within[-2]
        props = {SCOPES: repr([*within[:-1], name])} if within else {}
        node = ir.node(operator, inputs, attributes, domain=domain, outputs=[made], name=name, metadata_props=props)
        self.graph.insert_before(before, node)
        if domain:
            self.graph.opset_imports[domain] = 1
        return made

    def after(
        self, node: ir.Node, operator: str, inputs: Sequence[Operand], name: str, dtype: ir.DataType = ir.DataType.FLOAT
    ) -> ir.Value:
        """The output of a new node that follows another, in no module."""
        made = ir.Value(name=name, type=ir.TensorType(dtype))
        self.graph.insert_after(node, ir.node(operator, inputs, outputs=[made], name=name))
        return made

    def append(self, operator: str, inputs: Sequence[Operand], name: str, **attributes: Any) -> ir.Value:
        """The output, float32, of a new node after all others, in no module."""
        made = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT))
        self.graph.append(ir.node(operator, inputs, attributes, outputs=[made], name=name))
        return made

    def replace(self, node: ir.Node, value: ir.Value) -> None:
        """A node's output by another value, which takes its name, type and shape; the node goes."""
        (output,) = node.outputs
        name = output.name
        output.name = f"{name}.replaced"
        value.name, value.type, value.shape = name, output.type, output.shape
        output.replace_all_uses_with(value, replace_graph_outputs=True)
        self.graph.remove(node, safe=True)

    def exchange(self, place: Place, numbers: Array) -> ir.Value:
        """What stands for a weight, under the name that the network gives it."""
        value = place.value
        value.name = f"{place.name}.replaced"
        return self.constant(place.name, numbers)

    def clean(self) -> None:
        """Drop initializers and transpositions that nothing reads any more."""
        for node in list(self.graph):
            if node.op_type == "Transpose" and not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
                self.graph.remove(node, safe=True)
        for name, value in list(self.graph.initializers.items()):
            if not value.uses() and not value.is_graph_input():
                del self.graph.initializers[name]
