"""Normalisation, and the two places round a residual branch where it can stand."""

from torch import nn

from diptych.model import architecture as arch


def make_norm(width: int, spec: arch.LayerNorm | None) -> nn.Module:
    """An empty place (`None`) is the identity."""
    if spec is None:
        return nn.Identity()
    return nn.LayerNorm(width, eps=spec.eps, bias=spec.bias)


def make_slots(width: int, spec: arch.Layer) -> tuple[nn.Module, nn.Module]:
    """The input and the output slot of one residual branch; `spec.norm_place` says which is filled."""
    at_input = spec.norm if spec.norm_place == "input" else None
    at_output = spec.norm if spec.norm_place == "output" else None
    return make_norm(width, at_input), make_norm(width, at_output)
