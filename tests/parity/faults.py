"""The faults that exporters make, each to be planted in a real bundle.

Each says which module bisection should name: the first whose results are wrong while what it is given is right.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from families.case import Case
from families.cases import CASES
from injection import Change, Editor, Planting
from torch import Tensor

from diptych.model import decoder as decoder_module
from diptych.model.encoder import EncoderLayer
from diptych.model.masks import padding_bias
from diptych.model.rotary import Rotation
from diptych.runtime import ports
from diptych.runtime.graph import Array

Edit = Callable[[Editor], None]
E, D, M = ports.ENCODER_FILE, ports.DECODER_FILE, ports.MODEL_FILE
# As the end of a slice: all there is, from the last to the first.
TO_THE_FIRST = -(2**62)


@dataclass(frozen=True)
class Fault:
    """name: as people call it. model: of `MODELS`. module: where it is, by the names that the graphs have."""

    name: str
    model: str
    module: str
    plant: Callable[[Planting], None]


def _model(name: str, **changes: Any) -> Case:
    """One of the families' cases, in another size."""
    case = next(case for case in CASES if str(case) == name)
    return replace(case, config=case.config | changes)


MODELS: dict[str, Case] = {
    "transformer": _model("transformer, translate", num_encoder_layers=2, num_decoder_layers=2, norm_first=True),
    "bart": _model("bart, generate", encoder_layers=2, decoder_layers=2),
    "t5": _model("t5, generate, as T5 1.0", num_layers=2),
    "gpt2": _model("gpt2, generate", n_layer=2),
    "llama": _model("llama, generate"),
    "opt": _model("opt, generate, as OPT-350M", num_hidden_layers=2),
    "bert": _model("bert, classify", num_hidden_layers=2),
    "roberta": _model("roberta, fill", num_hidden_layers=2),
}


def _in(file: str, edit: Edit) -> Callable[[Planting], None]:
    return lambda planting: edit(planting.editor(file))


def _weight(name: str, change: Change) -> Callable[[Planting], None]:
    return lambda planting: planting.change_weight(name, change)


# Masks


def _no_causal_mask(planting: Planting) -> None:
    def causal_bias(mask: Tensor, length: int, dtype: torch.dtype, window: int | None = None) -> Tensor:
        return padding_bias(mask, dtype)

    with patch.object(decoder_module, "causal_bias", causal_bias):
        planting.trace(M, planting.network())


def _sees_the_next(e: Editor) -> None:
    """Queries are one place too late where something is cached."""
    compared = e.find("Greater", "decoder")
    one = e.add(compared, "Min", e.find("Slice", "decoder").inputs[1], 1)
    e.before(compared, 1, "Add", one.outputs[0])


def _sees_padding(module: str, place: int = 0) -> Edit:
    """No mask has a 2."""
    return lambda e: e.change(e.find("Equal", module, place), 1, lambda hidden: hidden + 2)


def _past_of_the_sources(e: Editor) -> None:
    """How much is cached is read from what is cached of the sources."""
    first = e.find("Slice", "decoder")
    first.replace_input_with(1, e.add(first, "Shape", e.value("past_key_values.0.encoder.key"), start=2, end=3).outputs[0])


def _weak_mask(e: Editor) -> None:
    e.change(e.find("Where", "decoder"), 1, lambda lowest: np.full_like(lowest, -10))


# Sizes that became numbers


def _fixed(module: str, shape: list[int]) -> Edit:
    """Of what attention gives back, [rows, tokens, width]."""
    return lambda e: e.find("Reshape", module, -1).replace_input_with(1, e.constant(shape))


# Positions, token types and their tables


def _late_positions(e: Editor) -> None:
    """One too few where something is cached, which counting from the mask's length gets wrong."""
    offset = e.find("Add", "decoder.embedding.positions")
    one = e.add(offset, "Min", e.find("Slice", "decoder").inputs[1], 1)
    e.before(offset, 0, "Sub", one.outputs[0])


def _clipped_positions(e: Editor) -> None:
    """As many as the exporter's example had."""
    e.before(e.find("Gather", "decoder.embedding.positions"), 1, "Clip", 0, 15)


def _placed_padding(e: Editor) -> None:
    """No id is that of padding."""
    e.change(e.find("Equal", "encoder"), 1, lambda pad: pad * 0 - 1)


def _no_types(e: Editor) -> None:
    e.before(e.find("Gather", "encoder.embedding.types"), 1, "Mul", 0)


def _halves(table: Array) -> Array:
    """Sines first, then cosines, where they take turns."""
    return np.concatenate([table[:, 0::2], table[:, 1::2]], axis=1)


def _turned_by_neighbours(e: Editor) -> None:
    """A channel's partner is the one beside it, not the one in the other half."""
    for layer in ("decoder.layers.0", "decoder.layers.1"):
        for owner in (layer, f"{layer}.self_attention"):
            heads = e.find("Split", owner).inputs[0]
            (partners,) = e.find("Neg", owner).outputs[0].consumers()
            even, odd = (e.add(partners, "Slice", heads, [start], [99], [3], [2]).outputs[0] for start in (0, 1))
            negative = e.add(partners, "Neg", odd).outputs[0]
            pairs = [e.add(partners, "Unsqueeze", value, [-1]).outputs[0] for value in (negative, even)]
            shape = e.add(partners, "Shape", heads).outputs[0]
            joined = e.add(partners, "Reshape", e.add(partners, "Concat", *pairs, axis=-1).outputs[0], shape)
            partners.outputs[0].replace_all_uses_with(joined.outputs[0])


