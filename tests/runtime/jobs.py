"""Jobs of a task that costs nothing, and a disk that can be taken away in the middle of any step."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from diptych.runtime.corpus.job import Job
from diptych.runtime.corpus.journalled import JournalledOutput
from diptych.runtime.corpus.lines import LineReader, chunks
from diptych.runtime.corpus.pace import Pace
from diptych.runtime.errors import InputError

FIRST, MOST = 3, 6
FACTS = {"num_beams": 4, "bundle": "cafe", "suppress_tokens": [1, 2]}
INPUT = b"one\ntwo\n\nfour\r\nfive\nsix\nseven\xff\neight\nnine\nten\neleven\ntwelve\nthirteen"
BAD = 2


def shout(line: str | InputError) -> str | InputError:
    if isinstance(line, InputError):
        return line
    return line.upper() if line else InputError("empty")


def write(result: Any) -> bytes:
    return b"\n" if isinstance(result, InputError) else f"{result}!\n".encode()


JOB = Job(lambda line: line, lambda texts, first: [shout(text) for text in texts], write)
EXPECTED = b"ONE!\nTWO!\n\nFOUR!\nFIVE!\nSIX!\n\nEIGHT!\nNINE!\nTEN!\nELEVEN!\nTWELVE!\nTHIRTEEN!\n"


def run(target: Path, content: bytes = INPUT, job: Job = JOB, restart: bool = False, **facts: Any) -> int:
    """The number of bad lines."""
    with JournalledOutput(target, FACTS | facts, restart=restart) as output:
        reader = LineReader(BytesIO(content), "input")
        return job.run(chunks(reader, FIRST, MOST), output, Pace(None, lambda done, told: None))


def counting() -> tuple[Job, list[int]]:
    """The job, and how many lines each of its attempts was given."""
    seen: list[int] = []

    def attempt(texts: list[Any], first: int) -> list[Any]:
        seen.append(len(texts))
        return JOB.attempt(texts, first)

    return replace(JOB, attempt=attempt), seen


def assert_done(target: Path, expected: bytes = EXPECTED) -> None:
    assert target.read_bytes() == expected
    assert names(target.parent) == [target.name]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class Killed(BaseException):
    """What no code may catch: the process is no more."""


class Disk:
    """Counts what is done to files; from one step on, nothing happens any more.

    A write that is cut off is half done. After a power cut only what was synchronised is there: contents of files by
    their own `fsync`, names by their folder's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps = 0
        self.last: int | None = None
        # Open, so that no number of a file is given to another one.
        self.pinned: list[BinaryIO] = []
        self._names = self._listed()
        self._contents = {path.stat().st_ino: path.read_bytes() for path in folder.iterdir()}

    def step(self, act: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        self.steps += 1
        if self.last is not None and self.steps > self.last:
            if act is WRITE and self.steps == self.last + 1:
                act(arguments[0], arguments[1][: len(arguments[1]) // 2])
            raise Killed
        return act(*arguments, **settings)

    def synchronise(self, file: int) -> None:
        path = Path(f"/proc/self/fd/{file}").readlink()
        if path.is_dir():
            self._names = self._listed()
        else:
            self._contents[os.fstat(file).st_ino] = path.read_bytes() if path.exists() else b""

    def cut_power(self) -> None:
        """Lose what was not synchronised."""
        kept = {name: self._contents.get(number, b"") for name, number in self._names.items()}
        for path in self.folder.iterdir():
            path.unlink()
        for name, content in kept.items():
            (self.folder / name).write_bytes(content)

    def _listed(self) -> dict[str, int]:
        for path in self.folder.iterdir():
            self.pinned.append(path.open("rb"))
        return {path.name: path.stat().st_ino for path in self.folder.iterdir()}


WRITE, TRUNCATE, REPLACE, UNLINK = os.write, os.ftruncate, Path.replace, Path.unlink


@contextmanager
def killed_after(steps: int | None, folder: Path) -> Iterator[Disk]:
    """A disk that works so many steps, or all of them."""
    disk = Disk(folder)
    disk.last = steps
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: disk.step(disk.synchronise, file))
        for place, name, act in ((os, "write", WRITE), (os, "ftruncate", TRUNCATE), (Path, "replace", REPLACE),
                                 (Path, "unlink", UNLINK)):  # fmt: skip
            patch.setattr(place, name, lambda *a, act=act, **k: disk.step(act, *a, **k))
        yield disk
    for file in disk.pinned:
        file.close()
