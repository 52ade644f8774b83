"""Additive attention masks: 0 where a key may be seen, the most negative finite number where it may not.

A finite number keeps rows that see nothing (pure padding) free of NaN, on every engine alike.
"""

import torch
from torch import Tensor


def padding_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """mask [B, S] (1 = token, 0 = padding) -> [B, 1, 1, S]: every query sees every token, on both sides of it."""
    return _bias(mask[:, None, None, :] == 0, dtype)


def causal_bias(mask: Tensor, length: int, dtype: torch.dtype, window: int | None = None) -> Tensor:
    """mask [R, P + T] over past and new tokens -> [R, 1, T, P + T]: a query sees tokens up to its own.

    window: of those the last so many, its own included.
    """
    slots = torch.arange(mask.shape[1], device=mask.device)
    queries = slots[mask.shape[1] - length :, None]
    hidden = (mask[:, None, None, :] == 0) | (slots > queries)
    if window is not None:
        hidden = hidden | (slots <= queries - window)
    return _bias(hidden, dtype)


def _bias(hidden: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros((), dtype=dtype, device=hidden.device).masked_fill(hidden, torch.finfo(dtype).min)
