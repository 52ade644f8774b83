"""Lines of texts in and of results out: files, pipes, standard streams."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

import click

from diptych.runtime.errors import InputError

Line = str | InputError


def standard(stream: TextIO | None, name: str) -> BinaryIO:
    """A service may run us without one."""
    if stream is None:
        raise click.UsageError(f"{name} is closed; name a file instead")
    return stream.buffer


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file that replaces an earlier one only when it is whole; a pipe or device is written to as it is."""
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    target = path.resolve()
    partial = target.with_name(f"{target.name}.partial")
    with partial.open("wb") as file:
        yield file
    partial.replace(target)


def lines_of(file: BinaryIO) -> Iterator[Line]:
    """Each line without its end, or the error of one that is not UTF-8."""
    for number, line in enumerate(file):
        try:
            yield line.rstrip(b"\r\n").decode("utf-8" if number else "utf-8-sig")
        except UnicodeDecodeError as error:
            yield InputError(f"not UTF-8: byte 0x{line[error.start]:02x} at {error.start + 1}; convert the input")


def count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)
