"""Mistakes planted in the nodes of exported graphs, for bisection to find."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from diptych.export.parity.bisection.scopes import Scopes
from diptych.runtime import ports
from diptych.runtime.graph import Array

Edit = Callable[["Editor"], None]


class Editor:
    """A graph in which a fault is to be planted."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.scopes = Scopes(graph)

    def find(self, kind: str, module: str, place: int = 0) -> ir.Node:
        """A module's own node."""
        nodes = list(self.graph)
        own = [n for at, n in enumerate(nodes) if self.scopes.module_at(at) == module and n.op_type == kind]
        return own[place]

    def set_input(self, node: ir.Node, place: int, change: Callable[[Array], Array]) -> None:
        """Give this node alone another constant."""
        value = node.inputs[place]
        assert value is not None
        assert value.const_value is not None
        changed = np.array(change(value.const_value.numpy()), order="C")
        name = f"{value.name} of {node.name}"
        other = ir.Value(name=name, const_value=ir.tensor(changed, name=name))
        other.dtype, other.shape = value.dtype, ir.Shape(changed.shape)
        self.graph.register_initializer(other)
        node.replace_input_with(place, other)

    def set_shape(self, node: ir.Node, shape: list[int]) -> None:
        name = f"shape of {node.name}"
        value = ir.Value(name=name, const_value=ir.tensor(np.array(shape, dtype=np.int64), name=name))
        self.graph.register_initializer(value)
        node.replace_input_with(1, value)

    def skip(self, node: ir.Node, place: int) -> None:
        """What uses a node's result gets one of its inputs."""
        value = node.inputs[place]
        assert value is not None
        node.outputs[0].replace_all_uses_with(value)

    def swap(self, one: tuple[ir.Node, int], other: tuple[ir.Node, int]) -> None:
        first, second = one[0].inputs[one[1]], other[0].inputs[other[1]]
        one[0].replace_input_with(one[1], second)
        other[0].replace_input_with(other[1], first)


def plant(path: Path, folder: Path, edit: Edit) -> Path:
    """Beside a copy of the weights, for links are not followed."""
    for name in (ports.WEIGHTS_FILE, path.name):
        shutil.copyfile(path.with_name(name), folder / name)
    model = ir.load(folder / path.name)
    edit(Editor(model.graph))
    RemoveUnusedNodesPass()(model)
    ir.save(model, folder / path.name)
    return folder / path.name


def set_op(node: ir.Node, kind: str) -> None:
    node.op_type = kind


def set_attribute(node: ir.Node, name: str, value: float | str | list[int]) -> None:
    kind = {float: ir.AttrFloat32, str: ir.AttrString, list: ir.AttrInt64s}[type(value)]
    node.attributes[name] = kind(name, value)


def swap_names(graph: ir.Graph, one: int, other: int) -> None:
    first, second = graph.outputs[one], graph.outputs[other]
    names = first.name, second.name
    first.name, second.name = "neither", names[0]
    first.name = names[1]


