"""A limit on the memory that a process has resident, and what batches cost of it, estimated before they run.

Shapes: n sources, K rows of each, S tokens of the longest source, T of the longest prompt, P of the longest row when it
ends, V vocabulary. All costs are in bytes.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, prod
from pathlib import Path

from diptych.runtime import ports
from diptych.runtime.errors import OptionError
from diptych.runtime.graph import Graph

_UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_STATUS, _MAPS = Path("/proc/self/status"), Path("/proc/self/smaps")
_FLOAT = 4
# What measurements (benchmarks/corpus_memory.py) ask for: a step has its cache twice, and once more where beams are
# reordered or sources join; scores are edited, summed up and sorted; a layer has its states about so many times.
_CACHES, _SCORES, _STATES = 3, 6, 24
# Of what the allocator keeps, and of what is small, or code of libraries that was let go and runs again.
_SLACK, _BASE = 1.2, 40 * 1000**2


def read_size(value: str | int) -> int:
    """Bytes, of a number of them or of "2GB", "512 MiB". Raises OptionError for anything else."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?I?B?)\s*", str(value).upper())
    if found is None or found[2] not in _UNITS or float(found[1]) == inf:
        raise OptionError(f"memory_limit is {value!r:.60}; expected a size, such as 2GB or 512MB")
    return int(float(found[1]) * _UNITS[found[2]])


@dataclass(frozen=True)
class Sizes:
    """Of a batch: n, S, T, P as above, K rows of each source."""

    sources: int
    source: int
    prompt: int
    row: int
    rows_per_source: int = 1


@dataclass(frozen=True)
class MemoryLimit:
    """room: bytes beside what the process had with its graphs loaded. The others are bytes for each: of a row's cached
    token, of a source's token (cross-attention entries), of a row's scores; `states` of a token that is read.
    """

    limit: int
    room: float
    cached: int
    crossed: int
    scored: int
    states: int

    @staticmethod
    def of(limit: int | None, graphs: Iterable[Graph], weights: Path) -> "MemoryLimit | None":
        """Beside graphs that are loaded. Raises OptionError if these alone need more, or it cannot be measured."""
        if limit is None:
            return None
        every = list(graphs)
        inputs = {name: shape for graph in every for name, shape in graph.inputs.items()}
        outputs = {name: shape for graph in every for name, shape in graph.outputs.items()}
        pasts = {name: _fixed(shape) for name, shape in inputs.items() if name.startswith("past_key_values.")}
        crossed = sum(size for name, size in pasts.items() if ".encoder." in name)
        width = max([_fixed(outputs.get(ports.LAST_HIDDEN_STATE, ())), *pasts.values(), 1])
        # A model that only reads has its outputs for each token, and twice while they are copied.
        told = 0 if pasts else 2 * sum(_fixed(shape) for shape in outputs.values())
        scored = _fixed(outputs.get(ports.LOGITS, ())) if pasts else 0
        now = resident() + _untouched(weights)
        found = MemoryLimit(
            limit=limit,
            room=(limit - now - _BASE) / _SLACK,
            cached=(sum(pasts.values()) - crossed) * _FLOAT,
            crossed=crossed * _FLOAT,
            scored=scored * _FLOAT,
            states=(width * _STATES + told) * _FLOAT,
        )
        if found.room <= 0:
            raise OptionError(
                f"memory_limit is {_told(limit)}, but the loaded bundle alone needs {_told(now + _BASE)}; allow more"
            )
        return found

    def cost(self, sizes: Sizes) -> float:
        """Of decoding a batch, at its worst."""
        rows = sizes.sources * sizes.rows_per_source
        read = sizes.sources * max(sizes.source, sizes.prompt) * self.states
        attended = sizes.sources * self.states / _STATES * max(sizes.source, sizes.prompt) ** 2 / 16
        cache = _CACHES * rows * sizes.row * self.cached + (_CACHES - 1) * sizes.sources * sizes.source * self.crossed
        return read + attended + cache + _SCORES * rows * self.scored

    def fits(self, sizes: Sizes) -> bool:
        return self.cost(sizes) <= self.room

    def positions(self, sizes: Sizes) -> int:
        """After how many tokens of each row scores fit at a time, beside all else that the batch costs; at least 1."""
        rows = sizes.sources * sizes.rows_per_source
        return 1 + max(0, int((self.room - self.cost(sizes)) // max(1, _SCORES * rows * self.scored)))

    def needs(self, sizes: Sizes) -> str:
        """What is told where a batch does not fit."""
        needed = self.limit - self.room * _SLACK + self.cost(sizes) * _SLACK
        return f"needs about {_told(needed)}, memory_limit is {_told(self.limit)}"


def resident() -> int:
    """Bytes of this process that are in memory now. Raises OptionError where the system does not tell."""
    try:
        found = re.search(r"^VmRSS:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found is None:
        raise OptionError("memory_limit is measured through /proc, which this system does not have; leave it out")
    return int(found[1]) << 10


def _untouched(weights: Path) -> int:
    """Bytes of the mapped weights that are not in memory yet, but will be."""
    touched = 0
    for part in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", _MAPS.read_text(errors="surrogateescape"), flags=re.MULTILINE):
        if str(weights.resolve()) in part.split("\n", 1)[0]:
            found = re.search(r"^Rss:\s+(\d+) kB$", part, re.MULTILINE)
            touched = max(touched, int(found[1]) << 10 if found else 0)
    return max(0, weights.stat().st_size - touched)


def _fixed(shape: tuple[str | int, ...]) -> int:
    """Numbers for each row and token."""
    return prod(size for size in shape if isinstance(size, int)) if shape else 0


def _told(size: float) -> str:
    return f"{size / 1e6:,.0f} MB"
