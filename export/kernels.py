"""Kernels of ONNX Runtime for its CPU: what the layers look with in graphs that are made for it.

Nothing here computes in PyTorch: shapes and names are told, the operators run where the graph runs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from diptych.model.attention import Attention, KeyValue
from diptych.model.decoder import Decoder
from diptych.model.rotary import Rotation, rotate


class InPlace:
    """One new token of each row looks at itself and at what is cached; the cache is a buffer that is written in place.

    `com.microsoft.DecoderMaskedMultiHeadAttention`: past [R, H, M, D], M places of which P are taken; mask [R, P + 1];
    indirection [B, K, M], which of a source's K rows wrote each place of a row's past, so that rows are reordered
    without a copy of their past; bias [1, H, 1, P + 1], if scores have one. present: past, written.
    """

    present: KeyValue

    def __init__(
        self,
        past: KeyValue,
        mask: Tensor,
        past_length: Tensor,
        beams: Tensor,
        indirection: Tensor,
        bias: Tensor | None = None,
    ) -> None:
        self.past = past
        self.inputs = mask, bias, *past, past_length, beams, indirection

    def __call__(self, attention: Attention, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        query, key, value = (projected(hidden) for projected in (attention.query, attention.key, attention.value))
        if rotation is not None:
            query, key = (self._rotated(attention, each, rotation) for each in (query, key))
        groups = attention.heads // attention.cached_heads
        if groups > 1:
            key, value = (self._repeated(attention, each, groups) for each in (key, value))
        looked, *present = torch.onnx.ops.symbolic_multi_out(
            "com.microsoft::DecoderMaskedMultiHeadAttention",
            (query, key, value, *self.inputs),
            {
                "num_heads": attention.heads,
                "scale": attention.scale,
                "past_present_share_buffer": 1,
                "mask_filter_value": torch.finfo(torch.float32).min,
            },
            dtypes=[query.dtype] * 3,
            shapes=[query.shape, self.past[0].shape, self.past[1].shape],
            version=1,
        )
        self.present = present[0], present[1]
        output: Tensor = attention.output(looked)
        return output

    @staticmethod
    def _rotated(attention: Attention, projected: Tensor, rotation: Rotation) -> Tensor:
        """[R, 1, H·D]"""
        rows, length, width = projected.shape
        return rotate(projected.view(rows, length, -1, attention.head_dim), rotation).reshape(rows, length, width)

    @staticmethod
    def _repeated(attention: Attention, projected: Tensor, groups: int) -> Tensor:
        """[R, 1, G·D] -> [R, 1, H·D]: the operator knows no groups."""
        rows, length, _ = projected.shape
        heads = projected.view(rows, length, attention.cached_heads, 1, attention.head_dim)
        return heads.expand(-1, -1, -1, groups, -1).reshape(rows, length, attention.heads * attention.head_dim)


def in_place(
    decoder: Decoder, length: int, past: Sequence[KeyValue], mask: Tensor, indirection: Tensor
) -> list[InPlace]:
    """For each layer, of what the graph is fed: length T of new tokens, which must be 1, and the rest as above."""
    total = mask.shape[1]
    past_length = torch.full((1,), total - length, dtype=torch.int32)
    beams = torch.full((1,), indirection.shape[1], dtype=torch.int32)
    bias = None if decoder.relative is None else decoder.relative(length, total)
    slots = torch.arange(total)
    seen = {
        window: (mask if window is None else mask * (slots >= total - window)).to(torch.int32)
        for window in decoder.windows
    }
    return [
        InPlace(entry, seen[window], past_length, beams, indirection, bias)
        for entry, window in zip(past, decoder.layer_windows, strict=True)
    ]
