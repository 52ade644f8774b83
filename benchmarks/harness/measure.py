"""All systems on one cell, in turns: rounds in rotating order, repeated where others kept the processors busy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from harness.load import ForeignLoad, peak, reset_peak, wait_for_calm
from harness.processes import Worker, WorkerError
from harness.system import Cell, System

_MOST_REPEATS = 50


@dataclass(frozen=True)
class Settings:
    """seconds: least time of a system's turn, filled with repetitions. foreign: most processors others may keep busy.

    retries: rounds measured again for that, over the whole cell; after them rounds count, and are marked as disturbed.
    """

    threads: int = 2
    rounds: int = 5
    seconds: float = 0.5
    foreign: float = 0.1
    retries: int = 10


@dataclass
class Measured:
    """seconds: of each round, the median of its repetitions. foreign: processors others kept busy meanwhile.

    libraries, loaded, peak: bytes resident before the model is loaded, after, and at most while it worked.
    """

    seconds: list[float] = field(default_factory=list)
    foreign: list[float] = field(default_factory=list)
    repeats: int = 1
    libraries: int = 0
    loaded: int = 0
    peak: int = 0
    disk: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    result: Any = None


def measure(
    cell: Cell, models: dict[System, Path], settings: Settings, logs: Path
) -> tuple[dict[str, Measured], dict[str, str]]:
    """What each system took, by name, and why those failed that failed."""
    found: dict[str, Measured] = {}
    failed: dict[str, str] = {}
    workers: dict[str, Worker] = {}
    try:
        for system, model in models.items():
            try:
                # A new process for each cell: memory does not depend on the cells before.
                worker = Worker(system, model, settings.threads, logs / f"{system.name}.log")
                workers[system.name] = worker
                found[system.name] = _warm_up(worker, cell, model, settings)
            except WorkerError as error:
                failed[system.name] = str(error)
        _rounds(cell, {name: workers[name] for name in found}, found, failed, settings)
    finally:
        for worker in workers.values():
            worker.close()
    return found, failed


def _warm_up(worker: Worker, cell: Cell, model: Path, settings: Settings) -> Measured:
    """Two runs: the first one makes what later ones find ready, the second tells how many fill a turn."""
    reset_peak(worker.pid)
    worker.run(cell.asked)
    told = worker.run(cell.asked)
    repeats = min(_MOST_REPEATS, max(1, round(settings.seconds / told["seconds"][0])))
    disk = sum(file.stat().st_size for file in model.rglob("*") if file.is_file()) if model.is_dir() else 0
    return Measured(
        repeats=repeats,
        libraries=worker.libraries,
        loaded=worker.loaded,
        peak=peak(worker.pid),
        disk=disk,
        versions=worker.versions,
        result=told["result"],
    )


def _rounds(
    cell: Cell,
    workers: dict[str, Worker],
    found: dict[str, Measured],
    failed: dict[str, str],
    settings: Settings,
) -> None:
    retries, done = settings.retries, 0
    while done < settings.rounds and workers:
        taken = {}
        for name in rotated(list(workers), done):
            try:
                taken[name] = _turn(workers[name], cell, found[name], settings)
            except WorkerError as error:
                failed[name] = str(error)
                del workers[name], found[name]
        if retries and any(foreign > settings.foreign for _, foreign in taken.values()):
            retries -= 1
            continue
        done += 1
        for name, (seconds, foreign) in taken.items():
            found[name].seconds.append(seconds)
            found[name].foreign.append(foreign)


def _turn(worker: Worker, cell: Cell, known: Measured, settings: Settings) -> tuple[float, float]:
    """The median seconds, and the processors that others kept busy."""
    wait_for_calm(settings.foreign, patience=1.0)
    with ForeignLoad(worker.pid) as foreign:
        told = worker.run(cell.asked, known.repeats)
    known.peak = max(known.peak, peak(worker.pid))
    return median(told["seconds"]), foreign.processors


def rotated(names: Sequence[str], by: int) -> list[str]:
    """Each begins in its turn, so that no one always follows the same one."""
    start = by % len(names) if names else 0
    return [*names[start:], *names[:start]]
