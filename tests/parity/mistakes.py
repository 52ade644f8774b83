"""Mistakes that exporters make, as edits of a graph or as networks to be traced again."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from parity.injection import Change, Editor, Planting
from torch import Tensor

from diptych.model import decoder as decoder_module
from diptych.model.encoder import EncoderLayer
from diptych.model.kernels import Kernel
from diptych.model.masks import padding_bias
from diptych.model.rotary import Rotation
from diptych.runtime import ports
from diptych.runtime.graph import Array

Edit = Callable[[Editor], None]
Plant = Callable[[Planting], None]
# As the end of a slice: all there is, from the last to the first.
TO_THE_FIRST = -(2**62)


def in_graph(file: str, edit: Edit) -> Plant:
    return lambda planting: edit(planting.editor(file))


def in_weight(name: str, change: Change) -> Plant:
    return lambda planting: planting.change_weight(name, change)


def skipped(kind: str, module: str) -> Edit:
    """What comes out of an operator is what goes in."""
    return lambda e: e.skip(e.find(kind, module))


# Masks


def no_causal_mask(planting: Planting) -> None:
    def causal_bias(mask: Tensor, length: int, dtype: torch.dtype, window: int | None = None) -> Tensor:
        return padding_bias(mask, dtype)

    with patch.object(decoder_module, "causal_bias", causal_bias):
        planting.trace(ports.MODEL_FILE, planting.network())


def sees_the_next(e: Editor) -> None:
    """Queries are one place too late where something is cached."""
    compared = e.find("Greater", "decoder")
    one = e.add(compared, "Min", e.find("Slice", "decoder").inputs[1], 1)
    e.before(compared, 1, "Add", one.outputs[0])


def sees_padding(module: str, place: int = 0) -> Edit:
    """No mask has a 2."""
    return lambda e: e.set_input(e.find("Equal", module, place), 1, lambda hidden: hidden + 2)


def past_of_the_sources(e: Editor) -> None:
    """How much is cached is read from what is cached of the sources."""
    first = e.find("Slice", "decoder")
    first.replace_input_with(
        1, e.add(first, "Shape", e.value("past_key_values.0.encoder.key"), start=2, end=3).outputs[0]
    )


def weak_mask(e: Editor) -> None:
    e.set_input(e.find("Where", "decoder"), 1, lambda lowest: np.full_like(lowest, -10))


# Sizes that became numbers


def fixed(layer: str, shape: list[int]) -> Edit:
    """Of what attention gives back, [rows, tokens, width]."""
    return lambda e: e.set_shape(e.find("Reshape", f"{layer}.self_attention", -1), shape)


# Positions, token types and their tables


def late_positions(e: Editor) -> None:
    """One too few where something is cached, which counting from the mask's length gets wrong."""
    offset = e.find("Add", "decoder.embedding.positions")
    one = e.add(offset, "Min", e.find("Slice", "decoder").inputs[1], 1)
    e.before(offset, 0, "Sub", one.outputs[0])


def clipped_positions(e: Editor) -> None:
    """As many as the exporter's example had."""
    e.before(e.find("Gather", "decoder.embedding.positions"), 1, "Clip", 0, 15)


def placed_padding(e: Editor) -> None:
    """No id is that of padding."""
    e.set_input(e.find("Equal", "encoder"), 1, lambda pad: pad * 0 - 1)


def no_types(e: Editor) -> None:
    e.before(e.find("Gather", "encoder.embedding.types"), 1, "Mul", 0)


def next_buckets(e: Editor) -> None:
    e.set_input(e.find("GatherND", "decoder.relative"), 0, lambda table: np.roll(table, 1))


def halves(table: Array) -> Array:
    """Sines first, then cosines, where they take turns."""
    return np.concatenate([table[:, 0::2], table[:, 1::2]], axis=1)


def turned_by_neighbours(e: Editor) -> None:
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


def turned_sources(e: Editor) -> None:
    """The last source's keys and values go to the rows of the first one, and so on."""
    module = "decoder.layers.1.cross_attention"
    for node, place in ((e.find("Transpose", module, 1), 0), (e.find("MatMul", module, 1), 1)):
        e.before(node, place, "Slice", [-1], [TO_THE_FIRST], [0], [-1])


def sources_of_another_layer(e: Editor) -> None:
    module = "decoder.layers.1.cross_attention"
    e.find("Transpose", module, 1).replace_input_with(0, e.value("past_key_values.0.encoder.key"))
    e.find("MatMul", module, 1).replace_input_with(1, e.value("past_key_values.0.encoder.value"))


def swapped_entries(e: Editor) -> None:
    e.swap_names("present.1.encoder.key", "present.1.encoder.value")


def over_queries(e: Editor) -> None:
    e.set_attribute(e.find("Softmax", "decoder.layers.0.cross_attention"), "axis", -2)


