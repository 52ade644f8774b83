"""The grid of cases: none is traced, all fit the model, and nothing is too large."""

from dataclasses import replace

import numpy as np
import pytest

from diptych.export import graph_spec
from diptych.export.parity.levels.cases import FULL, QUICK, Case, Limits, padding_mask

TINY = Limits(source=7, target=9, heads=4, cached=64, read=16)
LARGE = Limits(source=None, target=131_072, heads=32, cached=2048, read=128_256)
SMALL = Limits(source=1024, target=1024, heads=16, cached=24_576, read=1024)


def test_no_case_is_one_that_was_traced() -> None:
    traced = graph_spec.SOURCES, graph_spec.SOURCE_LENGTH
    for case in FULL:
        assert (case.sources, case.source_length) != traced
        assert (case.past, case.new) != (graph_spec.PAST_LENGTH, graph_spec.TARGET_LENGTH)


@pytest.mark.parametrize("limits", [TINY, SMALL, LARGE], ids=["tiny", "small", "large"])
def test_cases_fit_the_model_and_reach_its_ends(limits: Limits) -> None:
    placed = limits.place(FULL)
    assert len(placed) >= 18
    for case in placed:
        rows = case.sources * case.rows_per_source
        assert limits.source is None or 1 <= case.source_length <= limits.source
        assert limits.target is None or case.past + case.new <= limits.target
        assert min(case.past, case.new - 1) >= 0
        assert 8 * limits.heads * case.source_length**2 <= 1 << 27
        assert 4 * limits.cached * rows * case.past <= 1 << 27
    if limits is not LARGE:
        assert max(case.source_length for case in placed) == limits.source
        assert max(case.past + case.new for case in placed) == limits.target
        assert max(case.past for case in placed) >= (limits.target or 0) - 3


def test_what_is_not_reached_is_told() -> None:
    assert TINY.left_out() == []
    assert LARGE.left_out() == ["positions from 16384 (the model has 131072)"]
    assert SMALL.left_out() == []
    wordy = replace(SMALL, read=50_265)
    assert wordy.left_out() == ["sources longer than 333 tokens (the model reads 1024)"]


@pytest.mark.parametrize("grid", [QUICK, FULL], ids=["quick", "full"])
def test_both_grids_have_what_matters(grid: tuple[Case, ...]) -> None:
    for cases in (limits.place(grid) for limits in (TINY, SMALL)):
        assert {1, 4} <= {case.rows_per_source for case in cases}
        assert {0, 1} <= {case.past for case in cases}
        assert {"none", "ragged"} <= {case.padding for case in cases}
    if grid is FULL:
        assert {1, 3, 5} <= {case.sources for case in cases}
        assert {1, 2} <= {case.source_length for case in cases}
        assert {"left", "right"} <= {case.padding for case in cases}
        assert any(case.new > 1 and case.past for case in cases)


@pytest.mark.parametrize("padding", ["none", "left", "right", "ragged"])
@pytest.mark.parametrize(("rows", "length"), [(1, 1), (3, 1), (5, 2), (4, 9)])
def test_every_row_has_tokens_in_one_piece(padding: str, rows: int, length: int) -> None:
    mask = padding_mask(rows, length, padding)  # type: ignore[arg-type]
    assert mask.shape == (rows, length)
    assert mask.dtype == np.int64
    for row in mask:
        places = np.flatnonzero(row)
        assert len(places) == places[-1] - places[0] + 1
    assert mask.all() == (padding == "none" or rows == 1 or length == 1)
    assert mask[:, -1].all() or padding in ("right", "ragged")
    assert mask[:, 0].all() or padding in ("left", "ragged")
