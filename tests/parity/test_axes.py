"""Values are drawn where they belong, and what has no place is drawn at an edge."""

from itertools import pairwise
from math import inf, nan

import pytest

from diptych.export.parity.display.axes import Axis, decimal_up, places_axis, short


def labels(low: float, high: float, *, logarithmic: bool = True) -> list[str]:
    return [label for _, label in Axis(low, high, 0.0, 100.0, logarithmic=logarithmic).ticks()]


def test_a_logarithmic_axis_has_decades() -> None:
    assert labels(1e-7, 1e-3) == ["10⁻⁷", "10⁻⁶", "10⁻⁵", "10⁻⁴", "10⁻³"]
    assert labels(0.5, 2e3) == ["1", "10", "10²", "10³"]
    assert labels(5e-8, 5e-7) == ["5·10⁻⁸", "10⁻⁷", "2·10⁻⁷", "5·10⁻⁷"]


def test_many_decades_are_thinned() -> None:
    assert labels(1e-40, 1e2)[:2] == ["10⁻⁴⁰", "10⁻³³"]


def test_a_linear_axis_has_round_numbers() -> None:
    assert labels(0.0, 430.0, logarithmic=False) == ["0", "100", "200", "300", "400"]
    assert labels(0.0, 1.0, logarithmic=False) == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


@pytest.mark.parametrize("value", [0.0, -1.0, nan, 1e-9])
def test_what_is_below_is_at_the_lower_end(value: float) -> None:
    axis = Axis(1e-8, 1e-4, 240.0, 38.0, logarithmic=True)
    assert axis.at(value) == 240.0
    assert axis.beyond(value)


def test_what_is_above_is_at_the_upper_end() -> None:
    axis = Axis(1e-8, 1e-4, 240.0, 38.0, logarithmic=True)
    assert axis.at(inf) == 38.0
    assert axis.beyond(inf)
    assert axis.at(1e-6) == pytest.approx(139.0)
    assert not axis.beyond(1e-6)


def test_places_that_follow_one_another_are_to_scale() -> None:
    across, ticks = places_axis(list(range(11)), 0.0, 100.0)
    assert across == pytest.approx([10.0 * place for place in range(11)])
    assert [label for _, label in ticks] == ["0", "2", "4", "6", "8", "10"]


def test_scattered_places_are_at_equal_distances() -> None:
    across, ticks = places_axis([0, 1, 5, 511], 0.0, 300.0)
    assert list(zip(across, "0 1 5 511".split(), strict=True)) == ticks
    assert {right - left for left, right in pairwise(across)} == {100.0}
    assert places_axis([7], 0.0, 100.0) == ([50.0], [(50.0, "7")])
    assert len(places_axis(list(range(0, 2000, 5)), 0.0, 300.0)[1]) < 9


@pytest.mark.parametrize(("value", "up"), [(1.0, 1.0), (1.1, 2.0), (3e-7, 5e-7), (7e5, 1e6), (2e-7, 2e-7)])
def test_rounding_up(value: float, up: float) -> None:
    assert decimal_up(value) == pytest.approx(up)


def test_short_numbers() -> None:
    assert [short(value) for value in (0, 1200, 12000, 3.4e6, 5e9)] == ["0", "1200", "12k", "3.4M", "5G"]
