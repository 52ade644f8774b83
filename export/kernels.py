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

    `com.microsoft.DecoderMaskedMultiHeadAttention`: past [R, H, M, D], M places of which P are taken. In int32: mask
    [R, P + 1]; length [1], P; beams [1], K; indirection [B, K, M], which of a source's K rows wrote each place of a
    row's past, so that rows are reordered without a copy. bias [1, H, 1, P + 1], if scores have one. present: past,
    written.
    """

    present: KeyValue

    def __init__(
        self,
        past: KeyValue,
        mask: Tensor,
        length: Tensor,
        beams: Tensor,
        indirection: Tensor,
        bias: Tensor | None = None,
    ) -> None:
        self.past = past
        self.inputs = mask, bias, *past, length, beams, indirection

    def __call__(self, attention: Attention, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        projections = attention.query, attention.key, attention.value
        groups = attention.heads // attention.cached_heads
        biases: list[Tensor] = [each.bias for each in projections if each.bias is not None]
        inputs: tuple[Tensor | None, ...]
        if rotation is None and groups == 1 and len(biases) == len(projections):
            # The operator adds them.
            inputs = *(hidden @ each.weight for each in projections), *self.inputs, torch.cat(biases)
        else:
            query, key, value = (project(hidden) for project in projections)
            if rotation is not None:
                query, key = (self._rotated(attention, each, rotation) for each in (query, key))
            if groups > 1:
                key, value = (self._repeated(attention, each, groups) for each in (key, value))
            inputs = query, key, value, *self.inputs
        looked, *present = torch.onnx.ops.symbolic_multi_out(
            "com.microsoft::DecoderMaskedMultiHeadAttention",
            inputs,
            {
                "num_heads": attention.heads,
                "scale": attention.scale,
                "past_present_share_buffer": 1,
                "mask_filter_value": torch.finfo(torch.float32).min,
            },
            dtypes=[hidden.dtype] * 3,
            shapes=[[*hidden.shape[:2], attention.heads * attention.head_dim], *(each.shape for each in self.past)],
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
    decoder: Decoder,
    past: Sequence[KeyValue],
    mask: Tensor,
    length: Tensor,
    beams: Tensor,
    indirection: Tensor,
) -> list[InPlace]:
    """A kernel for each layer, of what the graph is fed: all as above."""
    total = mask.shape[1]
    bias = None if decoder.relative is None else decoder.relative(1, total)
    slots = torch.arange(total)
    seen = {
        window: mask if window is None else mask * (slots >= total - window).to(mask.dtype)
        for window in decoder.windows
    }
    return [
        InPlace(entry, seen[window], length, beams, indirection, bias)
        for entry, window in zip(past, decoder.layer_windows, strict=True)
    ]
