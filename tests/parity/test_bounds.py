"""How far is too far."""

from dataclasses import replace

import numpy as np
import pytest

from diptych.export.parity.bounds import EPSILON, FLOOR, MULTIPLE, SHORT, Deviation, distance, pooled, scale_of

LOWEST = float(np.finfo(np.float32).min)


@pytest.mark.parametrize(
    ("values", "truth", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.5], [1.0, 2.0], 0.5),
        ([1.0, 2.0], [1.5, -2.0], 4.0),
        ([np.nan, 2.0], [1.0, 2.0], np.inf),
        ([np.inf, 2.0], [1.0, 2.0], np.inf),
        ([1.0], [1.0, 2.0], np.inf),
        ([], [], 0.0),
        ([LOWEST, 2.0], [LOWEST, 2.5], 0.5),
        ([-1e38, 2.0], [LOWEST, 2.0], 0.0),
        ([-10.0, 2.0], [LOWEST, 2.0], np.inf),
        ([LOWEST, 2.0], [-10.0, 2.0], np.inf),
    ],
)
def test_distance(values: list[float], truth: list[float], expected: float) -> None:
    """Masks forbid on both sides or on none."""
    assert distance(np.array(values), np.array(truth)) == expected


def test_masks_of_float16_are_infinite() -> None:
    half = np.array([-np.inf, 1.0], dtype=np.float16)
    assert distance(half, half) == 0.0


def test_scales_know_no_masks() -> None:
    assert scale_of(np.array([LOWEST, -3.0, 2.0])) == 3.0
    assert scale_of(np.array([-np.inf, -3.0, 2.0], dtype=np.float16)) == 3.0
    assert scale_of(np.array([])) == 0.0


@pytest.mark.parametrize(("own", "allowed"), [(0.0, MULTIPLE * FLOOR * EPSILON), (1e-3, MULTIPLE * 1e-3)])
def test_bounds_have_a_floor(own: float, allowed: float) -> None:
    for error, holds in ((allowed * 0.999, True), (allowed * 1.001, False)):
        deviation = Deviation(error, own, scale=1.0)
        assert deviation.holds is holds
        assert deviation.ratio == pytest.approx(MULTIPLE, rel=2e-3)


@pytest.mark.parametrize(
    "deviation", [Deviation(np.inf, 0.1, 1), Deviation(0.1, np.inf, 1), Deviation(np.inf, np.inf, 1)]
)
def test_what_is_infinite_never_holds(deviation: Deviation) -> None:
    assert not deviation.holds
    assert deviation.ratio == np.inf


def test_nothing_may_stray_from_zero() -> None:
    assert Deviation(0.0, 0.0, 0.0).holds
    assert not Deviation(1e-30, 0.0, 0.0).holds


def test_a_lucky_case_is_judged_like_the_others() -> None:
    lucky, usual = Deviation(4e-5, 1e-9, 2.0), Deviation(1e-5, 1e-5, 2.0)
    assert not lucky.holds
    found = pooled([lucky, usual], [9, 9])
    assert [each.own for each in found] == [1e-5, 1e-5]
    assert all(each.holds for each in found)


def test_what_cancels_out_is_judged_by_the_scale_of_others() -> None:
    """A score of one token may be next to 0, but not more exact than the numbers that it is the difference of."""
    usual, cancelled = Deviation(1e-8, 1e-8, 1.0), Deviation(2e-7, 1e-9, 1e-2)
    assert not cancelled.holds
    assert pooled([usual, cancelled], [9, 1])[1].holds
    assert not pooled([usual, replace(cancelled, error=2e-6)], [9, 1])[1].holds


def test_what_is_longer_excuses_nothing() -> None:
    """Far positions are rounded worse; near ones must not profit from that."""
    near, far = Deviation(1e-3, 1e-7, 1.0), Deviation(1e-3, 1e-3, 1.0)
    assert [each.holds for each in pooled([near, far], [9, 10 * SHORT])] == [False, True]
    assert [each.own for each in pooled([far, near], [9, 10 * SHORT])] == [1e-3, 1e-3]
