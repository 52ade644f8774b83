"""The best of many logits and the logarithm of their sum, in few passes over them."""

from math import isqrt
from typing import Any

import torch
from torch import Tensor

from diptych.runtime import ports

# How many are asked for, about: chunks are chosen to be cheap for so many.
_COUNT = 8


def rank(logits: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """logits [..., V] -> the best `count` [..., C], descending, of equals the first; their tokens [..., C]; the
    logarithm of the sum of all exponentials [...].

    Logits are compared within chunks first: the best C stand in the C chunks with the largest maxima. Chunks that were
    chosen are put in order again, so that of equals the first is found.
    """
    kept: Any = count.item()
    torch._check(kept >= 1)  # type: ignore[no-untyped-call]  # noqa: SLF001  A size, torch.export must know.
    vocabulary = logits.shape[-1]
    width = chunk_width(vocabulary)
    if width == vocabulary:
        values, tokens = torch.topk(logits, kept)
    else:
        chunks = logits.view(*logits.shape[:-1], vocabulary // width, width)
        chosen = torch.topk(chunks.amax(dim=-1), kept).indices
        chosen = torch.topk(chosen, kept, largest=False).values
        near = chunks.gather(-2, chosen[..., None].expand(*chosen.shape, width)).flatten(-2)
        values, places = torch.topk(near, kept)
        tokens = (chosen[..., None] * width + torch.arange(width)).flatten(-2).gather(-1, places)
    probability = torch.softmax(logits, dim=-1).gather(-1, tokens[..., :1])
    return values, tokens, (values[..., :1] - probability.log()).squeeze(-1)


def chunk_width(vocabulary: int) -> int:
    """The divisor that leaves least to compare: all maxima, then the members of as many chunks as are asked for."""
    small = [width for width in range(1, isqrt(vocabulary) + 1) if vocabulary % width == 0]
    divisors = [*small, *(vocabulary // width for width in small)]
    best = min(divisors, key=lambda width: vocabulary // width + _COUNT * width)
    # No more can be asked for than there are chunks.
    return best if best > 1 and vocabulary // best >= ports.MOST_TOP_LOGITS else vocabulary
