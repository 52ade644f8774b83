"""The machine and the moment, as results are kept with."""

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_TELLING = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "avx512_bf16", "amx_bf16", "asimd", "i8mm")


def machine() -> dict[str, Any]:
    """Processor, its matrix instructions, memory, system and Python."""
    cpu = _fields(Path("/proc/cpuinfo").read_text())
    flags = cpu.get("flags", cpu.get("Features", "")).split()
    memory = _fields(Path("/proc/meminfo").read_text())["MemTotal"]
    return {
        "processor": cpu.get("model name", platform.machine()),
        "family and model": f"{cpu.get('cpu family', '?')}, {cpu.get('model', '?')}",
        "instructions": [flag for flag in _TELLING if flag in flags],
        "processors": len(os.sched_getaffinity(0)),
        "memory": 1024 * int(memory.split()[0]),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": sys.version.split()[0],
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _fields(text: str) -> dict[str, str]:
    """The first of each "name: value"."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found
