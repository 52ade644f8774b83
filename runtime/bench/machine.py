"""The machine that a bundle is measured on, and what else it was busy with meanwhile."""

import os
import platform
import re
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from diptych.runtime.engine import onnxruntime

_PROCESSORS, _SYSTEM = Path("/proc/cpuinfo"), Path("/proc/stat")
# Those that kernels of matrix products are written for.
_SETS = (
    *("avx", "avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx10"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
_IDLE = (3, 4)  # idle and iowait, of the fields of /proc/stat.
_GUEST = 8  # From here on time that is counted as user's already.


def describe(threads: int) -> dict[str, Any]:
    """Processor, cores, versions; threads: as asked for, 0 = one per core. What the system does not tell is None."""
    told = _read(_PROCESSORS)
    names = re.findall(r"^(?:model name|Model|Hardware|cpu model)\s*:\s*(.+?)\s*$", told, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", told, re.MULTILINE)
    cores = _physical_cores(told)
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores,
        "logical_cores": os.cpu_count(),
        "threads": threads or cores,
        "instruction_sets": None if flags is None else [name for name in _SETS if name in flags[1].split()],
        "versions": {
            "diptych": version("diptych"),
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


@dataclass(frozen=True)
class Busy:
    """Seconds of processor time since the system started: of all processes, and of this one and its children."""

    everyone: float
    own: float
    clock: float

    @staticmethod
    def now() -> "Busy | None":
        """None where the system does not tell."""
        found = re.match(r"cpu\s+([\d ]+)", _read(_SYSTEM))
        if found is None:
            return None
        fields = [int(field) for field in found[1].split()][:_GUEST]
        everyone = sum(fields) - sum(fields[place] for place in _IDLE)
        return Busy(everyone / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4]), time.perf_counter())


def foreign_load(before: Busy | None, after: Busy | None) -> float | None:
    """How many cores others kept busy between two moments, on average; None if unknown."""
    if before is None or after is None or after.clock <= before.clock:
        return None
    foreign = (after.everyone - before.everyone) - (after.own - before.own)
    return max(0.0, foreign / (after.clock - before.clock))


def _physical_cores(told: str) -> int:
    """Two threads of one core share its units, so ONNX Runtime starts one for each core, too."""
    pairs = set(re.findall(r"^physical id\s*:\s*(\d+)$.*?^core id\s*:\s*(\d+)$", told, re.MULTILINE | re.DOTALL))
    return len(pairs) or os.cpu_count() or 1


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
