"""Where results go."""

import os
from contextlib import suppress
from typing import BinaryIO, Protocol

from diptych.runtime.corpus.errors import OutputError, told_of
from diptych.runtime.corpus.journal import NOTHING, Record
from diptych.runtime.corpus.lines import Chunk


class Output(Protocol):
    """kept: what of the input is done and need not be done again. is_terminal: whether somebody reads along."""

    @property
    def is_terminal(self) -> bool: ...

    @property
    def kept(self) -> Record: ...

    def recorded(self, chunk: Chunk) -> bool:
        """Whether the next chunk is among what is done."""
        ...

    def write(self, chunk: Chunk, results: bytes, bad: int) -> None:
        """The results of a chunk, of whose lines so many were bad."""
        ...

    def finish(self) -> None:
        """After the last chunk."""
        ...


class DirectOutput:
    """A stream, pipe or device, to which everything is written at once and for good."""

    kept = NOTHING

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self.is_terminal = file.isatty()

    def recorded(self, chunk: Chunk) -> bool:
        return False

    def write(self, chunk: Chunk, results: bytes, bad: int) -> None:
        """Raises OutputError, naming the stream; BrokenPipeError where its reader has left."""
        try:
            with told_of(self._name, OutputError):
                self._file.write(results)
                self._file.flush()
        except OutputError:
            # What it still holds cannot be written at exit either, of which Python would complain.
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._file.fileno())
            raise

    def finish(self) -> None:
        pass
