"""What the machine was doing: processor time of others, and a process's memory. Linux only: read from /proc."""

import os
import time
from pathlib import Path
from typing import Self

_TICK = os.sysconf("SC_CLK_TCK")
_CALM_WINDOW = 0.1  # seconds; /proc/stat counts hundredths


def busy(stat: str) -> float:
    """Processor seconds since boot that were not idle, over all processors, from the text of /proc/stat.

    Time stolen by the host counts as busy: to us it was another's.
    """
    fields = [int(field) for field in stat.split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = fields
    return (user + nice + system + interrupts + soft + stolen) / _TICK


def used(pid: int) -> float:
    """Processor seconds a process and its threads have used."""
    return time.clock_gettime((~pid << 3) | 2)  # Linux's clock of a process, as clock_getcpuclockid(3) makes it.


class ForeignLoad:
    """While entered, watches how many processors others than one process kept busy, on average: `.processors`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.processors = 0.0

    def __enter__(self) -> Self:
        self._started = time.perf_counter(), busy(_stat()), used(self._pid)
        return self

    def __exit__(self, *error: object) -> None:
        started, before, own = self._started
        try:
            others = busy(_stat()) - before - (used(self._pid) - own)
        except OSError:
            return  # The process has ended; its worker says so.
        self.processors = max(0.0, others / (time.perf_counter() - started))


def wait_for_calm(limit: float, patience: float) -> None:
    """Wait until at most `limit` processors are busy, or `patience` seconds: threads spin on after their work."""
    deadline = time.perf_counter() + patience
    while True:
        before = busy(_stat())
        time.sleep(_CALM_WINDOW)
        if (busy(_stat()) - before) / _CALM_WINDOW <= limit or time.perf_counter() > deadline:
            return


def resident(pid: int) -> int:
    """Bytes a process has in memory now, mapped files included."""
    return _status(pid, "VmRSS")


def reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pid: int) -> int:
    """The most bytes it had in memory since `reset_peak`."""
    return _status(pid, "VmHWM")


def _stat() -> str:
    return Path("/proc/stat").read_text()


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return 1024 * int(line.split()[1])
    raise ProcessLookupError(f"process {pid} has ended")
