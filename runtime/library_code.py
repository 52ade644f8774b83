"""The code of loaded libraries: much of what makes a session is run once."""

import ctypes
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from diptych.runtime import engine  # noqa: F401  Loads ONNX Runtime's libraries, which are to be among those below.

_MAPS, _SMAPS = Path("/proc/self/maps"), Path("/proc/self/smaps")
# A mapping's first line, and how much of it is the process's own: of code that nobody altered, nothing.
_LIBRARY = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) r-[x-]p [^\n/]*(/[^\n]*\.so[^\n/]*)\n(?:[A-Z][^\n]*\n)*?Anonymous: +0 kB$", re.MULTILINE
)


def let_go() -> None:
    """Of the pages of libraries; those that are run again are found in the system's cache. Does nothing elsewhere than
    on Linux.
    """
    smaps = _read(_SMAPS)
    if not smaps or not hasattr(mmap, "MADV_DONTNEED"):
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for begin, end, path in _unaltered(smaps):
        if path in _loaded:
            madvise(begin, end - begin, mmap.MADV_DONTNEED)


def _unaltered(smaps: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Where libraries' mappings are that cannot be written, and have no page that differs from the file."""
    for found in _LIBRARY.finditer(smaps):
        yield int(found[1], 16), int(found[2], 16), found[3]


def _read(path: Path) -> bytes:
    """Nothing where the system does not tell."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


# By path. Others may be half loaded by another thread, with mappings that are not yet what they will be.
_loaded = set(re.findall(rb"/[^\n]*\.so[^\n/]*$", _read(_MAPS), re.MULTILINE))
