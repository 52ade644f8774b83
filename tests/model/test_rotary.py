"""Rotary positions: a row turns by itself, also where the base grows with it."""

import pytest
import torch

from diptych.model import architecture as arch
from diptych.model.rotary import RotaryPositions, rotate

SCALINGS = [
    None,
    arch.Interpolated(2.0),
    arch.Dynamic(2.0, trained=4),
    arch.Yarn(4.0, trained=4, magnitude=1.1),
    arch.Llama3(8.0, trained=16, low=1.0, high=4.0),
]


@pytest.mark.parametrize("scaling", SCALINGS, ids=str)
def test_a_row_turns_as_it_would_alone(scaling: arch.Interpolated | None) -> None:
    rotary = RotaryPositions(8, arch.Rotary(100.0, scaling))
    positions = torch.tensor([[0, 0, 1, 2], [5, 6, 7, 8], [30, 31, 32, 33]])
    together = rotary(positions)
    for row in range(3):
        alone = rotary(positions[row : row + 1])
        for one, other in zip(alone, together, strict=True):
            assert torch.equal(one[0], other[row])


@pytest.mark.parametrize("scaling", SCALINGS, ids=str)
def test_positions_of_whole_texts_need_no_rows(scaling: arch.Interpolated | None) -> None:
    rotary = RotaryPositions(8, arch.Rotary(100.0, scaling))
    for one, other in zip(rotary(torch.arange(9)), rotary(torch.arange(9)[None]), strict=True):
        assert torch.equal(one, other[0])


def test_a_product_depends_on_the_distance_alone() -> None:
    rotary = RotaryPositions(8, arch.Rotary(100.0))
    query, key = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0)).unbind()
    products = [
        (rotate(query, rotary(torch.tensor([[start + 3]]))) * rotate(key, rotary(torch.tensor([[start]])))).sum()
        for start in (0, 5, 40)
    ]
    assert torch.allclose(torch.stack(products), products[0].expand(3), atol=1e-5)
