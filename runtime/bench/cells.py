"""A cell is one row of the table: some texts of some length, read or answered in one way, timed round by round."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import Any, Protocol

from diptych.runtime.bench.peak import Peak, peak_of
from diptych.runtime.bench.rates import RateMeter, Rates
from diptych.runtime.bench.work import Work

# What is shorter is run several times for one sample: a clock and a scheduler are not finer.
_SHORTEST = 0.02
_MOST_REPEATS = 1000

Runs = Mapping[str, Callable[[], object]]
Seconds = Mapping[str, Sequence[float]]


class Cell(Protocol):
    @property
    def facts(self) -> dict[str, Any]:
        """What tells it from others, by name: batch, beams, length …"""
        ...

    @property
    def works(self) -> dict[str, Work]:
        """What its graphs must do at least, by their names; nothing where that is not known."""
        ...

    def runs(self) -> Runs:
        """What is timed, by name."""
        ...

    def told(self, seconds: Seconds, rates: Rates | None) -> dict[str, Any]:
        """Figures from the seconds of each round, and from what the machine can do at most, if that is known."""
        ...


@dataclass
class Samples:
    """Of one cell. seconds: of each run, a number for each round. repeats: how often it is run for one."""

    cell: Cell
    peak: Peak
    repeats: dict[str, int]
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add_round(self) -> None:
        for name, run in self.cell.runs().items():
            started = time.perf_counter()
            for _ in range(self.repeats[name]):
                run()
            self.seconds.setdefault(name, []).append((time.perf_counter() - started) / self.repeats[name])

    def told(self, rates: Rates | None) -> dict[str, Any]:
        peak = {"peak_memory_bytes": self.peak.size, "peak_memory_from": self.peak.how}
        return self.cell.facts | self.cell.told(self.seconds, rates) | peak


def measured(
    cells: Sequence[Cell], rounds: int, meter: RateMeter | None, show: Callable[[int, str], None]
) -> list[dict[str, Any]]:
    """A round to warm up, in which memory is watched, then rounds that are timed, each over all cells in turn.

    show: told how many cells are done, of (1 + rounds) for each, and which is next.
    """
    samples: list[Samples] = []
    for cell in cells:
        show(len(samples), f"warming up, {_named(cell)}")
        samples.append(_warm_up(cell))
    done = len(cells)
    for number in range(1, rounds + 1):
        if meter is not None:
            meter.measure()
        for sample in samples:
            show(done, f"round {number} of {rounds}, {_named(sample.cell)}")
            sample.add_round()
            done += 1
    return [sample.told(None if meter is None else meter.rates) for sample in samples]


def statistic(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "lowest": min(values), "highest": max(values)}


def rate(count: int, seconds: Sequence[float]) -> dict[str, float]:
    """Of something that is done so often in each of these times; the median is that of the times."""
    told = statistic(seconds)
    return {"median": count / told["median"], "lowest": count / told["highest"], "highest": count / told["lowest"]}


def _warm_up(cell: Cell) -> Samples:
    """Once for the memory, once more to know how long it takes when it is warm."""
    runs = cell.runs()
    peak = peak_of(lambda: [run() for run in runs.values()])
    repeats = {}
    for name, run in runs.items():
        started = time.perf_counter()
        run()
        once = time.perf_counter() - started
        repeats[name] = min(_MOST_REPEATS, ceil(_SHORTEST / once))
    return Samples(cell, peak, repeats)


def _named(cell: Cell) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in cell.facts.items())
