"""Multi-head attention ("Attention Is All You Need", section 3.2), the same module in all three places it is used."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from diptych.model import architecture as arch
from diptych.model.linear import Linear
from diptych.model.rotary import Rotation, rotate

KeyValue = tuple[Tensor, Tensor]
Collect = Callable[[Tensor], None]


class Attention(nn.Module):
    """Queries come from `forward`, keys and values from `project`: at once, from a cache, or from another graph.

    G of the H heads' keys and values exist where groups of queries share them, else G = H.
    """

    def __init__(self, width: int, spec: arch.Attention) -> None:
        super().__init__()
        self.heads = spec.heads
        self.cached_heads = spec.cached_heads
        self.head_dim = spec.head_dim
        self.window = spec.window
        self.scale = spec.head_dim**-0.5 if spec.scale is None else spec.scale
        inner, cached = spec.heads * spec.head_dim, spec.cached_heads * spec.head_dim
        self.query = Linear(width, inner, bias=spec.bias)
        self.key = Linear(width, cached, bias=spec.bias)
        self.value = Linear(width, cached, bias=spec.bias)
        self.output = Linear(inner, width, bias=spec.bias if spec.output_bias is None else spec.output_bias)

    def project(self, hidden: Tensor, rotation: Rotation | None = None) -> KeyValue:
        """hidden [B, S, width] -> keys and values, each [B, G, S, D]."""
        key, value = self._split_heads(self.key(hidden)), self._split_heads(self.value(hidden))
        key = key if rotation is None else rotate(key, rotation)
        return key.transpose(1, 2), value.transpose(1, 2)

    def forward(
        self,
        hidden: Tensor,
        keys: Tensor,
        values: Tensor,
        bias: Tensor,
        rotation: Rotation | None = None,
        collect: Collect | None = None,
    ) -> Tensor:
        """hidden [R, T, width], keys and values [B, G, S, D], bias [B, 1 or H, 1 or T, S] -> [R, T, width].

        R may be K times B: the K adjacent rows of a source then attend to its one copy of keys and values, as K times
        as many queries. collect: given how much each token takes of each key, [R, H, T, S], every row's sum 1.
        """
        rows, length, _ = hidden.shape
        query = self.query(hidden)
        if rotation is not None:
            query = rotate(self._split_heads(query), rotation)
        query = query.reshape(keys.shape[0], -1, self.heads, self.head_dim).transpose(1, 2)  # [B, H, K·T, D]
        weights = self._weigh(query, keys, bias)
        if collect is not None:
            collect(self._by_row(weights, rows, length))
        return self.output(self._mix(weights, values).reshape(rows, length, self.heads * self.head_dim))

    def _weigh(self, query: Tensor, keys: Tensor, bias: Tensor) -> Tensor:
        """query [B, H, K·T, D] -> [B, H, K·T, S]; the H / G heads of a group are more queries of its one key head."""
        if self.cached_heads == self.heads:
            scores = query @ keys.transpose(-1, -2)
        else:
            batch, _, queries, width = query.shape
            grouped = query.view(batch, self.cached_heads, self.heads // self.cached_heads, queries, width)
            scores = (grouped @ keys.unsqueeze(2).transpose(-1, -2)).flatten(1, 2)
        # Here engines multiply as part of the product.
        scores = scores if self.scale == 1.0 else scores * self.scale
        return torch.softmax(scores + bias, dim=-1)

    def _mix(self, weights: Tensor, values: Tensor) -> Tensor:
        """weights [B, H, K·T, S] -> [B, K·T, H, D], or [B, K·T, G, H / G, D]"""
        if self.cached_heads == self.heads:
            return (weights @ values).transpose(1, 2)
        batch, _, queries, _ = weights.shape
        grouped = weights.view(batch, self.cached_heads, self.heads // self.cached_heads, queries, -1)
        # Heads are joined once all is in order: before, torch up to 2.11 would fix how many tokens there may be.
        return (grouped @ values.unsqueeze(2)).permute(0, 3, 1, 2, 4)

    def _by_row(self, weights: Tensor, rows: int, length: int) -> Tensor:
        """[B, H, K·T, S] -> [R, H, T, S]"""
        # Contiguous: where strides decide whether a copy is needed, torch.export fixes how many rows there may be.
        by_query = weights.transpose(1, 2).contiguous()  # [B, K·T, H, S]
        return by_query.reshape(rows, length, self.heads, weights.shape[-1]).transpose(1, 2)

    def _split_heads(self, projected: Tensor) -> Tensor:
        """[R, T, H·D] -> [R, T, H, D]"""
        batch, length, _ = projected.shape
        return projected.view(batch, length, -1, self.head_dim)
