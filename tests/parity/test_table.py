"""What `verify` prints fits a terminal, stays whole in a pipe, and takes no text for markup."""

import io
import re
from collections.abc import Callable

import pytest
from parity import made_reports
from rich.cells import cell_len
from rich.console import Console

from diptych.export.parity.display.table import show
from diptych.export.parity.report import Report

Make = Callable[[], Report]
EVERY = pytest.mark.parametrize("make", made_reports.EVERY)


def printed(report: Report, *, terminal: bool = False, width: int = 80) -> str:
    file = io.StringIO()
    show(report, Console(file=file, width=width, force_terminal=terminal, color_system=None))
    return file.getvalue()


@EVERY
@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(make: Make, width: int) -> None:
    lines = printed(make(), terminal=True, width=width).splitlines()
    assert max(map(cell_len, lines)) <= width


@EVERY
def test_nothing_but_text_reaches_a_pipe(make: Make) -> None:
    text = printed(make())
    assert all(character.isprintable() or character in "\n\u200d" for character in text)
    assert not any(line != line.rstrip() for line in text.splitlines())
    text.encode()


def test_a_line_says_what_was_found_at_a_level() -> None:
    lines = printed(made_reports.full()).splitlines()
    assert lines[0].startswith("translate, marian: full verification on CPUExecutionProvider")
    assert lines[2] == "ok    weights       0.4 s  62 tensors stored, 60 compared: all equal"
    assert re.match(r"ok    tensors      12\.1 s  26 outputs in 23 cases: worst error \S+, 1\.6x float32's", lines[3])
    assert lines[4].endswith("3 hold, 1 exempt (permutation: positions are learned)")
    assert lines[5].endswith(
        "greedy: 102 of 102 identical; beam 4: 101 of 102 identical, 1 near-tie; "
        "least margin 3.1e-03, logit error 2.2e-06"
    )
    assert lines[-1] == "PASSED  in 15.7 s"


def test_what_was_not_checked_is_said() -> None:
    lines = printed(made_reports.quick()).splitlines()
    assert [line.split()[:2] for line in lines[4:7]] == [["-", "properties"], ["-", "tokens"], ["-", "text"]]
    assert all(line.endswith("not checked") for line in lines[4:7])


def test_the_verdict_names_the_first_failure_and_its_module() -> None:
    report = made_reports.failing()
    lines = printed(report).splitlines()
    first = report.failures[0]
    assert lines[-1] == f"FAILED  tensors: {first.what} (module {first.module}); 14 more failures"
    assert [line.split()[0] for line in lines[1:7]] == ["ok", "ok", "FAIL", "ok", "FAIL", "ok"]


def test_ten_failures_are_listed_and_the_rest_counted() -> None:
    report = made_reports.failing()
    lines = printed(report).splitlines()
    start = lines.index("failures") + 1
    assert len(report.failures) == 15
    assert lines[start + 10] == "  and 5 more"
    assert not lines[start + 11]


def test_bisection_shows_what_enters_and_what_leaves() -> None:
    text = printed(made_reports.failing())
    assert "decoder.layers.3.feedforward.down is where the error enters: decoder.onnx" in text
    assert re.search(r"  in +1\.3e-06 +1\.1e-06 +1\.2x  decoder\.layers\.3\.feedforward\.up \[12, 1, 512\]", text)
    assert re.search(r"  out +5\.3e-02 +1\.7e-06 +3\.1e\+04x  decoder\.layers\.3\.feedforward\.down", text)
    assert "nodes  MatMul /decoder/layers.3/feedforward/down/MatMul" in text


def test_an_infinite_error_has_a_word() -> None:
    text = printed(made_reports.infinite())
    assert "worst error infinite (bound 4x): encoder.onnx last_hidden_state" in text
    assert not re.search(r"\b(inf|nan)\b", text)


def test_texts_are_no_markup() -> None:
    text = printed(made_reports.hostile())
    assert "[bold red]not markup[/bold red] :smile: [/]" in text
    assert r"\x1b[31mred\x1b[0m\x07" in text
    assert r"two\nlines\tand \u2028 another" in text


def test_colour_is_for_terminals() -> None:
    file = io.StringIO()
    show(made_reports.full(), Console(file=file, force_terminal=True, color_system="standard"))
    assert "\x1b[1;32mPASSED" in file.getvalue()


def test_without_times_there_is_no_column_for_them() -> None:
    file = io.StringIO()
    report = made_reports.full()
    report.seconds.clear()
    show(report, Console(file=file, width=80))
    lines = file.getvalue().splitlines()
    assert lines[2] == "ok    weights     62 tensors stored, 60 compared: all equal"
    assert lines[-1] == "PASSED"
