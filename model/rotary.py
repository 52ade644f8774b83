"""Rotary positions (RoFormer, Su et al. 2021), with the ways in which they are stretched to longer texts."""

import math

import torch
from torch import Tensor, nn

from diptych.model import architecture as arch

# Cosine and sine [R, T, 1, D] or [T, 1, D].
Rotation = tuple[Tensor, Tensor]


def rotate(heads: Tensor, rotation: Rotation) -> Tensor:
    """heads [R, T, H, D], each channel of the first half turned with its partner in the second."""
    cosine, sine = rotation
    first, second = heads.chunk(2, dim=-1)
    return heads * cosine + torch.cat([-second, first], dim=-1) * sine


class RotaryPositions(nn.Module):
    """The turns of each position: computed in the graph, since a table would be as long as the longest text."""

    exponents: Tensor
    frequencies: Tensor

    def __init__(self, head_dim: int, spec: arch.Rotary) -> None:
        super().__init__()
        self.base = spec.base
        self.dynamic = spec.scaling if isinstance(spec.scaling, arch.Dynamic) else None
        self.magnitude = spec.scaling.magnitude if isinstance(spec.scaling, arch.Yarn) else 1.0
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
        self.register_buffer("exponents", exponents, persistent=False)
        self.register_buffer("frequencies", _frequencies(exponents, spec), persistent=False)

    def forward(self, position_ids: Tensor) -> Rotation:
        """positions [R, T] or [T], counted from 0."""
        frequencies = self.frequencies if self.dynamic is None else self._grown(position_ids, self.dynamic)
        angle = position_ids[..., None].to(frequencies.dtype) * frequencies
        angle = torch.cat([angle, angle], dim=-1).unsqueeze(-2)
        return angle.cos() * self.magnitude, angle.sin() * self.magnitude

    def _grown(self, position_ids: Tensor, spec: arch.Dynamic) -> Tensor:
        length = (position_ids.amax(-1, keepdim=True) + 1).clamp(min=spec.trained).to(self.exponents.dtype)[..., None]
        head_dim = 2 * len(self.exponents)
        growth = (spec.factor * length / spec.trained - (spec.factor - 1)) ** (head_dim / (head_dim - 2))
        return 1.0 / (self.base * growth) ** self.exponents


def _frequencies(exponents: Tensor, spec: arch.Rotary) -> Tensor:
    """Radians per position, [D / 2]."""
    plain = 1.0 / spec.base**exponents
    match spec.scaling:
        case arch.Interpolated(factor):
            return plain / factor
        case arch.Llama3():
            return _llama3(plain, spec.scaling)
        case arch.Yarn():
            kept = _yarn_kept(len(exponents), spec.base, spec.scaling)
            return plain / spec.scaling.factor * (1 - kept) + plain * kept
        case _:
            return plain


def _llama3(plain: Tensor, spec: arch.Llama3) -> Tensor:
    turns = spec.trained * plain / (2 * math.pi)
    blend = ((turns - spec.low) / (spec.high - spec.low)).clamp(0, 1)
    return (1 - blend) * plain / spec.factor + blend * plain


def _yarn_kept(channels: int, base: float, spec: arch.Yarn) -> Tensor:
    """How much of each channel's frequency is kept: 1 for those that turn often, 0 for the slow ones."""

    def channel(turns: float) -> float:
        return channels * math.log(spec.trained / (turns * 2 * math.pi)) / math.log(base)

    low, high = channel(spec.fast), channel(spec.slow)
    if spec.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * channels - 1)
    ramp = (torch.arange(channels, dtype=torch.float32) - low) / (high - low or 0.001)
    return 1 - ramp.clamp(0, 1)


def make_rotary(spec: arch.Stack) -> RotaryPositions | None:
    if not isinstance(spec.relative, arch.Rotary):
        return None
    return RotaryPositions(spec.layers[0].attention.head_dim, spec.relative)
