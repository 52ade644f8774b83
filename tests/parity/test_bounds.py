"""How far is too far, and on which shapes one looks."""

import numpy as np
import pytest

from diptych.export.parity.bounds import EPSILON, FLOOR, MULTIPLE, Deviation, distance, pooled, scale_of
from diptych.export.parity.levels.cases import FULL, LONGEST, QUICK, Limits, padding_mask
from diptych.runtime.graph import Array

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


def test_scales_know_no_masks() -> None:
    assert scale_of(np.array([LOWEST, -3.0, 2.0])) == 3.0
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
    lucky, usual = Deviation(4e-5, 1e-9, 2.0), Deviation(1e-5, 1e-5, 1.0)
    assert not lucky.holds
    assert [each.own for each in pooled([lucky, usual])] == [2e-5, 1e-5]
    assert all(each.holds for each in pooled([lucky, usual]))


def limits(source: int | None = 64, target: int | None = 64) -> Limits:
    return Limits(source, target, heads=3, cached=48, vocab_size=67)


@pytest.mark.parametrize("grid", [QUICK, FULL], ids=["quick", "full"])
def test_cases_cover_what_goes_wrong(grid: tuple) -> None:
    assert any(case.past and case.new > 1 and case.padding == "ragged" and case.rows_per_source > 1 for case in grid)
    assert {case.past > 0 for case in grid} == {True, False}
    assert any(case.sources == case.source_length == 1 for case in grid)
    assert {case.keep for case in grid} > {0}
    # What was traced: 2 sources of 7, 6 rows, a past of 5 and 4 new tokens.
    assert not any((case.sources, case.source_length, case.past, case.new) == (2, 7, 5, 4) for case in grid)


def test_cases_reach_the_end_of_every_position() -> None:
    placed = list(limits(50, 40).place(FULL))
    assert max(case.source_length for case in placed) == 50
    assert {case.past + case.new for case in placed if LONGEST not in (case.past, case.new)} >= {40}
    assert max(case.new for case in placed) == 40
    assert not limits(50, 40).left_out()


def test_a_model_without_end_is_tried_as_far_as_memory_goes() -> None:
    told = limits(1 << 20, 1 << 20).left_out()
    assert len(told) == 2
    assert "1048576" in told[0]


@pytest.mark.parametrize(("source", "target"), [(1, 1), (2, 2), (10, 6)])
def test_few_positions_leave_cases(source: int, target: int) -> None:
    for grid in (QUICK, FULL):
        placed = list(limits(source, target).place(grid))
        assert placed
        for case in placed:
            assert 1 <= case.source_length <= source
            assert 0 <= case.past
            assert 1 <= case.new <= target - case.past


def test_padding() -> None:
    def rows(mask: Array) -> list[str]:
        return ["".join(map(str, row)) for row in mask]

    assert rows(padding_mask(3, 3, "none")) == ["111", "111", "111"]
    assert rows(padding_mask(4, 3, "left")) == ["111", "011", "001", "111"]
    assert rows(padding_mask(3, 3, "right")) == ["111", "110", "100"]
    assert rows(padding_mask(4, 4, "ragged")) == ["1111", "1110", "0110", "0100"]
