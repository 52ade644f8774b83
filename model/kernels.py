"""How the tokens of a layer look at keys and values: where these come from, and how they are kept.

The layers ask a kernel and know no more of it; other ones, for other engines, can stand in their places.
"""

from typing import Protocol

import torch
from torch import Tensor

from diptych.model.attention import Attention, Collect, KeyValue
from diptych.model.rotary import Rotation


class Kernel(Protocol):
    def __call__(self, attention: Attention, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        """hidden [R, T, width] -> what the attention makes of it [R, T, width]."""
        ...


class Whole:
    """Tokens look at each other: keys and values come from all of them, at once."""

    def __init__(self, bias: Tensor) -> None:
        """bias [B, 1 or H, 1 or S, S]"""
        self.bias = bias

    def __call__(self, attention: Attention, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        keys, values = attention.project(hidden, rotation)
        looked: Tensor = attention(hidden, keys, values, self.bias, rotation)
        return looked


class Growing:
    """New tokens look at what is cached and at each other; the cache grows by concatenation.

    past [R, G, P, D]; bias [R, 1 or H, T, P + T]. present [R, G, P + T, D]: after the call.
    """

    present: KeyValue

    def __init__(self, past: KeyValue, bias: Tensor) -> None:
        self.past = past
        self.bias = bias

    def __call__(self, attention: Attention, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        key, value = attention.project(hidden, rotation)
        self.present = torch.cat([self.past[0], key], dim=2), torch.cat([self.past[1], value], dim=2)
        looked: Tensor = attention(hidden, *self.present, self.bias, rotation)
        return looked


class Back:
    """Tokens look back at an encoder: keys and values [B, G, S, D] were projected once per source.

    bias [B, 1, 1, S]. collect: given the weights [R, H, T, S].
    """

    def __init__(self, entry: KeyValue, bias: Tensor, collect: Collect | None = None) -> None:
        self.entry = entry
        self.bias = bias
        self.collect = collect

    def __call__(self, attention: Attention, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        looked: Tensor = attention(hidden, *self.entry, self.bias, collect=self.collect)
        return looked
