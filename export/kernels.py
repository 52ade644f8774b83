"""Attention of ONNX Runtime's CPU: what layers look with in graphs that are made for it.

Its operators compute nothing in PyTorch: shapes and names are told, they run where the graph runs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from diptych.model.attention import Attention, KeyValue
from diptych.model.decoder import Decoder
from diptych.model.kernels import Back, Kernel
from diptych.model.masks import padding_bias
from diptych.model.rotary import Rotation, rotate

# The first with `TensorScatter`.
OPSET = 24
_LEAST = torch.finfo(torch.float32).min


class InPlace:
    """New tokens of a source, of all its rows side by side, are written to slots of its buffer; a bias says what each
    sees, so that rows share what they have in common and are reordered without moving it.

    past [B, H, M, D], M slots; slots [B], int64: where the N new ones begin; bias [B, 1 or H, N, M]. present: past,
    written.
    """

    present: KeyValue

    def __init__(self, past: KeyValue, slots: Tensor, bias: Tensor) -> None:
        self.past = past
        self.slots = slots
        self.bias = bias

    def __call__(self, attention: Attention, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        """hidden [B, N, width]"""
        query = attention.query(hidden)
        if rotation is not None:
            query = rotate(query.view(*query.shape[:2], -1, attention.head_dim), rotation).view(query.shape)
        key, value = (_repeated(each, attention) for each in attention.project(hidden, rotation))
        self.present = self._written(self.past[0], key), self._written(self.past[1], value)
        output: Tensor = attention.output(_attend(attention, query, self.present, bias=self.bias))
        return output

    def _written(self, past: Tensor, new: Tensor) -> Tensor:
        return torch.onnx.ops.symbolic(
            "TensorScatter",
            (past, new, self.slots),
            attrs={"axis": 2},
            dtype=past.dtype,
            shape=past.shape,
            version=OPSET,
        )


class LookBack:
    """What `Back` does, of heads that are no groups. mask [B, S], int32, 1 = token."""

    def __init__(self, entry: KeyValue, mask: Tensor) -> None:
        self.entry = entry
        self.mask = mask

    def __call__(self, attention: Attention, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        """hidden [B, N, width]"""
        output: Tensor = attention.output(_attend(attention, attention.query(hidden), self.entry, mask=self.mask))
        return output


def _attend(
    attention: Attention, query: Tensor, entry: KeyValue, *, mask: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """query [B, N, H·D], entry [B, H, S, D] -> [B, N, H·D]"""
    return torch.onnx.ops.symbolic(
        "com.microsoft::MultiHeadAttention",
        (query, *entry, None, mask, bias),
        attrs={"num_heads": attention.heads, "scale": attention.scale, "mask_filter_value": _LEAST},
        dtype=query.dtype,
        shape=query.shape,
        version=1,
    )


def _repeated(heads: Tensor, attention: Attention) -> Tensor:
    """[B, G, N, D] -> [B, H, N, D]: the operator knows no groups."""
    groups = attention.heads // attention.cached_heads
    if groups == 1:
        return heads
    sources, cached, length, width = heads.shape
    return heads[:, :, None].expand(sources, cached, groups, length, width).flatten(1, 2)


def in_place(
    decoder: Decoder,
    position_ids: Tensor,
    mask: Tensor,
    past: Sequence[KeyValue],
    slots: Tensor,
    slot_positions: Tensor,
) -> list[InPlace]:
    """A kernel for each layer, of what the graph is fed: as above, mask [B, N, M], bool. slot_positions [B, M]."""
    distances = slot_positions[:, None] - position_ids[:, :, None]  # [B, N, M]
    biases = {}
    for window in decoder.windows:
        seen = (mask if window is None else mask & (distances > -window))[:, None]
        added = torch.zeros(()) if decoder.relative is None else decoder.relative.of(distances)
        biases[window] = torch.where(seen, added, _LEAST)
    return [InPlace(entry, slots, biases[window]) for entry, window in zip(past, decoder.layer_windows, strict=True)]


def look_back(
    decoder: Decoder, entries: Sequence[KeyValue], mask: Tensor, weights: list[Tensor] | None
) -> list[Kernel]:
    """A kernel for each layer. entries [B, G, S, D]; mask [B, S], int64; weights: added to, where they are wanted."""
    bias, narrow = padding_bias(mask, torch.float32), mask.to(torch.int32)
    collect = None if weights is None else weights.append
    found: list[Kernel] = []
    for layer, entry in zip(decoder.layers, entries, strict=True):
        attention = layer.cross_attention
        assert isinstance(attention, Attention)
        grouped = attention.heads != attention.cached_heads
        found.append(Back(entry, bias, collect) if grouped or collect is not None else LookBack(entry, narrow))
    return found