# Attention


def _turned_sources(e: Editor) -> None:
    """The last source's keys and values go to the rows of the first one, and so on."""
    module = "decoder.layers.1.cross_attention"
    for node, place in ((e.find("Transpose", module, 1), 0), (e.find("MatMul", module, 1), 1)):
        e.before(node, place, "Slice", [-1], [TO_THE_FIRST], [0], [-1])


def _sources_of_another_layer(e: Editor) -> None:
    module = "decoder.layers.1.cross_attention"
    e.find("Transpose", module, 1).replace_input_with(0, e.value("past_key_values.0.encoder.key"))
    e.find("MatMul", module, 1).replace_input_with(1, e.value("past_key_values.0.encoder.value"))


def _turned_cache(e: Editor) -> None:
    e.before(e.find("Concat", "decoder.layers.1"), 0, "Slice", [-1], [TO_THE_FIRST], [0], [-1])


def _other_groups(e: Editor) -> None:
    """Queries 0, 1, 2, 3, … use the key heads 0, 1, 2, 0, … where they should use 0, 0, 1, 1, …"""
    scores, context = e.all("MatMul", "decoder.layers.1.self_attention")
    split = scores.inputs[0].producer()
    rows, heads, group, *others = split.inputs[1].producer().inputs
    split.replace_input_with(1, e.add(split, "Concat", rows, group, heads, *others, axis=0).outputs[0])
    (merge,) = context.outputs[0].consumers()
    for node in (scores, merge):
        e.before(node, 0, "Transpose", perm=[0, 2, 1, 3, 4])


def _other_split(e: Editor) -> None:
    """Channels of a key are [head width, heads], as they may be in a checkpoint that has all three projections in one."""
    split = e.find("Reshape", "decoder.layers.1")
    rows, length, heads, width = split.inputs[1].producer().inputs
    split.replace_input_with(1, e.add(split, "Concat", rows, length, width, heads, axis=0).outputs[0])
    (transposed,) = split.outputs[0].consumers()
    e.set(transposed, "perm", [0, 3, 1, 2])


# Layers


def _norm_before_sum(planting: Planting) -> None:
    def forward(layer: Any, hidden: Tensor, bias: Tensor, rotation: Rotation | None) -> Tensor:
        attended = layer.self_attention(hidden, *layer.self_attention.project(hidden, rotation), bias, rotation)
        hidden = hidden + layer.self_attention_output_norm(attended)
        return layer.feed_forward_output_norm(hidden + layer.feed_forward(hidden))

    with patch.object(EncoderLayer, "forward", forward):
        planting.trace(E, planting.network())


def _no_residual(e: Editor) -> None:
    e.skip(e.find("Add", "encoder.layers.1", 1), 1)


def _other_gelu(e: Editor) -> None:
    for layer in (0, 1):
        e.set(e.find("Gelu", f"encoder.layers.{layer}.feed_forward"), "approximate", "tanh")


def _other_epsilon(e: Editor) -> None:
    for node in e.nodes:
        if node.op_type == "LayerNormalization":
            e.set(node, "epsilon", 1e-5)


def _other_root(e: Editor) -> None:
    for module in e.scopes.modules:
        if module.endswith("norm"):
            e.change(e.find("Add", module), 1, lambda epsilon: epsilon * 10)


def _dropout(e: Editor) -> None:
    e.before(e.find("MatMul", "encoder.layers.0.self_attention", 1), 0, "Dropout", 0.1, True)


# Heads


def _earlier_head(e: Editor) -> None:
    """As training left it that did not know the two were one."""
    e.change(e.find("Transpose", "head"), 0, lambda weight: weight * 0.99)