A, B = "decoder.layers.0", "decoder.layers.1"
# By what is wrong: in which model, and the module to be named.
FAULTS: dict[str, tuple[str, Edit, str]] = {
    "attention's scale": (
        "mbart",
        lambda e: e.set_input(e.find("Mul", f"{B}.cross_attention"), 1, lambda scale: scale * 1.01),
        f"{B}.cross_attention",
    ),
    "no residual": ("mbart", lambda e: e.skip(e.find("Add", A, 1), 0), A),
    "only the residual": ("mbart", lambda e: e.skip(e.find("Add", B, 2), 1), B),
    "a token sees itself no more": (
        "mbart",
        lambda e: set_op(e.find("Greater", "decoder"), "GreaterOrEqual"),
        "decoder",
    ),
    "approximate GELU": (
        "mbart",
        lambda e: set_attribute(e.find("Gelu", f"{B}.feed_forward"), "approximate", "tanh"),
        f"{B}.feed_forward",
    ),
    "norm's epsilon": (
        "mbart",
        lambda e: set_attribute(e.find("LayerNormalization", f"{A}.self_attention_input_norm"), "epsilon", 1e-4),
        f"{A}.self_attention_input_norm",
    ),
    "transposed matrix": (
        "mbart",
        lambda e: e.set_input(e.find("MatMul", f"{B}.self_attention.query"), 1, np.transpose),
        f"{B}.self_attention.query",
    ),
    "cross keys and values swapped": (
        "mbart",
        lambda e: e.swap(
            (e.find("Transpose", f"{A}.cross_attention", 1), 0), (e.find("MatMul", f"{A}.cross_attention", 1), 1)
        ),
        f"{A}.cross_attention",
    ),
    "bias of the logits": ("mbart", lambda e: e.set_input(e.find("Add", "head"), 1, np.negative), "head"),
    "unscaled embedding": ("mbart", lambda e: e.skip(e.find("Mul", "decoder.embedding"), 0), "decoder.embedding"),
    "table of buckets": (
        "t5",
        lambda e: e.set_input(e.find("GatherND", "encoder.relative"), 0, lambda table: np.roll(table, 1)),
        "encoder.relative",
    ),
    "no bias by distance": ("t5", lambda e: e.skip(e.find("Add", "encoder"), 0), "encoder"),
    "epsilon of the last norm": (
        "t5",
        lambda e: e.set_input(e.find("Add", "encoder.norm"), 1, lambda epsilon: epsilon * 100),
        "encoder.norm",
    ),
    "gate without activation": (
        "t5",
        lambda e: e.skip(e.find("Gelu", "encoder.layers.0.feed_forward"), 0),
        "encoder.layers.0.feed_forward",
    ),
    "keys for the decoder from elsewhere": (
        "t5",
        lambda e: e.set_input(e.find("MatMul", f"{A}.cross_attention.key"), 1, np.negative),
        f"{A}.cross_attention.key",
    ),
    "values for the decoder as they are split": (
        "t5",
        lambda e: set_attribute(e.find("Transpose", "", 1), "perm", [0, 1, 2, 3]),
        ports.ENCODER_FILE,
    ),
    "present keys called values": ("llama", lambda e: swap_names(e.graph, 1, 2), ports.MODEL_FILE),
    "turns of positions": (
        "llama",
        lambda e: e.set_input(e.find("Mul", "decoder.rotary"), 1, lambda frequencies: frequencies * 1.001),
        "decoder.rotary",
    ),
    "queries turned the other way": (
        "llama",
        lambda e: e.skip(e.find("Neg", f"{A}.self_attention"), 0),
        f"{A}.self_attention",
    ),
    "keys turned the other way": ("llama", lambda e: e.skip(e.find("Neg", A), 0), A),
    "SiLU with another slope": (
        "llama",
        lambda e: set_op(e.find("Sigmoid", f"{A}.feed_forward"), "Tanh"),
        f"{A}.feed_forward",
    ),
    "keys and values swapped": (
        "llama",
        lambda e: e.swap(
            (e.find("Unsqueeze", f"{A}.self_attention", 0), 0), (e.find("Unsqueeze", f"{A}.self_attention", 1), 0)
        ),
        f"{A}.self_attention",
    ),
    "no token types": ("bert", lambda e: e.skip(e.find("Add", "encoder.embedding"), 0), "encoder.embedding"),
    "no residual before a norm": (
        "bert",
        lambda e: e.skip(e.find("Add", "encoder.layers.0", 1), 1),
        "encoder.layers.0",
    ),
    "padding is seen": (
        "bert",
        lambda e: e.set_input(e.find("Equal", "encoder"), 1, lambda nothing: nothing + 2),
        "encoder",
    ),
    "head without activation": ("bert", lambda e: e.skip(e.find("Tanh", "head"), 0), "head"),
    "the last token's class": (
        "bert",
        lambda e: e.set_input(e.find("Gather", "head"), 1, lambda place: place - 1),
        "head",
    ),
}
