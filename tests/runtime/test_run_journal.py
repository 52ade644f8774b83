"""What is kept of an interrupted job is gone on with by the same job alone, and by one process at a time."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jobs import BAD, EXPECTED, FACTS, INPUT, JOB, assert_done, counting, names, run

from diptych.runtime.corpus.errors import JournalError, OutputError
from diptych.runtime.corpus.journalled import JournalledOutput
from diptych.runtime.errors import EngineError

LINES = INPUT.split(b"\n")


def failing(after: int, error: BaseException) -> Any:
    """The job whose engine fails after so many chunks."""
    left = iter(range(after))

    def attempt(texts: list[Any], first: int) -> list[Any]:
        if next(left, None) is None:
            raise error
        return JOB.attempt(texts, first)

    return replace(JOB, attempt=attempt)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """After a run that failed in the third chunk, nine lines done, both bad ones among them."""
    path = tmp_path / "results.txt"
    with pytest.raises(EngineError, match="gave up"):
        run(path, job=failing(2, EngineError("gave up")))
    return path


ERRORS = [EngineError("gave up"), MemoryError(), KeyboardInterrupt(), RuntimeError("a defect")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_failure_stops_the_job_and_keeps_what_is_done(
    tmp_path: Path, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.txt"
    with pytest.raises(type(error)):
        run(path, job=failing(2, error))
    told = capsys.readouterr().err
    assert f"9 lines are kept in {path}.partial; the same command goes on after them." in told
    assert not path.exists()
    assert run(path) == BAD
    assert_done(path)
    told = capsys.readouterr().err
    assert told == "bad lines: 2 in all, 2 of them told by an earlier run.\n"


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_failure_before_anything_is_done_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)):
        run(tmp_path / "results.txt", job=failing(0, error))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"num_beams": 5}, "num_beams was 4, is 5"),
        ({"bundle": "f00d"}, 'bundle was "cafe", is "f00d"'),
        ({"suppress_tokens": [2, 1]}, "suppress_tokens was [1, 2], is [2, 1]"),
        ({"length_penalty": 1.5}, "length_penalty was null, is 1.5"),
        ({"num_beams": 1, "json": True}, "num_beams was 4, is 1; json was null, is true"),
    ],
)
def test_another_job_is_told_and_refused(target: Path, facts: dict[str, Any], told: str) -> None:
    kept = {path.name: path.read_bytes() for path in target.parent.iterdir()}
    with pytest.raises(JournalError, match="9 lines of another job are done") as refused:
        run(target, **facts)
    assert told in str(refused.value)
    assert "--restart begins anew" in str(refused.value)
    assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == kept
    assert run(target, restart=True, **facts) == BAD
    assert_done(target)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (INPUT.replace(b"two", b"too"), "lines 1 to 3 of the input are others now"),
        (INPUT.replace(b"nine", b"mine"), "lines 4 to 9 of the input are others now"),
        (INPUT.replace(b"\r\n", b"\n"), "lines 4 to 9 of the input are others now"),
        (b"\n".join(LINES[:9]), "lines 4 to 9 of the input are others now"),
        (b"\n".join(LINES[:3]) + b"\n", "the input ends after line 3"),
        (b"", "the input ends after line 0"),
    ],
)
def test_another_input_is_told_and_refused(target: Path, content: bytes, told: str) -> None:
    with pytest.raises(JournalError, match="another job") as refused:
        run(target, content)
    assert told in str(refused.value)
    assert run(target) == BAD
    assert_done(target)


def test_an_input_that_has_grown_is_gone_on_with(target: Path) -> None:
    assert run(target, INPUT + b"\nfourteen\n") == BAD
    assert_done(target, EXPECTED + b"FOURTEEN!\n")


def test_restart_begins_the_same_job_anew(target: Path) -> None:
    job, seen = counting()
    assert run(target, job=job, restart=True) == BAD
    assert seen == [3, 6, 4]
    assert_done(target)


def test_where_nothing_was_done_there_is_nothing_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "results.txt"
    with JournalledOutput(path, FACTS):
        pass
    assert names(tmp_path) == ["results.txt.journal", "results.txt.partial"]
    assert run(path, num_beams=9) == BAD
    assert_done(path)


def test_one_process_at_a_time(target: Path) -> None:
    with JournalledOutput(target, FACTS) as first:
        assert first.kept.lines == 9
        for restart in (False, True):
            with pytest.raises(OutputError, match="in use by another process"):
                run(target, restart=restart)
    assert run(target) == BAD
    assert_done(target)


@pytest.mark.parametrize("restart", [False, True])
def test_what_is_no_journal_is_left_alone(tmp_path: Path, restart: bool) -> None:
    for content in (b"my notes\n", b'{"diptych journal": 2, ', b'{"diptych"}\n'):
        (tmp_path / "results.txt.journal").write_bytes(content)
        with pytest.raises(JournalError, match="no journal that this diptych writes"):
            run(tmp_path / "results.txt", restart=restart)
        assert (tmp_path / "results.txt.journal").read_bytes() == content


def test_results_without_a_journal_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "results.txt.partial").write_bytes(b"a download")
    with pytest.raises(JournalError, match="without its journal"):
        run(tmp_path / "results.txt")
    assert names(tmp_path) == ["results.txt.partial"]
    assert run(tmp_path / "results.txt", restart=True) == BAD
    assert_done(tmp_path / "results.txt")


def test_a_journal_without_its_results_waits_for_them(target: Path) -> None:
    partial = Path(f"{target}.partial")
    away = partial.rename(target.parent / "away")
    with pytest.raises(JournalError, match="missing, with 9 lines done; put it back"):
        run(target)
    away.rename(partial)
    counted, seen = counting()
    assert run(target, job=counted) == BAD
    assert seen == [4]
    assert_done(target)


def test_a_journal_that_does_not_tell_its_job_is_refused(target: Path) -> None:
    journal = Path(f"{target}.journal")
    content = bytearray(journal.read_bytes())
    content[40] ^= 1
    journal.write_bytes(content)
    with pytest.raises(JournalError, match="damaged"):
        run(target)
    assert run(target, restart=True) == BAD
    assert_done(target)


@pytest.mark.parametrize("name", ["results.txt.partial", "results.txt.journal"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("elsewhere")])
def test_names_that_are_taken_are_told(tmp_path: Path, name: str, make: Callable[[Path], object]) -> None:
    make(tmp_path / name)
    with pytest.raises(OutputError, match=name):
        run(tmp_path / "results.txt")
    assert not (tmp_path / "results.txt").exists()


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "real.txt").write_bytes(b"earlier")
    (tmp_path / "link.txt").symlink_to("folder/real.txt")
    assert run(tmp_path / "link.txt") == BAD
    assert (tmp_path / "link.txt").is_symlink()
    assert_done(tmp_path / "folder" / "real.txt")


@pytest.mark.parametrize(("call", "after"), [("write", 3), ("write", 4), ("fsync", 6), ("fsync", 7)])
def test_a_disk_that_is_full_is_told_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: str, after: int
) -> None:
    """The results of a chunk, or its record, do not fit."""
    path, works, left = tmp_path / "results.txt", getattr(os, call), iter(range(after))

    def full(*arguments: Any) -> Any:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return works(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OutputError, match=r"results.txt.(partial|journal): No space left on device"):
            run(path)
    assert "the same command goes on" in capsys.readouterr().err
    assert run(path) == BAD
    assert_done(path)


def test_a_folder_that_is_moved_away_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()

    def attempt(texts: list[Any], first: int) -> list[Any]:
        if "NINE" in str(found := JOB.attempt(texts, first)):
            folder.rename(tmp_path / "away")
        return found

    with pytest.raises(OutputError, match="moved or removed while it was written"):
        run(folder / "results.txt", job=replace(JOB, attempt=attempt))
    assert f"3 lines are kept in {folder}/results.txt.partial" in capsys.readouterr().err
    (tmp_path / "away").rename(folder)
    assert run(folder / "results.txt") == BAD
    assert_done(folder / "results.txt")


def test_a_journal_is_lines_of_json(target: Path) -> None:
    lines = Path(f"{target}.journal").read_bytes().splitlines()
    job, *records = [json.loads(line.rpartition(b"\t")[0]) for line in lines]
    assert job == {"diptych journal": 1, "job": FACTS}
    assert [(record["lines"], record["bad"]) for record in records] == [(3, 1), (9, 2)]
    assert records[-1]["bytes"] == len(b"\n".join(LINES[:9])) + 1
    assert records[-1]["offset"] == Path(f"{target}.partial").stat().st_size
