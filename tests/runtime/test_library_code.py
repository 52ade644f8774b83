"""Which mappings are let go, and that what is in them still runs."""

import hashlib
import mmap
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from diptych.runtime import library_code
from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.library_code import _unaltered, let_go

SMAPS = b"""\
1000-2000 r-xp 00001000 fe:00 3406        /lib/libone.so.3
Size:               4 kB
Rss:                4 kB
Anonymous:          0 kB
VmFlags: rd ex mr mw me
2000-3000 r--p 00002000 fe:00 3406        /lib/libone.so.3
Rss:                4 kB
Anonymous:          4 kB
VmFlags: rd mr mw me
3000-4000 rw-p 00003000 fe:00 3406        /lib/libone.so.3
Rss:                0 kB
Anonymous:          0 kB
4000-5000 r--p 00000000 fe:00 3407        /lib/my libs/two.cpython-311.so
Rss:                0 kB
Anonymous:          0 kB
5000-6000 r--p 00000000 fe:00 3408        /weights.so.d/weights.data
Anonymous:          0 kB
6000-7000 rw-p 00000000 00:00 0           [heap]
Anonymous:          0 kB
"""


def test_what_is_written_or_altered_stays() -> None:
    assert list(_unaltered(SMAPS)) == [
        (0x1000, 0x2000, b"/lib/libone.so.3"),
        (0x4000, 0x5000, b"/lib/my libs/two.cpython-311.so"),
    ]


def test_nothing_is_found_in_nothing() -> None:
    assert list(_unaltered(b"")) == []


def read_of(library: str) -> int:
    """KB of a library's code and constants that are in memory."""
    parts = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    own = [part for part in parts if library in part.split("\n", 1)[0] and " r-" in part]
    return sum(int(found[1]) for part in own if (found := re.search(r"^Rss:\s+(\d+) kB$", part, re.MULTILINE)))


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_code_is_let_go_and_runs_on() -> None:
    values = np.arange(64.0).reshape(8, 8)
    expected = hashlib.sha256(b"text").hexdigest(), (values @ values).tolist()
    assert ort.get_available_providers()  # Of its code something was run, whatever was let go before.
    before = read_of("onnxruntime_pybind11_state")
    let_go()
    assert read_of("onnxruntime_pybind11_state") < before
    assert (hashlib.sha256(b"text").hexdigest(), (values @ values).tolist()) == expected


def test_libraries_that_came_later_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "smaps").write_bytes(SMAPS)
    monkeypatch.setattr(library_code, "_SMAPS", tmp_path / "smaps")
    given: list[object] = []

    def madvise(*told: object) -> None:
        given.append(told[:2])

    monkeypatch.setattr(library_code.ctypes, "CDLL", lambda _: SimpleNamespace(madvise=madvise))
    monkeypatch.setattr(library_code.mmap, "MADV_DONTNEED", 4, raising=False)
    monkeypatch.setattr(library_code, "_loaded", {b"/lib/libone.so.3"})
    let_go()
    assert given == [(0x1000, 0x1000)]


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_systems_that_do_not_tell_lose_nothing(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(library_code, "_SMAPS", tmp_path / name)
    monkeypatch.setattr(library_code.ctypes, "CDLL", None)
    let_go()


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_paths_need_not_be_text(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.so"
    Path(os.fsdecode(path)).write_bytes(bytes(4096))
    with Path(os.fsdecode(path)).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[0] == 0
        let_go()
