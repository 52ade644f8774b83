"""Results in a file that a kill, a full disk or a power cut leaves whole, or ready to be gone on with."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from diptych.runtime.console import warn
from diptych.runtime.corpus.disk import is_still, open_file, sync_folder, write_all
from diptych.runtime.corpus.errors import JournalError, OutputError, told_of
from diptych.runtime.corpus.journal import NOTHING, Journal, Record
from diptych.runtime.corpus.lines import Chunk

_RESTART = "--restart begins anew"


class JournalledOutput:
    """Results go to `NAME.partial`; what is certainly there, to `NAME.journal`; the former becomes `NAME` at the end.

    kept: what earlier runs of the same job recorded, and this one need not do again.
    """

    is_terminal = False

    def __init__(self, path: Path, job: Mapping[str, Any], *, restart: bool = False) -> None:
        """job: all that results depend on but the input, of which records tell; JSON-like values.

        restart: forget what there is. Raises JournalError if there are records of another job, OutputError if another
        process writes there, or if nothing can be written.
        """
        self.target = path.resolve()
        self.partial, journal = companions(path)
        if not restart and not journal.exists() and self.partial.is_file() and self.partial.stat().st_size:
            raise JournalError(f"{self.partial}: there without its journal; move it away, or {_RESTART}")
        self.kept = self._skipped = NOTHING
        # The results have their name already, and only the journal is left to be removed.
        self._named = False
        self._file: int | None = None
        self.journal = Journal(journal)
        try:
            with told_of(self.partial, OutputError):
                self._start(dict(job), restart=restart)
        except BaseException:
            self._close()
            raise
        self._records = self.journal.records()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            if error is not None:
                self._tell_kept(error)
        finally:
            self._close()

    def recorded(self, chunk: Chunk) -> bool:
        """Whether an earlier run did the next chunk. Raises JournalError if that was another one."""
        record = next(self._records, None)
        if record is None:
            if self._named:
                raise self._another_job(f"the input goes on after line {self.kept.lines:,}")
            return False
        before = self._skipped
        if (record.lines, record.input) != (before.lines + len(chunk.lines), chunk.digest):
            raise self._another_job(f"lines {before.lines + 1:,} to {record.lines:,} of the input are others now")
        self._skipped = record
        return True

    def write(self, chunk: Chunk, results: bytes, bad: int) -> None:
        """bad: how many lines of the chunk could not be read. Raises OutputError; what was recorded stays."""
        last = self.journal.last
        with told_of(self.partial, OutputError):
            if self._file is None or not is_still(self._file, self.partial):
                raise OutputError(f"{self.partial}: moved or removed while it was written; put it back")
            write_all(self._file, results)
            os.fsync(self._file)
        self.journal.append(
            Record(
                lines=last.lines + len(chunk.lines),
                bytes=last.bytes + chunk.size,
                input=chunk.digest,
                offset=last.offset + len(results),
                output=sha256(results).hexdigest(),
                bad=last.bad + bad,
            )
        )

    def finish(self) -> None:
        """After the last chunk: the results get their name. Raises JournalError if the input ended too early."""
        if next(self._records, None) is not None:
            raise self._another_job(f"the input ends after line {self._skipped.lines:,}")
        with told_of(self.target, OutputError):
            if not self._named:
                self.journal.append_complete()
                self._close_results()
                self.partial.replace(self.target)
                self._named = True
            sync_folder(self.target.parent)
            self.journal.remove()
            sync_folder(self.target.parent)

    def _start(self, job: dict[str, Any], *, restart: bool) -> None:
        journal = self.journal
        differences = _differences(journal.job or {}, job)
        named = journal.complete and not self.partial.exists()
        if not restart and journal.damaged:
            raise JournalError(f"{journal.path}: damaged, so it is not known what was done; {_RESTART}")
        if not restart and differences and journal.last != NOTHING and not named:
            raise self._another_job("; ".join(differences))
        if restart or differences:
            journal.begin(job)
        else:
            self._resume(named=named)
        if not self._named:
            self._file = open_file(self.partial)
            os.ftruncate(self._file, self.kept.offset)
            os.lseek(self._file, self.kept.offset, os.SEEK_SET)
            os.fsync(self._file)
            sync_folder(self.target.parent)

    def _resume(self, *, named: bool) -> None:
        """Keep the records whose results are there, whole."""
        last = self.journal.last
        if last != NOTHING and not named and not self.partial.exists():
            raise JournalError(f"{self.partial}: missing, with {last.lines:,} lines done; put it back, or {_RESTART}")
        results = self.target if named else self.partial
        kept = self._whole(results)
        if named and kept == last and results.is_file() and results.stat().st_size == last.offset:
            self._named, self.kept = True, last
            return
        self.kept = NOTHING if named else kept
        if self.kept != last:
            warn(f"{results}: not as it was left; what follows line {self.kept.lines:,} is done again.")
        self.journal.keep(self.kept)

    def _whole(self, results: Path) -> Record:
        """The last record up to which the file is what was written."""
        kept = NOTHING
        if results.is_file():
            with results.open("rb") as file:
                for record in self.journal.records():
                    if sha256(file.read(record.offset - kept.offset)).hexdigest() != record.output:
                        break
                    kept = record
        return kept

    def _tell_kept(self, error: BaseException) -> None:
        """After a failure. Where nothing is kept, nothing is left behind."""
        with suppress(OSError):  # The last record may be there although writing it did not come to its end.
            self.journal.read()
        done = self.journal.last.lines
        if self._named:
            warn(f"{self.target} is complete; the same command only removes {self.journal.path.name}.")
        elif done and not isinstance(error, JournalError):
            warn(f"{done:,} lines are kept in {self.partial}; the same command goes on after them.")
        elif self._file is not None and not os.fstat(self._file).st_size:
            with suppress(OSError):
                self.partial.unlink(missing_ok=True)
                self.journal.path.unlink(missing_ok=True)

    def _another_job(self, what: str) -> JournalError:
        return JournalError(
            f"{self.journal.path}: {self.journal.last.lines:,} lines of another job are done: {what}. "
            f"Its own command and input go on with it; {_RESTART}"
        )

    def _close_results(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _close(self) -> None:
        self._close_results()
        self.journal.close()


def companions(path: Path) -> tuple[Path, Path]:
    """Where results go until they are complete, and the journal."""
    target = path.resolve()
    return target.with_name(f"{target.name}.partial"), target.with_name(f"{target.name}.journal")


def _differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """In words; empty where they are the same."""
    told = []
    for name in {**earlier, **now}:
        before, after = (json.dumps(job.get(name), sort_keys=True) for job in (earlier, now))
        if before != after:
            told.append(f"{name} was {before:.60}, is {after:.60}")
    return told
