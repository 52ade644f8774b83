"""Token embedding with positions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.model import architecture as arch
from diptych.model.norms import make_norm


class Embedding(nn.Module):
    """Token vectors, scaled, plus position vectors, normalised where the architecture says so."""

    def __init__(self, width: int, spec: arch.Embedding) -> None:
        super().__init__()
        self.scale = spec.scale
        self.tokens = nn.Embedding(spec.vocab_size, width)
        self.positions = _make_positions(width, spec.positions) if spec.positions else None
        self.norm = make_norm(width, spec.norm)

    def forward(self, input_ids: Tensor, position_ids: Tensor) -> Tensor:
        """ids [R, T] and positions [R, T] or [T], counted from 0 -> [R, T, width]."""
        tokens = self.tokens(input_ids)
        if self.scale != 1.0:
            tokens = tokens * self.scale
        if self.positions is not None:
            tokens = tokens + self.positions(position_ids)
        return self.norm(tokens)


class SinusoidalPositions(nn.Module):
    """A computed table: part of the graph, not of the checkpoint."""

    table: Tensor

    def __init__(self, width: int, spec: arch.Sinusoidal) -> None:
        super().__init__()
        channel = torch.arange(0, width, 2, dtype=torch.float64)
        angle = torch.arange(spec.count, dtype=torch.float64)[:, None] / 10000.0 ** (channel / width)
        sine, cosine = angle.sin(), angle.cos()[:, : width // 2]
        table = torch.empty(spec.count, width, dtype=torch.float64)
        if spec.interleaved:
            table[:, 0::2], table[:, 1::2] = sine, cosine
        else:
            table[:, : sine.shape[1]], table[:, sine.shape[1] :] = sine, cosine
        self.register_buffer("table", table.to(torch.float32), persistent=False)

    def forward(self, position_ids: Tensor) -> Tensor:
        return F.embedding(position_ids, self.table)


class LearnedPositions(nn.Module):
    """A trained table whose first `offset` rows are never positions (BART keeps two for its padding)."""

    def __init__(self, width: int, spec: arch.Learned) -> None:
        super().__init__()
        self.offset = spec.offset
        self.weight = nn.Parameter(torch.empty(spec.count + spec.offset, width))

    def forward(self, position_ids: Tensor) -> Tensor:
        return F.embedding(position_ids + self.offset, self.weight)


def _make_positions(width: int, spec: arch.Positions) -> nn.Module:
    match spec:
        case arch.Sinusoidal():
            return SinusoidalPositions(width, spec)
        case arch.Learned():
            return LearnedPositions(width, spec)
