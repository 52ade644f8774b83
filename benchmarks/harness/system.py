"""What a system is: an engine, a precision, and the code that speaks to it."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

# Where all texts are given in one call, so many are decoded together.
TEXTS_AT_A_TIME = 64
# What the names of systems end with that decode several parts of a batch at a time, a thread for each.
WORKERS = " workers"


@dataclass(frozen=True)
class System:
    """adapter: "module:class", of `systems` unless the module has a dot. options: for its `prepare`.

    environment: the one whose Python runs it, "" = this one. bundle: a model that is ready; nothing is prepared.
    """

    name: str
    adapter: str
    precision: str = "fp32"
    options: tuple[str, ...] = ()
    environment: str = ""
    bundle: Path | None = None

    @property
    def model(self) -> str:
        """What its model is kept as: however it runs, it is the same."""
        return self.name.removesuffix(WORKERS)

    def shared(self, threads: int) -> tuple[int, int]:
        """How it uses so many threads: those of one worker, and workers."""
        return (1, threads) if self.name.endswith(WORKERS) else (threads, 1)

    @property
    def ours(self) -> bool:
        return self.name.startswith("diptych")


@dataclass(frozen=True)
class Cell:
    """What all systems are asked for, in turns. inputs: ids of each row, or texts.

    new_tokens: of each row, exactly; 0 where texts end by themselves.
    """

    name: str
    size: str
    inputs: Sequence[Any] = field(repr=False)
    beams: int = 1
    new_tokens: int = 0

    @property
    def batch(self) -> int:
        return len(self.inputs)

    @property
    def asked(self) -> dict[str, Any]:
        return {"inputs": self.inputs, "beams": self.beams, "new_tokens": self.new_tokens}


@dataclass(frozen=True)
class Work:
    """run: what is timed. read: its result as JSON can hold it, not timed."""

    run: Callable[[], Any]
    read: Callable[[Any], Any]


class Adapter(Protocol):
    """A loaded model. packages: whose versions are told."""

    packages: tuple[str, ...]

    @staticmethod
    def prepare(checkpoint: Path, folder: Path, options: Sequence[str]) -> None:
        """Write the checkpoint in the engine's own format into a folder that is not there yet."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Where it can have workers, a third argument says how many, each with so many threads."""

    def work(self, inputs: Sequence[Any], beams: int, new_tokens: int) -> Work:
        """Greedy search with one beam. new_tokens: as `Cell` has them."""


def with_workers(systems: Sequence[System]) -> list[System]:
    """Each of them twice, with threads within operators and with workers."""
    return [replace(system, name=system.name + end) for system in systems for end in ("", WORKERS)]


def adapter(name: str) -> type[Adapter]:
    module, _, kind = name.partition(":")
    return getattr(importlib.import_module(module if "." in module else f"systems.{module}"), kind)
