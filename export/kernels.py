"""Attention whose cache is a buffer that is written in place: what layers look with in graphs for a CPU.

Nothing here computes in PyTorch: shapes and names are told, the operators run where the graph runs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from diptych.model.attention import Attention, KeyValue
from diptych.model.decoder import Decoder
from diptych.model.rotary import Rotation

# The first with `TensorScatter`.
OPSET = 24


class InPlace:
    """New tokens of a source, of all its rows side by side, are written to slots of its buffer; a mask says what each
    sees, so that rows share what they have in common and are reordered without moving it.

    past [B, G, M, D], M slots; slots [B], int64: where the N new ones begin; mask [B, 1 or H, N, M]: bool, or added to
    the scores. present: past, written. The operators are those of ONNX 24, `TensorScatter` and `Attention`.
    """

    present: KeyValue

    def __init__(self, past: KeyValue, slots: Tensor, mask: Tensor) -> None:
        self.past = past
        self.slots = slots
        self.mask = mask

    def __call__(self, attention: Attention, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        """hidden [B, N, width]"""
        query = attention.ask(hidden, hidden.shape[0], rotation)
        key, value = attention.project(hidden, rotation)
        self.present = self._written(self.past[0], key), self._written(self.past[1], value)
        looked = torch.onnx.ops.symbolic(
            "Attention",
            (query, *self.present, self.mask),
            attrs={"scale": attention.scale},
            dtype=query.dtype,
            shape=query.shape,
            version=OPSET,
        )
        return attention.answer(looked, hidden.shape[0])

    def _written(self, past: Tensor, new: Tensor) -> Tensor:
        return torch.onnx.ops.symbolic(
            "TensorScatter",
            (past, new, self.slots),
            attrs={"axis": 2},
            dtype=past.dtype,
            shape=past.shape,
            version=OPSET,
        )


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
    by_window = {
        window: (mask if window is None else mask & (distances > -window))[:, None] for window in decoder.windows
    }
    if decoder.relative is not None:
        bias = decoder.relative.of(distances)
        least = torch.finfo(bias.dtype).min
        by_window = {window: bias.masked_fill(~seen, least) for window, seen in by_window.items()}
    return [InPlace(entry, slots, by_window[window]) for entry, window in zip(past, decoder.layer_windows, strict=True)]
