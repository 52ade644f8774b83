"""A real job of 5,000 lines, killed again and again: every byte is what an uninterrupted run writes."""

import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

KILLS, BAD = 20, 4
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def expected(run: Run, texts: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("expected") / "results.jsonl"
    done = run("--input", texts, "--output", path)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, BAD)
    assert [*path.parent.iterdir()] == [path]
    assert path.read_bytes().count(b"\n") == 5000
    return path.read_bytes()


def test_stdout_gets_the_same(run: Run, texts: Path, expected: bytes) -> None:
    with texts.open("rb") as file:
        assert run(stdin=file).stdout.encode() == expected


def test_killed_at_random_moments(
    command: Callable[..., list[str]], texts: Path, expected: bytes, tmp_path: Path
) -> None:
    """Half of the runs read from a pipe. A job that is completed meanwhile is begun again."""
    draw, kills, moments = random.Random(0), 0, set()
    path, journal = tmp_path / "results.jsonl", tmp_path / "results.jsonl.journal"
    while kills < KILLS or not path.exists():
        if path.exists():
            path.unlink()
        source = subprocess.Popen(["cat", texts], stdout=subprocess.PIPE) if draw.random() < 0.5 else None
        process = subprocess.Popen(
            command("--output", path) if source else command("--input", texts, "--output", path),
            stdin=source.stdout if source else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        moment = size(journal) + draw.randrange(900)
        while kills < KILLS and process.poll() is None:
            time.sleep(0.001 + 0.02 * draw.random())
            if size(journal) > moment:
                process.kill()
                break
        _, told = process.communicate(timeout=120)
        if source:
            source.communicate(timeout=120)
        if process.returncode < 0:
            kills += 1
            moments.add(size(journal))
        else:
            assert process.returncode == 1, told
            assert path.read_bytes() == expected
            assert [*tmp_path.iterdir()] == [path]
    assert len(moments) > 3


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
