"""Modules and what crosses their borders, read from a graph of a few nodes."""

import onnx_ir as ir
import pytest

from diptych.export.parity.bisection.scopes import ROOT, Scopes
from diptych.export.trace import SCOPES


@pytest.fixture
def scopes() -> Scopes:
    """As exported: x -> stack(norm, then layer(up, then more)), and a length that the layer needs."""
    fed = _value("x")
    weight = _value("stack.norm.weight")
    weight.const_value = ir.tensor([1.0, 2.0], name=weight.name)
    length = _node("Shape", [fed], "length", ["_empty_nn_module_stack_from_metadata_hook", "sym_size_int"])
    length.outputs[0].dtype = ir.DataType.INT64
    normed = _node("Mul", [fed, weight], "normed", [ROOT, "stack", "stack.norm", "mul"])
    up = _node("Neg", [*normed.outputs], "up", [ROOT, "stack", "stack.layers.0", "stack.layers.0.up", "neg"])
    split = _node("Identity", [*up.outputs], "split", None)
    reshaped = _node(
        "Reshape", [*split.outputs, *length.outputs], "reshaped", [ROOT, "stack", "stack.layers.0", "view"]
    )
    added = _node("Add", [*normed.outputs, *reshaped.outputs], "added", [ROOT, "stack", "stack.layers.0", "add"])
    nodes = [length, normed, up, split, reshaped, added]
    outputs = [*added.outputs, *up.outputs]
    return Scopes(ir.Graph([fed], outputs, nodes=nodes, initializers=[weight]))


def test_modules_are_those_that_became_nodes(scopes: Scopes) -> None:
    assert scopes.modules == [ROOT, "stack", "stack.norm", "stack.layers.0", "stack.layers.0.up"]
    assert scopes.parent("stack.layers.0.up") == "stack.layers.0"
    assert scopes.parent("stack.layers.0") == "stack"
    assert scopes.parent("stack") == ROOT


def test_values_cross_borders(scopes: Scopes) -> None:
    """Weights, and what is not a floating-point number, do not."""
    assert scopes.entering == {
        ROOT: ["x"],
        "stack": ["x"],
        "stack.norm": ["x"],
        "stack.layers.0": ["normed"],
        "stack.layers.0.up": ["normed"],
    }
    assert scopes.leaving == {
        ROOT: ["added", "up"],
        "stack": ["up", "added"],
        "stack.norm": ["normed"],
        "stack.layers.0": ["up", "added"],
        "stack.layers.0.up": ["up"],
    }


def test_values_have_a_place_and_a_maker(scopes: Scopes) -> None:
    assert scopes.order["x"] == -1
    assert [scopes.order[name] for name in ("length", "normed", "added")] == [0, 1, 5]
    assert scopes.makers["length"] == ROOT
    assert scopes.makers["up"] == "stack.layers.0.up"


def test_a_node_without_a_module_is_where_its_neighbours_are(scopes: Scopes) -> None:
    """Rewriting the graph can lose what a node belongs to."""
    assert scopes.makers["split"] == "stack.layers.0"


def test_nodes_are_listed_by_module(scopes: Scopes) -> None:
    assert scopes.nodes("stack.layers.0") == ["Identity split", "Reshape reshaped", "Add added"]
    assert scopes.nodes("stack") == ["Mul normed", "Neg up", "Identity split", "Reshape reshaped", "Add added"]


def _value(name: str) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([None, 2]))


def _node(kind: str, inputs: list[ir.Value], name: str, scopes: list[str] | None) -> ir.Node:
    properties = {} if scopes is None else {SCOPES: str(scopes)}
    return ir.node(kind, inputs, outputs=[_value(name)], name=name, metadata_props=properties)
