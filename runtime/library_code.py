"""The code of loaded libraries: much of what makes a session is run once."""

import ctypes
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

_SMAPS = Path("/proc/self/smaps")
# A mapping's first line, and how much of it is the process's own: of code that nobody altered, nothing.
_LIBRARY = re.compile(
    r"^([0-9a-f]+)-([0-9a-f]+) r-[x-]p [^\n]*\.so[^\n/]*\n(?:[A-Z][^\n]*\n)*?Anonymous: +0 kB$", re.MULTILINE
)


def let_go() -> None:
    """Of the pages of all libraries; those that are run again are found in the system's cache. Does nothing elsewhere
    than on Linux.
    """
    if not hasattr(mmap, "MADV_DONTNEED") or not _SMAPS.exists():
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for begin, end in _unaltered(_SMAPS.read_text()):
        madvise(begin, end - begin, mmap.MADV_DONTNEED)


def _unaltered(smaps: str) -> Iterator[tuple[int, int]]:
    """Where libraries' mappings are that cannot be written, and have no page that differs from the file."""
    for found in _LIBRARY.finditer(smaps):
        yield int(found[1], 16), int(found[2], 16)
