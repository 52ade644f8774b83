"""Weights in fewer bits against those that they stand for: how far rounding may have taken each."""

from collections.abc import Iterator

import numpy as np

from diptych.export.parity.stored import Stored
from diptych.export.precision.numbers import BLOCK, LARGEST
from diptych.runtime.graph import Array

# A half, and what float32 adds to it; scales are as exact as it.
_STEP, _EXACT = 0.5 + 1e-3, 1e-5
# In 4 bits, the most steps from 0 to the largest weight of a block, and the least; what lies beyond is cut off.
_REACH = (10.0, 7.0)


def difference(stored: Stored, known: Array, *, by_rows: bool) -> str | None:
    """What is wrong, in words. known: as the network has it, [out, in] if `by_rows`."""
    if stored.precision == "fp16":
        wrong = (
            np.count_nonzero(stored.numbers != known.astype(np.float16)) if stored.numbers.shape == known.shape else -1
        )
        return f"{wrong:,} of {known.size:,} numbers are not float16's nearest" if wrong else None
    problems = (_int8 if stored.precision == "int8" else _int4)(stored, known if by_rows else known.T)
    return "; ".join(problems) or None


def _int8(stored: Stored, known: Array) -> Iterator[str]:
    """known [out, in]; stored in that order if there is a scale for each row, else the other way round."""
    assert stored.scale is not None
    numbers = stored.numbers if stored.scale.ndim == 2 else stored.numbers.T
    scale = stored.scale.reshape(-1, 1)
    if numbers.shape != known.shape or len(scale) != len(known):
        yield f"shape {list(numbers.shape)} with {len(scale)} scales, expected {list(known.shape)}"
        return
    yield from _apart(numbers.astype(np.float32) * scale, known, np.broadcast_to(scale, known.shape))
    largest = np.abs(known).max(axis=1, keepdims=True)
    yield from _scales(
        scale, np.where(largest == 0, 1, largest / LARGEST), np.where(largest == 0, 1, largest / LARGEST)
    )


def _int4(stored: Stored, known: Array) -> Iterator[str]:
    """known [out, in]"""
    assert stored.scale is not None
    outputs, inputs = known.shape
    blocks = -(-inputs // BLOCK)
    if stored.scale.shape != (outputs, blocks) or stored.numbers.size != outputs * blocks * BLOCK // 2:
        yield f"{list(stored.numbers.shape)}, scales {list(stored.scale.shape)}: not {list(known.shape)} in blocks"
        return
    scale = np.repeat(stored.scale, BLOCK, axis=1)[:, :inputs]
    # What lies beyond the last number is cut off; a scale below 0 turns them round.
    ends = -8 * scale, 7 * scale
    within = np.clip(known, np.minimum(*ends), np.maximum(*ends))
    yield from _apart(stored.weight(by_rows=True, width=inputs), within, scale)
    padded = np.zeros((outputs, blocks * BLOCK), np.float32)
    padded[:, :inputs] = np.abs(known)
    largest = padded.reshape(outputs, blocks, BLOCK).max(axis=2)
    yield from _scales(np.abs(stored.scale), *(np.where(largest == 0, 1, largest / reach) for reach in _REACH))


def _apart(found: Array, known: Array, scale: Array) -> Iterator[str]:
    steps = np.abs(found - known) / np.abs(scale)
    wrong = np.count_nonzero(~(steps <= _STEP))
    if wrong:
        yield f"{wrong:,} of {known.size:,} numbers are more than half a step off, by {steps.max():.3g} steps at most"


def _scales(scale: Array, low: Array, high: Array) -> Iterator[str]:
    wrong = np.count_nonzero(~((scale >= low * (1 - _EXACT)) & (scale <= high * (1 + _EXACT))))
    if wrong:
        yield f"{wrong:,} of {scale.size:,} scales do not fit the largest weight they are for"
