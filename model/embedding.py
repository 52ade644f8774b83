"""Token embedding with positions and token types."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.model import architecture as arch
from diptych.model.linear import Linear
from diptych.model.norms import make_norm


class Embedding(nn.Module):
    """Token vectors, scaled, plus type and position vectors, normalised where the architecture says so."""

    def __init__(self, width: int, spec: arch.Embedding) -> None:
        super().__init__()
        self.scale = spec.scale
        self.unplaced = spec.unplaced
        self.tokens = nn.Embedding(spec.vocab_size, spec.width or width)
        self.projection = Linear(spec.width, width, bias=False) if spec.width else None
        self.types = nn.Embedding(spec.token_types, width) if spec.token_types else None
        self.positions = _make_positions(width, spec.positions) if spec.positions else None
        self.norm = make_norm(width, spec.norm)

    def forward(self, input_ids: Tensor, position_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """ids and types [R, T], positions [R, T] or [T], counted from 0 -> [R, T, width]; no types are all 0."""
        hidden = self.tokens(input_ids)
        if self.scale != 1.0:
            hidden = hidden * self.scale
        if self.projection is not None:
            hidden = self.projection(hidden)
        if self.types is not None:
            hidden = hidden + (self.types.weight[0] if token_type_ids is None else self.types(token_type_ids))
        if self.positions is not None:
            hidden = hidden + self.positions(position_ids)
        return self.norm(hidden)

    def place(self, input_ids: Tensor) -> Tensor:
        """The positions of whole texts: [T], or [R, T] where a token takes none; such tokens are at -1."""
        if self.unplaced is None:
            return torch.arange(input_ids.shape[1], device=input_ids.device)
        placed = (input_ids != self.unplaced).long()
        return torch.cumsum(placed, dim=1) * placed - 1


class SinusoidalPositions(nn.Module):
    """A computed table: part of the graph, not of the checkpoint."""

    table: Tensor

    def __init__(self, width: int, spec: arch.Sinusoidal) -> None:
        super().__init__()
        self.register_buffer("table", _sinusoids(width, spec).to(torch.float32), persistent=False)
        self.offset = spec.offset

    def forward(self, position_ids: Tensor) -> Tensor:
        return F.embedding(position_ids + self.offset if self.offset else position_ids, self.table)


class LearnedPositions(nn.Module):
    """A trained table whose first `offset` rows are never positions (BART keeps two for its padding)."""

    def __init__(self, width: int, spec: arch.Learned) -> None:
        super().__init__()
        self.offset = spec.offset
        self.weight = nn.Parameter(torch.empty(spec.count + spec.offset, width))

    def forward(self, position_ids: Tensor) -> Tensor:
        return F.embedding(position_ids + self.offset if self.offset else position_ids, self.weight)


def _sinusoids(width: int, spec: arch.Sinusoidal) -> Tensor:
    """[offset + count, width], float64."""
    count = (width + 1) // 2
    steps = width / 2 if spec.channels != "halves_inclusive" else count - 1
    wavelength = 10000.0 ** (torch.arange(count, dtype=torch.float64) / steps)
    angle = torch.arange(spec.offset + spec.count, dtype=torch.float64)[:, None] / wavelength
    sine, cosine = angle.sin(), angle.cos()[:, : width // 2]
    table = torch.empty(len(angle), width, dtype=torch.float64)
    if spec.channels == "interleaved":
        table[:, 0::2], table[:, 1::2] = sine, cosine
    else:
        table[:, : sine.shape[1]], table[:, sine.shape[1] :] = sine, cosine
    return table


def _make_positions(width: int, spec: arch.Positions) -> nn.Module:
    match spec:
        case arch.Sinusoidal():
            return SinusoidalPositions(width, spec)
        case arch.Learned():
            return LearnedPositions(width, spec)
