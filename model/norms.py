"""Normalisation, and the two places round a residual branch where it can stand."""

import torch
from torch import Tensor, nn

from diptych.model import architecture as arch


class RMSNorm(nn.Module):
    """`weight * hidden / sqrt(mean(hidden²) + eps)`, written so that ONNX Runtime fuses it."""

    def __init__(self, width: int, spec: arch.RMSNorm) -> None:
        super().__init__()
        self.eps = spec.eps
        self.weight = nn.Parameter(torch.empty(width))

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden / torch.sqrt(hidden.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def make_norm(width: int, spec: arch.Norm | None) -> nn.Module:
    """An empty place (`None`) is the identity."""
    match spec:
        case None:
            return nn.Identity()
        case arch.LayerNorm():
            return nn.LayerNorm(width, eps=spec.eps, bias=spec.bias)
        case arch.RMSNorm():
            return RMSNorm(width, spec)


def make_slots(width: int, spec: arch.Layer) -> tuple[nn.Module, nn.Module]:
    """The input and the output slot of one residual branch; `spec.norm_place` says which is filled."""
    at_input = spec.norm if spec.norm_place == "input" else None
    at_output = spec.norm if spec.norm_place == "output" else None
    return make_norm(width, at_input), make_norm(width, at_output)
