"""Weights in fewer bits are told from those that are not what they should be."""

from collections.abc import Callable

import numpy as np
import pytest

from diptych.export.parity.levels.reduced_weights import difference
from diptych.export.parity.stored import Stored

KNOWN = np.random.default_rng(5).normal(size=(40, 24)).astype(np.float32)
PRECISIONS = {"int8": np.int8, "int4": np.uint8, "fp16": np.float16}


def rounded(precision: str, *, by_rows: bool) -> Stored:
    like = Stored(np.zeros(1, PRECISIONS[precision]), None)
    return like.anew(KNOWN, by_rows=by_rows)


@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_rounded_right_holds(precision: str, by_rows: bool) -> None:
    stored = rounded(precision, by_rows=by_rows)
    assert stored.precision == precision
    assert difference(stored, KNOWN, by_rows=by_rows) is None
    weight = stored.weight(by_rows=by_rows, width=KNOWN.shape[1 if by_rows else 0])
    assert np.abs(weight - KNOWN).max() < {"int8": 0.02, "int4": 0.9, "fp16": 0.002}[precision]


def first(stored: Stored, change: Callable[[int], int]) -> Stored:
    numbers = stored.numbers.copy()
    numbers.reshape(-1)[0] = change(int(numbers.reshape(-1)[0]))
    return Stored(numbers, stored.scale)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_one_number_too_far(precision: str) -> None:
    faulty = first(rounded(precision, by_rows=True), lambda number: number + 2 if number < 100 else number - 2)
    found = difference(faulty, KNOWN, by_rows=True)
    assert found is not None
    assert found.startswith("1 of 960 numbers are more than half a step off")


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_scales_of_other_channels(precision: str) -> None:
    stored = rounded(precision, by_rows=True)
    assert stored.scale is not None
    found = difference(Stored(stored.numbers, stored.scale[::-1]), KNOWN, by_rows=True)
    assert found is not None
    assert "scales do not fit" in found


@pytest.mark.parametrize("precision", PRECISIONS)
def test_another_shape(precision: str) -> None:
    assert difference(rounded(precision, by_rows=True), KNOWN[:-1], by_rows=True)


def test_half_precision_of_something_else() -> None:
    stored = rounded("fp16", by_rows=True)
    assert difference(Stored(stored.numbers * np.float16(1.01), None), KNOWN, by_rows=True)
