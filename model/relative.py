"""Relative positions as a bias of the attention scores (T5, Raffel et al. 2020, section 2.1)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.model import architecture as arch


class RelativeBias(nn.Module):
    """One number for each head and bucket of distances, added to the scores of every self-attention of a stack."""

    buckets: Tensor

    def __init__(self, heads: int, spec: arch.Bucketed, *, both_ways: bool) -> None:
        super().__init__()
        self.farthest = spec.farthest
        self.weight = nn.Parameter(torch.empty(spec.count, heads))
        # A table, because engines round the logarithm differently and would disagree at a bucket's edge.
        self.register_buffer("buckets", _buckets(spec, both_ways=both_ways), persistent=False)

    def forward(self, length: int, total: int) -> Tensor:
        """Bias [1, H, T, P + T] of the last `length` of `total` slots over all of them."""
        slots = torch.arange(total, device=self.weight.device)
        return self.of(slots - slots[total - length :, None])[None]

    def of(self, distance: Tensor) -> Tensor:
        """distance [..., T, S], of keys from queries -> bias [..., H, T, S]"""
        bucket = self.buckets[distance.clamp(-self.farthest, self.farthest) + self.farthest]
        return F.embedding(bucket, self.weight).movedim(-1, -3)


def _buckets(spec: arch.Bucketed, *, both_ways: bool) -> Tensor:
    """The bucket of each distance from -farthest to farthest: near ones have their own, others share by logarithm."""
    signed = torch.arange(-spec.farthest, spec.farthest + 1)
    count = spec.count // 2 if both_ways else spec.count
    distance = signed.abs() if both_ways else (-signed).clamp(min=0)
    exact = count // 2
    spread = torch.log(distance.clamp(min=1).float() / exact) / math.log(spec.farthest / exact) * (count - exact)
    shared = (exact + spread.long()).clamp(max=count - 1)
    bucket = torch.where(distance < exact, distance, shared)
    return bucket + (signed > 0) * count if both_ways else bucket


def make_bias(spec: arch.Stack, *, both_ways: bool) -> RelativeBias | None:
    if not isinstance(spec.relative, arch.Bucketed):
        return None
    return RelativeBias(spec.layers[0].attention.heads, spec.relative, both_ways=both_ways)
