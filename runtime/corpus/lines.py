"""Lines of input in chunks, in memory that does not grow with the input."""

import json
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import BinaryIO, Protocol

from diptych.runtime.corpus.errors import ReadError, told_of
from diptych.runtime.errors import InputError

LONGEST_LINE = 1 << 20
# A chunk is what is read, worked on and written at a time: enough lines to batch those of like length.
CHUNK_BYTES = 1 << 18
FEW, MANY = 32, 1024

Line = str | InputError


@dataclass(frozen=True)
class Chunk:
    """lines: without their ends, or the error of one that is no text.

    size, digest: number and SHA-256 of the bytes they were read from, ends included.
    """

    lines: list[Line]
    size: int
    digest: str


class Reader(Protocol):
    """Where lines come from. total: the bytes there are, if that is known."""

    @property
    def total(self) -> int | None: ...

    def chunk(self, most: int) -> Chunk | None:
        """The next lines, at most so many; None when there are no more."""
        ...


class LineReader:
    """The lines of a file, pipe or terminal. A chunk also ends where it has `CHUNK_BYTES`."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.total = _bytes_left(file)
        self._file = file
        self._name = name
        self._started = self._ended = False

    def chunk(self, most: int) -> Chunk | None:
        """Raises ReadError, naming the file, if it cannot be read."""
        lines: list[Line] = []
        size, digest = 0, sha256()
        while len(lines) < most and size < CHUNK_BYTES and not self._ended:
            start, rest = self._pieces()
            self._ended = not start
            if start:
                lines.append(self._line(start))
                for piece in chain([start], rest):
                    size += len(piece)
                    digest.update(piece)
        return Chunk(lines, size, digest.hexdigest()) if lines else None

    def _pieces(self) -> tuple[bytes, Iterator[bytes]]:
        """As much of the next line as may be a text, and the rest of one that is too long."""
        longest = LONGEST_LINE + len(b"\r\n")
        with told_of(self._name, ReadError):
            start = self._file.readline(longest)
        return start, self._rest() if len(start) == longest and not start.endswith(b"\n") else iter(())

    def _rest(self) -> Iterator[bytes]:
        piece = b""
        while not piece.endswith(b"\n"):
            with told_of(self._name, ReadError):
                piece = self._file.readline(CHUNK_BYTES)
            if not piece:
                return
            yield piece

    def _line(self, start: bytes) -> Line:
        encoding, self._started = "utf-8" if self._started else "utf-8-sig", True
        text = start.rstrip(b"\r\n")
        if len(text) > LONGEST_LINE:
            return InputError(f"longer than {LONGEST_LINE:,} bytes; split the text")
        try:
            return text.decode(encoding)
        except UnicodeDecodeError as error:
            return InputError(f"not UTF-8: byte 0x{text[error.start]:02x} at {error.start + 1}; convert the input")


class ArgumentReader:
    """Texts that were given, each a line whatever is in it."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = list(texts)
        self._read = 0
        self.total = sum(len(_raw(text)) for text in texts)

    def chunk(self, most: int) -> Chunk | None:
        texts = self._texts[self._read : self._read + most]
        self._read += len(texts)
        raw = b"".join(map(_raw, texts))
        return Chunk([*texts], len(raw), sha256(raw).hexdigest()) if texts else None


def chunks(reader: Reader, first: int = FEW, most: int = MANY) -> Iterator[Chunk]:
    """Chunks of `first` lines, then of twice as many each time up to `most`: soon the first results, then speed.

    Where chunks end depends on the input alone, so that another run over it has the same ones.
    """
    while chunk := reader.chunk(first):
        yield chunk
        first = min(2 * first, most)


def _raw(text: str) -> bytes:
    return f"{json.dumps(text)}\n".encode()


def _bytes_left(file: BinaryIO) -> int | None:
    """Of a regular file."""
    try:
        status = os.fstat(file.fileno())
        return status.st_size - file.tell() if stat.S_ISREG(status.st_mode) else None
    except OSError:  # A closed descriptor, or no file at all.
        return None
