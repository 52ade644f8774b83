"""Disks that are full or read-only: one message, nothing lost, and the same command ends with the same bytes."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


def mount(*arguments: object) -> bool:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk in memory, of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mounted = mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", folder)
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("nothing may be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def assert_one_message(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Error: ") == 1
    for part in parts:
        assert part in done.stderr


@pytest.fixture
def expected(run: Run, texts: Path, tmp_path: Path) -> bytes:
    run("--input", texts, "--output", tmp_path / "expected.jsonl")
    return (tmp_path / "expected.jsonl").read_bytes()


def test_a_full_disk(run: Run, texts: Path, disk: Path, expected: bytes) -> None:
    path = disk / "results.jsonl"
    arguments = ("--input", texts, "--output", path)
    for _ in range(2):
        full = run(*arguments)
        assert_one_message(full, f"Error: {path}.partial: No space left on device", "the same command goes on after")
        assert not path.exists()
    assert mount("-o", "remount,size=4m", disk)
    done = run(*arguments)
    assert (done.returncode, "Error" in done.stderr) == (1, False)
    assert path.read_bytes() == expected
    assert [*disk.iterdir()] == [path]


def test_a_disk_without_room_for_anything(run: Run, disk: Path) -> None:
    (disk / "other").write_bytes(b"x" * (60 << 10))
    with pytest.raises(OSError, match="No space"):
        (disk / "more").write_bytes(b"x" * (8 << 10))
    (disk / "more").unlink()
    (disk / "more").write_bytes(b"x" * (4 << 10))
    assert_one_message(run("old", "--output", disk / "results.jsonl"), "results.jsonl.journal: No space left on device")
    (disk / "more").unlink()
    (disk / "other").unlink()
    assert run("old", "--output", disk / "results.jsonl").returncode == 0
    assert [*disk.iterdir()] == [disk / "results.jsonl"]


def test_a_disk_that_is_read_only(run: Run, disk: Path) -> None:
    path = disk / "results.jsonl"
    path.write_text("earlier")
    assert mount("-o", "remount,ro", disk)
    assert_one_message(run("old", "--output", path), f"{path}: {disk} cannot be written")
    assert path.read_text() == "earlier"
    assert mount("-o", "remount,rw", disk)
    assert run("old", "--output", path).returncode == 0
    assert [*disk.iterdir()] == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_stream_without_room(run: Run, command: Callable[..., list[str]]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command("old"), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert_one_message(done, "stdout: No space left on device")
    assert_one_message(run("old", "--output", "/dev/full"), "/dev/full: No space left on device")
