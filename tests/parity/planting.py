"""Mistakes planted in the nodes of exported graphs, for bisection to find."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from parity.injection import Editor

from diptych.runtime import ports

Edit = Callable[[Editor], None]


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
        lambda e: e.set_attribute(e.find("Gelu", f"{B}.feed_forward"), "approximate", "tanh"),
        f"{B}.feed_forward",
    ),
    "norm's epsilon": (
        "mbart",
        lambda e: e.set_attribute(e.find("LayerNormalization", f"{A}.self_attention_input_norm"), "epsilon", 1e-4),
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
        lambda e: e.set_attribute(e.find("Transpose", "", 1), "perm", [0, 1, 2, 3]),
        ports.ENCODER_FILE,
    ),
    "present keys called values": (
        "llama",
        lambda e: e.swap_names("present.0.key", "present.0.value"),
        ports.MODEL_FILE,
    ),
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
