"""Weights in fewer bits, and back: what is stored, and what it stands for."""

from dataclasses import dataclass

import numpy as np

from diptych.runtime.graph import Array

LARGEST = 127  # Of int8; -128 is left out, so that a weight and its negative are equally exact.
BLOCK = 32  # Weights that share a scale in 4 bits, along the axis that a product sums over.
_MIDDLE = 8  # Of 4 bits, stored as 0 to 15: what stands for zero.
_AT_ONCE = 4096  # Rows, for what is computed of them takes several times their memory.
_REACHES = tuple(sign * reach for reach in (8, 8.5, 9, 9.5, 10, 7) for sign in (-1, 1))


@dataclass(frozen=True)
class Reduced:
    """numbers, stored, and scale: float32, of a shape that broadcasts or one for each block."""

    numbers: Array
    scale: Array


def to_int8(weight: Array, axis: int) -> Reduced:
    """Symmetric, with one scale for all that lies along `axis`: [in, out] along 0 -> scale [out]; [V, width] along 1 ->
    scale [V, 1].
    """
    largest = np.abs(weight).max(axis=axis, keepdims=axis != 0)
    scale = np.where(largest == 0, 1, largest / LARGEST).astype(np.float32)
    numbers = np.clip(np.rint(weight / scale), -LARGEST, LARGEST).astype(np.int8)
    return Reduced(numbers, scale)


def from_int8(reduced: Reduced) -> Array:
    """float32, of the shape of the numbers."""
    return np.asarray(reduced.numbers.astype(np.float32) * reduced.scale)


def to_int4(weight: Array) -> Reduced:
    """[out, in] -> numbers uint8 [out, blocks, 16], two in a byte, the first in its low half, and scale [out, blocks].

    Symmetric about 8, with the scale of the least squared error of a few for each block: as near as with a zero point
    of its own, which would take another byte. What the last block lacks is 8.
    """
    parts = [_to_int4(weight[start : start + _AT_ONCE]) for start in range(0, len(weight), _AT_ONCE)]
    return Reduced(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _to_int4(weight: Array) -> tuple[Array, Array]:
    outputs, inputs = weight.shape
    blocks = -(-inputs // BLOCK)
    padded = np.zeros((outputs, blocks * BLOCK), np.float32)
    padded[:, :inputs] = weight
    grouped = padded.reshape(outputs, blocks, BLOCK)
    largest = np.abs(grouped).max(axis=2, keepdims=True)
    scale, least = np.ones_like(largest), np.full_like(largest, np.inf)
    for reach in _REACHES:
        # There is one number more below 8 than above.
        tried = np.where(largest == 0, 1, largest / reach).astype(np.float32)
        error = np.square((_rounded(grouped / tried) - _MIDDLE) * tried - grouped).sum(axis=2, keepdims=True)
        scale, least = np.where(error < least, tried, scale), np.minimum(error, least)
    numbers = _rounded(grouped / scale).astype(np.uint8)
    return numbers[..., ::2] | numbers[..., 1::2] << 4, scale[..., 0]


def _rounded(scaled: Array) -> Array:
    return np.clip(np.rint(scaled) + _MIDDLE, 0, 2 * _MIDDLE - 1)


def from_int4(reduced: Reduced, inputs: int) -> Array:
    """float32 [out, in]; numbers may be [out, in / 2], too."""
    halves = np.stack([reduced.numbers & 15, reduced.numbers >> 4], axis=-1)
    grouped = halves.reshape(*reduced.scale.shape, BLOCK).astype(np.float32) - _MIDDLE
    return np.asarray((grouped * reduced.scale[..., None]).reshape(len(grouped), -1)[:, :inputs])
