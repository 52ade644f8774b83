"""Systems in processes of their own, rounds, and the load of others."""

import os
import time
from pathlib import Path

import pytest
from harness import load
from harness import measure as measuring
from harness.load import ForeignLoad, busy, peak, reset_peak, resident, used
from harness.measure import Settings, measure, rotated
from harness.processes import Worker, WorkerError, prepare
from harness.system import Cell, System

ECHO = System("echo", "benchmarks.echo_system:Echo")
OTHER = System("other", "benchmarks.echo_system:Echo")
SETTINGS = Settings(threads=1, rounds=3, seconds=0.0, foreign=1000.0)


def cell(*row: int) -> Cell:
    return Cell("a cell", "tiny", [list(row)])


def test_a_worker_tells_seconds_and_the_result(tmp_path: Path) -> None:
    with Worker(ECHO, tmp_path, 1, tmp_path / "log") as worker:
        told = worker.run(cell(1, 2).asked, repeats=3)
        assert worker.versions.keys() == {"numpy"}
        assert 0 < worker.libraries <= worker.loaded
    assert told["result"] == [[1, 2]]
    assert len(told["seconds"]) == 3
    assert "a line of the engine's own" in (tmp_path / "log").read_text()


def test_a_failing_system_is_named_and_can_be_asked_again(tmp_path: Path) -> None:
    with Worker(ECHO, tmp_path, 1, tmp_path / "log") as worker:
        with pytest.raises(WorkerError, match="echo: RuntimeError: unlucky"):
            worker.run(cell(13).asked)
        assert worker.run(cell(1).asked)["result"] == [[1]]


def test_a_process_that_ends_is_told(tmp_path: Path) -> None:
    with Worker(ECHO, tmp_path, 1, tmp_path / "log") as worker, pytest.raises(WorkerError, match="status 3"):
        worker.run(cell(14).asked)


def test_a_refused_checkpoint_is_told(tmp_path: Path) -> None:
    prepare(ECHO, tmp_path, tmp_path / "model", tmp_path / "log", 1)
    assert (tmp_path / "model" / "model").read_bytes() == b"12345"
    refusing = System("refusing", ECHO.adapter, options=("refuse",))
    with pytest.raises(WorkerError, match="refusing could not take the checkpoint"):
        prepare(refusing, tmp_path, tmp_path / "none", tmp_path / "log", 1)
    assert "ValueError: refused" in (tmp_path / "log").read_text()


def test_every_system_has_every_round(tmp_path: Path) -> None:
    model = tmp_path / "model"
    prepare(ECHO, tmp_path, model, tmp_path / "log", 1)
    found, failed = measure(cell(1), {ECHO: model, OTHER: model}, SETTINGS, tmp_path / "logs")
    assert not failed
    for measured in found.values():
        assert len(measured.seconds) == len(measured.foreign) == 3
        assert min(measured.peak, measured.loaded, measured.libraries) > 0
        assert measured.disk == 5
        assert measured.result == [[1]]


def test_a_failing_system_leaves_the_others(tmp_path: Path) -> None:
    wrong = System("wrong", "benchmarks.no_such_module:Echo")
    found, failed = measure(cell(1), {wrong: tmp_path, ECHO: tmp_path}, SETTINGS, tmp_path)
    assert found.keys() == {"echo"}
    assert "process ended" in failed["wrong"]


def test_disturbed_rounds_are_measured_again_while_retries_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = iter([0.5, 0.0, 0.5, 0.5, 0.0])

    class Told(ForeignLoad):
        def __exit__(self, *error: object) -> None:
            self.processors = next(loads)

    monkeypatch.setattr(measuring, "ForeignLoad", Told)
    monkeypatch.setattr(measuring, "wait_for_calm", lambda limit, patience: None)
    settings = Settings(threads=1, rounds=3, seconds=0.0, foreign=0.1, retries=2)
    found, _ = measure(cell(1), {ECHO: tmp_path}, settings, tmp_path / "logs")
    assert found["echo"].foreign == [0.0, 0.5, 0.0]


def test_systems_begin_in_turn() -> None:
    assert [rotated("abc", by) for by in range(4)] == [[*"abc"], [*"bca"], [*"cab"], [*"abc"]]
    assert rotated("", 3) == []


def test_idle_and_waiting_processors_are_not_busy_and_stolen_ones_are() -> None:
    tick = os.sysconf("SC_CLK_TCK")
    assert busy(f"cpu  {tick} 0 {tick} {9 * tick} {7 * tick} 0 0 {tick} 0 0\ncpu0 1 1 1 1\n") == pytest.approx(3)


def test_foreign_is_what_was_busy_and_not_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    # Four seconds: 5 processor seconds busy, 3.4 of them one's own.
    monkeypatch.setattr(load, "_stat", iter([f"cpu {n * tick} 0 0 0 0 0 0 0\n" for n in (10, 15)]).__next__)
    clocks = iter([7.0, 10.4])
    monkeypatch.setattr(load, "used", lambda pid: next(clocks))
    monkeypatch.setattr(load.time, "perf_counter", iter([100.0, 104.0]).__next__)
    with ForeignLoad(1) as foreign:
        pass
    assert foreign.processors == pytest.approx(0.4)


def test_the_clock_of_a_process_is_what_it_spent() -> None:
    outer, inner = time.process_time(), used(os.getpid())
    sum(range(1_000_000))
    spent = used(os.getpid()) - inner
    assert 0 < spent <= time.process_time() - outer


def test_the_peak_is_of_the_time_since_it_was_reset() -> None:
    block = b"x" * 60_000_000
    held = resident(os.getpid())
    del block
    reset_peak(os.getpid())
    assert peak(os.getpid()) < held