FAULTS = [
    Fault("no causal mask", "gpt2", "decoder", _no_causal_mask),
    Fault("causal mask off by one with a past", "gpt2", "decoder", _in(M, _sees_the_next)),
    Fault("padding leaks through self-attention", "gpt2", "decoder", _in(M, _sees_padding("decoder"))),
    Fault("padding leaks through cross-attention", "bart", "decoder", _in(D, _sees_padding("decoder", 1))),
    Fault("encoder's mask ignored", "t5", "encoder", _in(E, _sees_padding("encoder"))),
    Fault("mask of -10", "llama", "decoder", _in(M, _weak_mask)),
    Fault("past's length read from the sources", "bart", "decoder", _in(D, _past_of_the_sources)),
    Fault(
        "one new token baked in",
        "transformer",
        "decoder.layers.0.self_attention",
        _in(D, _fixed("decoder.layers.0.self_attention", [-1, 1, 24])),
    ),
    Fault(
        "batch size baked in",
        "bert",
        "encoder.layers.1.self_attention",
        _in(M, _fixed("encoder.layers.1.self_attention", [2, -1, 24])),
    ),
    Fault("positions off by one after the first step", "opt", "decoder.embedding.positions", _in(M, _late_positions)),
    Fault("positions cut at 16", "gpt2", "decoder.embedding.positions", _in(M, _clipped_positions)),
    Fault(
        "positions without their offset",
        "bart",
        "decoder.embedding.positions",
        _in(D, lambda e: e.skip(e.find("Add", "decoder.embedding.positions"))),
    ),
    Fault("positions count padding", "roberta", "encoder.embedding.positions", _in(M, _placed_padding)),
    Fault(
        "sines and cosines in other channels",
        "transformer",
        "encoder.embedding.positions",
        _weight("encoder.embedding.positions.table", _halves),
    ),
    Fault("rotary halves interleaved", "llama", "decoder.layers.0", _in(M, _turned_by_neighbours)),
    Fault(
        "relative buckets off by one",
        "t5",
        "decoder.relative",
        _in(D, lambda e: e.change(e.find("GatherND", "decoder.relative"), 0, lambda table: np.roll(table, 1))),
    ),
    Fault("token types ignored", "bert", "encoder.embedding.types", _in(M, _no_types)),
    Fault(
        "embedding not scaled",
        "transformer",
        "encoder.embedding",
        _in(E, lambda e: e.skip(e.find("Mul", "encoder.embedding"))),
    ),
    Fault("sources swapped in cross-attention", "transformer", "decoder.layers.1.cross_attention", _in(D, _turned_sources)),
    Fault(
        "another layer's cross keys and values",
        "transformer",
        "decoder.layers.1.cross_attention",
        _in(D, _sources_of_another_layer),
    ),
    Fault(
        "cross keys and values swapped",
        "bart",
        E,
        _in(E, lambda e: e.swap_names("present.1.encoder.key", "present.1.encoder.value")),
    ),
    Fault("cached rows reordered", "gpt2", "decoder.layers.1", _in(M, _turned_cache)),
    Fault("channels split into heads in the other order", "gpt2", "decoder.layers.1", _in(M, _other_split)),
    Fault("groups of queries at other keys", "llama", "decoder.layers.1.self_attention", _in(M, _other_groups)),
    Fault(
        "attention not scaled",
        "bart",
        "encoder.layers.0.self_attention",
        _in(E, lambda e: e.skip(e.find("Mul", "encoder.layers.0.self_attention"))),
    ),
    Fault(
        "softmax over queries",
        "bart",
        "decoder.layers.0.cross_attention",
        _in(D, lambda e: e.set(e.find("Softmax", "decoder.layers.0.cross_attention"), "axis", -2)),
    ),
    Fault("norm before the sum", "bart", "encoder.layers.0", _norm_before_sum),
    Fault("residual dropped", "transformer", "encoder.layers.1", _in(E, _no_residual)),
    Fault("GELU by tanh", "bert", "encoder.layers.0.feed_forward", _in(M, _other_gelu)),
    Fault("LayerNorm's epsilon 1e-5, not 1e-12", "bert", "encoder.embedding.norm", _in(M, _other_epsilon)),
    Fault("RMSNorm's epsilon 1e-5, not 1e-6", "llama", "decoder.layers.0.self_attention_input_norm", _in(M, _other_root)),
    Fault("dropout left on", "roberta", "encoder.layers.0.self_attention", _in(M, _dropout)),
    Fault("last norm missing", "gpt2", "decoder", _in(M, lambda e: e.skip(e.find("LayerNormalization", "decoder.norm")))),
    Fault(
        "square matrix transposed",
        "transformer",
        "decoder.layers.1.self_attention.query",
        _weight("decoder.layers.1.self_attention.query.weight", np.transpose),
    ),
    Fault(
        "one weight changed",
        "opt",
        "decoder.layers.1.feed_forward.up",
        _weight("decoder.layers.1.feed_forward.up.weight", lambda w: np.where(np.arange(w.size).reshape(w.shape) == 99, w * 2, w)),
    ),
    Fault(
        "weights in half precision",
        "bart",
        "decoder.layers.1.feed_forward.down",
        _weight("decoder.layers.1.feed_forward.down.weight", lambda w: w.astype(np.float16).astype(np.float32)),
    ),
    Fault("head no longer tied", "gpt2", "head", _in(M, _earlier_head)),
    Fault("head not scaled", "t5", "head", _in(D, lambda e: e.skip(e.find("Mul", "head")))),
    Fault("bias of the logits forgotten", "bart", "head", _weight("head.bias", np.zeros_like)),
    Fault(
        "logits already log-softmaxed", "opt", "head", _in(M, lambda e: e.after(e.value(ports.LOGITS), "LogSoftmax"))
    ),
    Fault("logits of all tokens", "opt", M, _in(M, lambda e: e.skip(e.find("Slice", "")))),
    Fault(
        "class read from the last slot",
        "bert",
        "head",
        _in(M, lambda e: e.change(e.find("Gather", "head"), 1, lambda place: place - 1)),
    ),
]
