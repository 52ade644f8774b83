"""Wherever a job is killed, or its machine loses power, the same command ends with the same bytes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import BAD, EXPECTED, INPUT, Killed, assert_done, counting, killed_after, names, run

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs the names of open files")

POWER = pytest.mark.parametrize("power", [False, True], ids=["kill", "power cut"])
LAST_STEPS = ("complete", "synchronise", "give its name", "synchronise", "remove the journal", "synchronise")
STEPS_OF_A_CHUNK, CHUNKS = 4, 3
EARLIER = b"what an earlier job left\n"


def interrupted(target: Path, steps: int, *, power: bool) -> bool:
    """Whether so many steps were not enough."""
    killed = False
    with killed_after(steps, target.parent) as disk:
        try:
            run(target)
        except Killed:
            killed = True
    if killed and power:
        disk.cut_power()
    return killed


def steps_of(target: Path, content: bytes = INPUT, bad: int = BAD) -> int:
    """Of a job as a whole, or of what is left of it."""
    with killed_after(None, target.parent) as disk:
        assert run(target, content) == bad
    return disk.steps


@pytest.fixture
def target(tmp_path: Path) -> Callable[[], Path]:
    made = iter(range(10_000))

    def make() -> Path:
        folder = tmp_path / str(next(made))
        folder.mkdir()
        path = folder / "results.txt"
        path.write_bytes(EARLIER)
        return path

    return make


@POWER
def test_killed_after_any_step(target: Callable[[], Path], power: bool) -> None:
    before, whole = steps_of(target(), b"", bad=0) - len(LAST_STEPS), steps_of(target())
    for steps in range(whole):
        path = target()
        assert interrupted(path, steps, power=power)
        assert path.read_bytes() in (EARLIER, EXPECTED)
        complete = path.read_bytes() == EXPECTED and names(path.parent) == [path.name]
        counted, attempted = counting()
        with killed_after(None, path.parent):
            assert run(path, job=counted) == BAD
        assert_done(path)
        recorded = max(0, steps - before) // STEPS_OF_A_CHUNK
        assert complete or len(attempted) <= max(0, CHUNKS - recorded), "what was recorded is not done again"


@POWER
def test_killed_again_while_it_goes_on(target: Callable[[], Path], power: bool) -> None:
    for first in range(steps_of(target())):
        for second in range(first % 3, 100, 3):
            path = target()
            assert interrupted(path, first, power=power)
            if not interrupted(path, second, power=power):
                break
            steps_of(path)
            assert_done(path)


def before_the_end(path: Path, left: int = len(LAST_STEPS)) -> tuple[Path, Path]:
    """Results and journal of a job that only has to be completed, of which so many steps are left."""
    whole = steps_of(path)
    path.write_bytes(EARLIER)
    assert interrupted(path, whole - left, power=False)
    return path.with_name("results.txt.partial"), path.with_name("results.txt.journal")


def test_a_journal_torn_at_any_byte(target: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path, content = target(), b"one\n\nthree\nfour"
    with killed_after(steps_of(path, content, bad=1) - len(LAST_STEPS), path.parent), pytest.raises(Killed):
        run(path, content)
    partial, journal = (path.with_name(f"results.txt.{kind}") for kind in ("partial", "journal"))
    results, records = partial.read_bytes(), journal.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda file: None)
    for length in range(len(records) + 1):
        for rest in (b"", b"\0" * 7) if length % 9 == 0 else (b"",):
            partial.write_bytes(results + b"torn")
            journal.write_bytes(records[:length] + rest)
            assert run(path, content) == 1
            assert_done(path, b"ONE!\n\nTHREE!\nFOUR!\n")


def test_results_that_are_not_as_they_were_left_are_done_again(
    target: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = target()
    partial, journal = before_the_end(path)
    results, records = partial.read_bytes(), journal.read_bytes()
    for length in range(len(results)):
        for damaged in (results[:length], results[:length] + b"?" + results[length + 1 :]):
            partial.write_bytes(damaged)
            journal.write_bytes(records)
            capsys.readouterr()
            steps_of(path)
            assert "results.txt.partial: not as it was left" in capsys.readouterr().err
            assert_done(path)


@pytest.mark.parametrize("there", [EXPECTED, EXPECTED[:-1], EXPECTED + b"!", b"", None])
def test_only_the_journal_is_left(target: Callable[[], Path], there: bytes | None) -> None:
    """Its results have their name; if something else has it by now, they are made again."""
    path = target()
    partial, journal = before_the_end(path, left=3)
    assert not partial.exists()
    assert journal.exists()
    number = path.stat().st_ino
    if there is None:
        path.unlink()
    else:
        path.write_bytes(there)
    steps_of(path)
    assert_done(path)
    if there == EXPECTED:
        assert path.stat().st_ino == number


def test_a_kill_leaves_what_was_there_before(target: Callable[[], Path]) -> None:
    path = target()
    before_the_end(path)
    assert path.read_bytes() == EARLIER
    assert names(path.parent) == ["results.txt", "results.txt.journal", "results.txt.partial"]
