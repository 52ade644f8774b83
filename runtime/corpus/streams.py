"""Where lines come from and where results go, as the command is told."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import click

from diptych.runtime.corpus.disk import check_place, is_direct
from diptych.runtime.corpus.errors import OutputError, ReadError, told_of
from diptych.runtime.corpus.journalled import JournalledOutput, companions
from diptych.runtime.corpus.lines import ArgumentReader, LineReader, Reader
from diptych.runtime.corpus.output import DirectOutput, Output


def check_paths(source: Path | None, target: Path | None) -> None:
    """Before any work. Raises UsageError or OutputError for an output that cannot be."""
    if target is None or is_direct(target):
        return
    check_place(target)
    for path in (target, *companions(target)):
        if source is not None and path.exists() and source.samefile(path):
            raise click.UsageError(f"--input and --output are the same file: {path} would be written while it is read")


@contextmanager
def opened_input(texts: Sequence[str], path: Path | None) -> Iterator[Reader]:
    """The texts if there are any, else the file if there is one, else stdin."""
    if texts:
        yield ArgumentReader(texts)
    elif path is None:
        yield LineReader(_standard(sys.stdin, "stdin"), "stdin")
    else:
        with told_of(path, ReadError):
            file = path.open("rb")
        with file:
            yield LineReader(file, str(path))


@contextmanager
def opened_output(path: Path | None, job: Mapping[str, Any], *, restart: bool) -> Iterator[Output]:
    """stdout where no path is given; a journalled file, but a device or a pipe as it is."""
    if path is None:
        yield DirectOutput(_standard(sys.stdout, "stdout"), "stdout")
    elif is_direct(path):
        with told_of(path, OutputError):
            file = path.open("ab")
        with file:
            yield DirectOutput(file, str(path))
    else:
        with JournalledOutput(path, job, restart=restart) as output:
            yield output


def _standard(stream: TextIO | None, name: str) -> BinaryIO:
    """A service may run us without one."""
    if stream is None:
        raise click.UsageError(f"{name} is closed; name a file instead")
    return stream.buffer
