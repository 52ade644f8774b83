"""Numbers in 8 and 4 bits stand for what they were, as nearly as they can."""

import numpy as np
import pytest

from diptych.export.precision.numbers import BLOCK, from_int4, from_int8, to_int4, to_int8
from diptych.runtime.graph import Array


def normal(*shape: int) -> Array:
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize(("axis", "shape"), [(0, (40,)), (1, (30, 1))])
def test_int8_is_off_by_half_a_step_at_most(axis: int, shape: tuple[int, ...]) -> None:
    weight = normal(30, 40) * np.geomspace(1e-6, 1e6, 40, dtype=np.float32)
    reduced = to_int8(weight, axis)
    assert (reduced.numbers.dtype, reduced.numbers.shape) == (np.int8, weight.shape)
    assert (reduced.scale.dtype, reduced.scale.shape) == (np.float32, shape)
    assert (np.abs(from_int8(reduced) - weight) <= 0.5001 * reduced.scale).all()
    assert (np.abs(reduced.numbers).max(axis=axis) == 127).all()


def test_zeros_stay_zeros() -> None:
    weight = normal(BLOCK, 48)
    weight[:, 3] = 0
    assert (from_int8(to_int8(weight, 0))[:, 3] == 0).all()
    assert (from_int4(to_int4(weight.T), BLOCK)[3] == 0).all()
    assert np.isfinite(to_int8(np.zeros((16, 16), np.float32), 1).scale).all()


def test_numbers_that_fit_are_exact() -> None:
    weight = np.arange(-127, 128, dtype=np.float32)[:, None] * np.array([[0.5, 2]], np.float32)
    assert np.array_equal(from_int8(to_int8(weight, 0)), weight)
    block = np.tile(np.arange(-8, 8, dtype=np.float32), 2)[None]
    assert np.array_equal(from_int4(to_int4(block), BLOCK), block)
    assert np.array_equal(from_int4(to_int4(-block), BLOCK), -block)


@pytest.mark.parametrize("inputs", [1, 31, 32, 33, 70])
def test_int4_packs_blocks_whatever_the_width(inputs: int) -> None:
    weight = normal(20, inputs)
    reduced = to_int4(weight)
    blocks = -(-inputs // BLOCK)
    assert (reduced.numbers.dtype, reduced.numbers.shape) == (np.uint8, (20, blocks, BLOCK // 2))
    assert reduced.scale.shape == (20, blocks)
    found = from_int4(reduced, inputs)
    assert found.shape == weight.shape
    assert np.linalg.norm(found - weight) < 0.09 * np.linalg.norm(weight)


def test_the_first_of_two_numbers_is_in_the_lower_half() -> None:
    block = np.zeros((1, BLOCK), np.float32)
    block[0, :3] = -8, 7, 1
    assert to_int4(block).numbers[0, 0, :2].tolist() == [0 | 15 << 4, 9 | 8 << 4]
