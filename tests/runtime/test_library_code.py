"""Which mappings are let go, and that what is in them still runs."""

import hashlib
import sys

import numpy as np
import pytest

from diptych.runtime import library_code
from diptych.runtime.library_code import _unaltered, let_go

SMAPS = """\
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
    assert list(_unaltered(SMAPS)) == [(0x1000, 0x2000), (0x4000, 0x5000)]


def test_nothing_is_found_in_nothing() -> None:
    assert list(_unaltered("")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_code_runs_on() -> None:
    values = np.arange(64.0).reshape(8, 8)
    expected = hashlib.sha256(b"text").hexdigest(), (values @ values).tolist()
    let_go()
    assert (hashlib.sha256(b"text").hexdigest(), (values @ values).tolist()) == expected


def test_systems_without_it_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(library_code, "_SMAPS", type(library_code._SMAPS)(f"{tmp_path}/smaps"))
    let_go()
