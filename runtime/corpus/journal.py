"""The journal of a job: which job it is, and after each chunk of its input, what is certainly in the results.

A line for each entry, JSON and its CRC-32, so that one that was torn by a kill or a power cut is known as such. The
first entry tells the job, a last one that it is complete.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

from diptych.runtime.corpus.disk import open_locked, write_all
from diptych.runtime.corpus.errors import JournalError, OutputError, told_of

_MAGIC = b'{"diptych journal": 1, '
_LONGEST_ENTRY = 1 << 24


@dataclass(frozen=True)
class Record:
    """What was done up to the end of a chunk.

    lines, bytes: of input so far. input: SHA-256 of the chunk's bytes. offset: bytes of results so far. output: SHA-256
    of those that the chunk added. bad: lines so far that could not be read.
    """

    lines: int
    bytes: int
    input: str
    offset: int
    output: str
    bad: int


NOTHING = Record(0, 0, "", 0, "", 0)


class Journal:
    """An open and locked journal.

    job: what it is the journal of; None where that was never wholly written. last: its last record. complete: whether
    it tells that the job is. damaged: whether there is more in it than can be read, and not even the job is told.
    """

    def __init__(self, path: Path) -> None:
        """Opens it, or makes an empty one.

        Raises OutputError if it is locked or cannot be opened, JournalError if it is something else.
        """
        self.path = path
        with told_of(path, OutputError):
            self._file: int | None = open_locked(path, append=True)
            try:
                self.read()
            except BaseException:
                self.close()
                raise

    def read(self) -> None:
        """Learn what is in it, as `__init__` does."""
        with self.path.open("rb") as file:
            beginning = file.read(len(_MAGIC)).rstrip(b"\0")
        self.job: dict[str, Any] | None = None
        self.last = NOTHING
        self.complete = self.damaged = False
        self._start = self._end = 0
        if not _MAGIC.startswith(beginning):
            raise JournalError(f"{self.path}: no journal that this diptych writes; move it away or choose other names")
        for entry, _, end in self._entries():
            if self.job is None:
                self.job, self._start, self._end = entry["job"], end, end
            elif "complete" in entry:
                self.complete = True
            else:
                self.last, self._end = Record(**entry), end
        if self.job is None:
            with self.path.open("rb") as file:
                file.readline(_LONGEST_ENTRY)
                self.damaged = bool(file.read(1))

    def records(self) -> Iterator[Record]:
        """All records, in order."""
        for entry, start, _ in self._entries():
            if self._start <= start < self._end:
                yield Record(**entry)

    def begin(self, job: Mapping[str, Any]) -> None:
        """Forget all that is in it; be the journal of this job, of which nothing is done."""
        self._truncate(0)
        self._append({"diptych journal": 1, "job": job})
        self.job, self.last, self.complete, self.damaged = dict(job), NOTHING, False, False
        self._start = self._end

    def keep(self, last: Record) -> None:
        """Forget what comes after this record."""
        ends = [end for entry, start, end in self._entries() if start and entry == asdict(last)]
        self._truncate(ends[0] if ends else self._start)
        self.last, self.complete = last, False

    def append(self, record: Record) -> None:
        """Raises OutputError if it cannot be written wholly; then it does not count."""
        self._append(asdict(record))
        self.last = record

    def append_complete(self) -> None:
        self._append({"complete": True})

    def remove(self) -> None:
        if os.name == "nt":  # Where an open file cannot be removed.
            self.close()
        with told_of(self.path, OutputError):
            self.path.unlink()

    def close(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _entries(self) -> Iterator[tuple[dict[str, Any], int, int]]:
        """The entries before the first that is torn, and where each starts and ends."""
        start = 0
        with told_of(self.path, OutputError), self.path.open("rb") as file:
            while line := file.readline(_LONGEST_ENTRY):
                content, _, checksum = line.rpartition(b"\t")
                if checksum != b"%08x\n" % crc32(content):
                    return
                yield json.loads(content), start, start + len(line)
                start += len(line)

    def _append(self, entry: Mapping[str, Any]) -> None:
        content = json.dumps(entry).encode()
        line = b"%b\t%08x\n" % (content, crc32(content))
        with told_of(self.path, OutputError):
            write_all(self._open, line)
            os.fsync(self._open)
        self._end += len(line)

    def _truncate(self, end: int) -> None:
        with told_of(self.path, OutputError):
            os.ftruncate(self._open, end)
            os.fsync(self._open)
        self._end = end

    @property
    def _open(self) -> int:
        assert self._file is not None, "closed"
        return self._file
