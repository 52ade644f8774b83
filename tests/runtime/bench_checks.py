"""What holds of every report of `diptych bench`, whatever machine it is made on."""

import json
from typing import Any

import pytest

from diptych.runtime.command import main

# As little as gives a figure.
QUICK = ("--threads", "1", "--rounds", "2", "--loads", "0")
PARTS = {"report_version", "machine", "bundle", "rounds", "texts_file", "load", "cells"}
MACHINE = {
    *("processor", "system", "cores", "logical_cores", "threads", "instruction_sets", "versions"),
    *("provider", "read", "multiplies_gflops", "foreign_load"),
}
BUNDLE = {"folder", "task", "family", "parameters", "precision", "weights_bytes", "file_bytes", "work"}
LOAD = {"loads", "first_seconds", "seconds", "process_seconds", "memory_bytes"}
EVERY_CELL = {"batch", "seconds", "floor", "peak_memory_bytes", "peak_memory_from"}
GENERATING = EVERY_CELL | {
    *("beams", "source_length", "new_tokens"),
    *("first_token_seconds", "step_seconds", "tokens_per_second"),
}
READING = EVERY_CELL | {"length", "texts_per_second", "tokens_per_second"}
# Caches and other processes make rates waver; a share far above 1 would be wrong arithmetic.
MOST_SHARE = 2.0


def bench(*arguments: object) -> int:
    """The exit status of `diptych bench ARGUMENTS`, in this process."""
    with pytest.raises(SystemExit) as ended:
        main(["bench", *map(str, arguments)])
    return int(ended.value.code or 0)


def report_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What `diptych bench ARGUMENTS --json -` writes, where nothing is wrong."""
    status = bench(*arguments, "--json", "-")
    out, err = capsys.readouterr()
    assert (status, err) == (0, ""), err
    report: dict[str, Any] = json.loads(out)
    assert report.keys() == PARTS
    assert report["machine"].keys() == MACHINE
    assert report["bundle"].keys() == BUNDLE
    assert report["load"] is None or report["load"].keys() == LOAD
    return report


def assert_plausible(value: dict[str, float]) -> None:
    assert value.keys() == {"median", "lowest", "highest"}
    assert 0 < value["lowest"] <= value["median"] <= value["highest"]


def assert_generating(cell: dict[str, Any]) -> None:
    assert cell.keys() == GENERATING
    assert_plausible(cell["seconds"])
    assert_plausible(cell["first_token_seconds"])
    assert_plausible(cell["tokens_per_second"])
    count = cell["batch"] * cell["new_tokens"]
    assert cell["tokens_per_second"]["highest"] == pytest.approx(count / cell["seconds"]["lowest"])
    assert cell["floor"].keys() == {"seconds", "first_token_seconds", "step_seconds", "share"}
    steps = (cell["new_tokens"] - 1) * cell["floor"]["step_seconds"]
    assert cell["floor"]["seconds"] == pytest.approx(cell["floor"]["first_token_seconds"] + steps)
    assert_measured(cell)


def assert_reading(cell: dict[str, Any]) -> None:
    assert cell.keys() == READING
    assert_plausible(cell["seconds"])
    for key, count in (("texts_per_second", cell["batch"]), ("tokens_per_second", cell["batch"] * cell["length"])):
        assert cell[key]["lowest"] == pytest.approx(count / cell["seconds"]["highest"])
    assert cell["floor"].keys() == {"seconds", "share"}
    assert_measured(cell)


def assert_measured(cell: dict[str, Any]) -> None:
    assert 0 < cell["floor"]["share"] < MOST_SHARE
    assert cell["floor"]["share"] == pytest.approx(cell["floor"]["seconds"] / cell["seconds"]["median"])
    assert cell["peak_memory_from"] in ("kernel", "sampled", "unknown")
    # Python and ONNX Runtime alone take so much.
    assert cell["peak_memory_bytes"] is None or 20e6 < cell["peak_memory_bytes"] < 1e12
