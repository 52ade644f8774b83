"""What `diptych run` does to files: nothing is lost, nothing is half-written."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

DIPTYCH = Path(sys.executable).parent / "diptych"


def run(bundle: Path, *arguments: str | Path, **settings: object) -> subprocess.CompletedProcess[bytes]:
    command = [str(DIPTYCH), "run", str(bundle), "--threads", "1", "--num-beams", "1", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, **settings)  # type: ignore[call-overload]


def assert_refused(result: subprocess.CompletedProcess[bytes], status: int) -> None:
    assert result.returncode == status, result.stderr
    assert b"Traceback" not in result.stderr
    assert result.stderr.count(b"Error") == 1


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines.txt"
    path.write_text("Hello.\nThank you.\n", encoding="utf-8")
    return path


def test_the_input_is_not_its_own_output(bundle: Path, lines: Path) -> None:
    before = lines.read_bytes()
    assert_refused(run(bundle, "--input", lines, "--output", lines), 2)
    assert lines.read_bytes() == before


def test_an_output_stays_as_it_was_when_an_option_is_wrong(bundle: Path, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.txt"
    earlier.write_text("kept")
    assert_refused(run(bundle, "Hello.", "--output", earlier, "--max-new-tokens", "100000"), 2)
    assert earlier.read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["earlier.txt"]


def test_an_output_is_replaced_when_it_is_whole(bundle: Path, lines: Path, tmp_path: Path) -> None:
    target = tmp_path / "french.txt"
    target.write_text("earlier")
    assert run(bundle, "--input", lines, "--output", target).returncode == 0
    assert len(target.read_text(encoding="utf-8").splitlines()) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["french.txt", "lines.txt"]


def test_an_output_that_cannot_be_written_is_told(bundle: Path, tmp_path: Path) -> None:
    assert_refused(run(bundle, "Hello.", "--output", tmp_path / "no" / "such" / "folder.txt"), 2)


@pytest.mark.parametrize("kind", ["partial", "journal"])
def test_the_input_is_not_what_an_output_is_kept_in(bundle: Path, lines: Path, tmp_path: Path, kind: str) -> None:
    source = lines.rename(tmp_path / f"french.txt.{kind}")
    before = source.read_bytes()
    assert_refused(run(bundle, "--input", source, "--output", tmp_path / "french.txt"), 2)
    assert source.read_bytes() == before
    assert [*tmp_path.iterdir()] == [source]


def test_a_missing_folder_is_told_before_anything_is_opened(tmp_path: Path) -> None:
    result = run(tmp_path / "no bundle", "Hello.", "--output", tmp_path / "absent" / "french.txt")
    assert_refused(result, 2)
    assert f"there is no folder {tmp_path / 'absent'}".encode() in result.stderr


def test_restart_is_of_an_output(bundle: Path) -> None:
    assert_refused(run(bundle, "Hello.", "--restart"), 2)


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
def test_what_is_open_already_is_written_as_it_is(bundle: Path, tmp_path: Path) -> None:
    """Neither replaced nor emptied."""
    expected = run(bundle, "Hello.").stdout
    assert run(bundle, "Hello.", "--output", "/dev/stdout").stdout == expected
    with (tmp_path / "log").open("ab") as log:
        log.write(b"before\n")
        log.flush()
        command = [str(DIPTYCH), "run", str(bundle), "Hello.", "--num-beams", "1", "--output", "/dev/stdout"]
        assert subprocess.run(command, stdout=log, check=False).returncode == 0
    assert (tmp_path / "log").read_bytes() == b"before\n" + expected
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def _interrupt(process: "subprocess.Popen[bytes]") -> None:
    """A signal just before Python waits for input is seen after that, and this input never comes: send more."""
    for _ in range(6):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
            return
    pytest.fail("the interrupted process did not end")


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_an_interrupted_job_is_gone_on_with(bundle: Path, tmp_path: Path) -> None:
    """Its input is a pipe that gives forty lines and then waits."""
    target, texts = tmp_path / "french.txt", "".join(f"Hello {number}.\n" for number in range(50))
    command = [str(DIPTYCH), "run", str(bundle), "--threads", "1", "--num-beams", "1", "--max-new-tokens", "4"]
    expected = subprocess.run(command, input=texts.encode(), capture_output=True, check=True).stdout
    command += ["--output", str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write("".join(texts.splitlines(keepends=True)[:40]).encode())
        process.stdin.flush()
        journal = tmp_path / "french.txt.journal"
        while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") == 2):
            time.sleep(0.01)
        _interrupt(process)
        told = process.stderr.read().decode()
    assert process.returncode == 130
    assert told == f"32 lines are kept in {target}.partial; the same command goes on after them.\nInterrupted.\n"
    result = subprocess.run(command, input=texts.encode(), capture_output=True, check=False)
    assert (result.returncode, result.stderr, target.read_bytes()) == (0, b"", expected)
    assert [*tmp_path.iterdir()] == [target]


def test_rows_of_json(bundle: Path, lines: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "Hello."}\n"Thank you."\n{"txt": "Hello."}\n', encoding="utf-8")
    result = run(bundle, "--input", rows)
    assert result.returncode == 1
    assert result.stdout == run(bundle, "--input", lines).stdout + b"\n"
    assert result.stderr == b"line 3: unknown key 'txt'; known are text, target_prefix\n"
    assert run(bundle, '"Hello."', "--input-format", "jsonl").stdout == run(bundle, "Hello.").stdout


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_read_once(bundle: Path, lines: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["bash", "-c", f"cat '{lines}' > '{pipe}'"]) as writer:
        result = run(bundle, "--input", pipe, timeout=120)
        writer.wait(timeout=30)
    assert len(result.stdout.splitlines()) == 2, result.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_closed_standard_stream_is_told(bundle: Path, closed: str) -> None:
    result = subprocess.run(
        ["bash", "-c", f"'{DIPTYCH}' run '{bundle}' {closed}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert_refused(result, 2)


def test_a_byte_order_mark_is_no_text(bundle: Path, lines: Path, tmp_path: Path) -> None:
    marked = tmp_path / "marked.txt"
    marked.write_bytes(b"\xef\xbb\xbf" + lines.read_bytes())
    assert run(bundle, "--input", marked).stdout == run(bundle, "--input", lines).stdout


def test_an_argument_that_is_no_text_keeps_its_place(bundle: Path) -> None:
    result = subprocess.run(
        [os.fsencode(DIPTYCH), b"run", os.fsencode(bundle), b"--threads", b"1", b"a\xff", b"Hello."],
        capture_output=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith(b"line 1: not Unicode")
    assert len(result.stdout.split(b"\n")) == 3


@pytest.mark.parametrize(("option", "value"), [("--length-penalty", "1000"), ("--length-penalty", "-Infinity"),
    ("--num-beams", "1000000"), ("--repetition-penalty", "1e-30")])  # fmt: skip
def test_options_that_would_overflow_are_refused(bundle: Path, option: str, value: str) -> None:
    assert_refused(run(bundle, "Hello.", option, value), 2)


def test_strict_is_no_demand_on_the_cpu(bundle: Path) -> None:
    assert run(bundle, "Hello.", "--strict-provider").returncode == 0


def test_a_score_is_a_number_even_when_no_token_is_allowed(bundle: Path) -> None:
    result = run(bundle, "Hello.", "--json", "--suppress-tokens", str(list(range(5000))), "--max-new-tokens", "2")
    assert result.returncode == 0, result.stderr
    assert b"NaN" not in result.stdout
    assert b"Warning" not in result.stderr