def turned_layers(e: Editor) -> None:
    """What layers look at, the last one's first."""
    stacked = e.value(ports.CROSS_ATTENTIONS).producer()
    e.swap((stacked, 0), (stacked, 1))


def turned_heads(e: Editor) -> None:
    """What the heads of the second layer look at, the last one's first."""
    e.before(e.value(ports.CROSS_ATTENTIONS).producer(), 1, "Slice", [-1], [TO_THE_FIRST], [2], [-1])


def turned_cache(e: Editor) -> None:
    e.before(e.find("Concat", "decoder.layers.1"), 0, "Slice", [-1], [TO_THE_FIRST], [0], [-1])


def other_groups(e: Editor) -> None:
    """Queries 0, 1, 2, 3, … use the key heads 0, 1, 2, 0, … where they should use 0, 0, 1, 1, …"""
    scores, context = e.all("MatMul", "decoder.layers.1.self_attention")
    split = scores.inputs[0].producer()
    rows, heads, group, *others = split.inputs[1].producer().inputs
    split.replace_input_with(1, e.add(split, "Concat", rows, group, heads, *others, axis=0).outputs[0])
    (merge,) = context.outputs[0].consumers()
    for node in (scores, merge):
        e.before(node, 0, "Transpose", perm=[0, 2, 1, 3, 4])


def other_split(e: Editor) -> None:
    """Channels of a key are [head width, heads], as where a checkpoint keeps all three projections in one."""
    split = e.find("Reshape", "decoder.layers.1")
    rows, length, heads, width = split.inputs[1].producer().inputs
    split.replace_input_with(1, e.add(split, "Concat", rows, length, width, heads, axis=0).outputs[0])
    (transposed,) = split.outputs[0].consumers()
    e.set_attribute(transposed, "perm", [0, 3, 1, 2])


# Layers


def norm_before_sum(planting: Planting) -> None:
    def forward(layer: Any, hidden: Tensor, rotation: Rotation | None, attend: Kernel) -> Tensor:
        hidden = hidden + layer.self_attention_output_norm(attend(layer.self_attention, hidden, rotation))
        return layer.feed_forward_output_norm(hidden + layer.feed_forward(hidden))

    with patch.object(EncoderLayer, "forward", forward):
        planting.trace(ports.ENCODER_FILE, planting.network())


def no_residual(e: Editor) -> None:
    """Round the feed-forward network."""
    e.skip(e.find("Add", "encoder.layers.1", 1), 1)


def other_gelu(e: Editor) -> None:
    for layer in (0, 1):
        e.set_attribute(e.find("Gelu", f"encoder.layers.{layer}.feed_forward"), "approximate", "tanh")


def other_epsilon(e: Editor) -> None:
    for node in e.nodes:
        if node.op_type == "LayerNormalization":
            e.set_attribute(node, "epsilon", 1e-5)


def other_root(e: Editor) -> None:
    for module in e.scopes.modules:
        if module.endswith("norm"):
            e.set_input(e.find("Add", module), 1, lambda epsilon: epsilon * 10)


def left_on(e: Editor) -> None:
    """In operators that ONNX Runtime keeps, unlike a Dropout; by this seed the first weight of a session is dropped."""
    context = e.find("MatMul", "encoder.layers.0.self_attention", 1)
    weights = context.inputs[0]
    drawn = e.add(context, "RandomUniformLike", weights, seed=1.0)
    kept = e.add(context, "Greater", drawn.outputs[0], 0.1)
    context.replace_input_with(0, e.add(context, "Where", kept.outputs[0], weights, 0.0).outputs[0])


def in_half(weight: Array) -> Array:
    return weight.astype(np.float16).astype(np.float32)


def one_more(weight: Array) -> Array:
    """One number is a little too large."""
    changed = weight.copy()
    changed[3, 5] += 0.01
    return changed


# Heads


def earlier_head(e: Editor) -> None:
    """As training left it that did not know the two were one."""
    e.set_input(e.find("Transpose", "head"), 0, lambda weight: weight * 0.99)


def softmaxed(e: Editor) -> None:
    e.after(e.value(ports.LOGITS), "LogSoftmax")


def swapped_ends(e: Editor) -> None:
    e.swap_names("start_logits", "end_logits")


def last_slot(e: Editor) -> None:
    e.set_input(e.find("Gather", "head"), 1, lambda place: place - 1)


# Texts and what the manifest says of them


def no_end(planting: Planting) -> None:
    def without(tokenizer: str) -> str:
        return json.dumps(json.loads(tokenizer) | {"post_processor": None})

    planting.change_file(ports.TOKENIZER_FILE, without)


def other_labels(planting: Planting) -> None:
    labels = planting.manifest.labels
    assert labels is not None
    planting.manifest = replace(planting.manifest, labels=replace(labels, names=labels.names[::-1]))


def other_end(planting: Planting) -> None:
    tokens = planting.manifest.tokens
    planting.manifest = replace(planting.manifest, tokens=replace(tokens, eos=(tokens.eos[0] + 1,)))
