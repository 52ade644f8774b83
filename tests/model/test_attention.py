"""What attention tells of its weights, if asked: each row's own, whatever rows share, and no other result for it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from diptych.model import architecture as arch
from diptych.model.attention import Attention
from diptych.model.masks import padding_bias

SOURCES, LENGTH, WIDTH, HEAD_DIM = 3, 7, 20, 6


@pytest.mark.parametrize("tokens", [1, 4])
@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("kv_heads", [None, 2, 1])
def test_weights_of_each_row(
    kv_heads: int | None, rows: int, tokens: int, randomise: Callable[[nn.Module, int], None]
) -> None:
    """As computed for every row and head alone."""
    attention = Attention(WIDTH, arch.Attention(4, HEAD_DIM, kv_heads=kv_heads)).requires_grad_(False)
    randomise(attention, 5)
    random = torch.Generator().manual_seed(6)
    memory = torch.randn(SOURCES, LENGTH, WIDTH, generator=random)
    hidden = torch.randn(SOURCES * rows, tokens, WIDTH, generator=random)
    mask = (torch.arange(LENGTH) < torch.tensor([7, 1, 4])[:, None]).long()
    keys, values = attention.project(memory)
    collected: list[Tensor] = []
    told = attention(hidden, keys, values, padding_bias(mask, hidden.dtype), collect=collected.append)
    assert torch.equal(told, attention(hidden, keys, values, padding_bias(mask, hidden.dtype)))
    (weights,) = collected
    assert weights.shape == (SOURCES * rows, 4, tokens, LENGTH)
    queries = attention.query(hidden).unflatten(-1, (4, HEAD_DIM))
    for row in range(SOURCES * rows):
        source = row // rows
        seen = mask[source] != 0
        assert not weights[row, :, :, ~seen].any()
        for head in range(4):
            key = keys[source, head * attention.cached_heads // 4, seen]
            alone = torch.softmax(queries[row, :, head] @ key.T * HEAD_DIM**-0.5, dim=-1)
            torch.testing.assert_close(weights[row, head][:, seen], alone)
