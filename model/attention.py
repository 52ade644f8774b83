"""Multi-head attention ("Attention Is All You Need", section 3.2), the same module in all three places it is used."""

import torch
from torch import Tensor, nn

from diptych.model import architecture as arch
from diptych.model.linear import Linear

KeyValue = tuple[Tensor, Tensor]


class Attention(nn.Module):
    """Queries come from `forward`, keys and values from `project`: at once, from a cache, or from another graph."""

    def __init__(self, width: int, spec: arch.Attention) -> None:
        super().__init__()
        inner = spec.heads * spec.head_dim
        self.heads = spec.heads
        self.head_dim = spec.head_dim
        self.scale = spec.head_dim**-0.5 if spec.scale is None else spec.scale
        self.query = Linear(width, inner, bias=spec.bias)
        self.key = Linear(width, inner, bias=spec.bias)
        self.value = Linear(width, inner, bias=spec.bias)
        self.output = Linear(inner, width, bias=spec.bias)

    def project(self, hidden: Tensor) -> KeyValue:
        """hidden [B, S, width] -> keys and values, each [B, H, S, D]."""
        return self._split_heads(self.key(hidden)), self._split_heads(self.value(hidden))

    def forward(self, hidden: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        """hidden [R, T, width], keys and values [B, H, S, D], bias [B, 1 or H, 1 or T, S] -> [R, T, width].

        R may be K times B: the K adjacent rows of a source then attend to its one copy of keys and values, as K times
        as many queries.
        """
        rows, length, _ = hidden.shape
        query = self.query(hidden)
        if self.scale != 1.0:
            query = query * self.scale
        query = query.reshape(keys.shape[0], -1, self.heads, self.head_dim).transpose(1, 2)  # [B, H, K·T, D]
        weights = torch.softmax(query @ keys.transpose(-1, -2) + bias, dim=-1)
        context = (weights @ values).transpose(1, 2)  # [B, K·T, H, D]
        return self.output(context.reshape(rows, length, self.heads * self.head_dim))

    def _split_heads(self, projected: Tensor) -> Tensor:
        batch, length, _ = projected.shape
        return projected.view(batch, length, self.heads, self.head_dim).transpose(1, 2)
