"""The most memory that a process has resident while something runs."""

import ctypes
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diptych.runtime.errors import OptionError
from diptych.runtime.memory_limit import resident

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET_PEAK = "5"
# The kernel counts pages a few at a time for each thread.
_BLUR = 8 << 20
_INTERVAL = 0.001


@dataclass(frozen=True)
class Peak:
    """size: in bytes, None where the system tells nothing. how: by the kernel, or by looking every millisecond."""

    size: int | None
    how: Literal["kernel", "sampled", "unknown"]


def peak_of(run: Callable[[], object]) -> Peak:
    """The peak while it runs, all that the process had before included.

    Memory that was freed before goes back to the system first, where the C library can: it would be counted else.
    """
    _trim()
    if _reset():
        run()
        return Peak(_kernel_peak(), "kernel")
    return _sampled(run)


def _reset() -> bool:
    try:
        _CLEAR.write_text(_RESET_PEAK)
        peak = _kernel_peak()
        return peak is not None and peak <= resident() + _BLUR
    except (OSError, OptionError):
        return False


def _kernel_peak() -> int | None:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    return None if found is None else int(found[1]) << 10


def _sampled(run: Callable[[], object]) -> Peak:
    try:
        sizes = [resident()]
    except OptionError:
        run()
        return Peak(None, "unknown")
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_INTERVAL):
            sizes[0] = max(sizes[0], resident())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        run()
    finally:
        ended.set()
        thread.join()
    return Peak(max(sizes[0], resident()), "sampled")


def _trim() -> None:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # Not glibc.
        return
    trim(0)
