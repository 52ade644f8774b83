"""What can go wrong with the files of a job.

CorpusError (DiptychError, OSError)
├── ReadError      the input cannot be read any further
├── NoFolderError  the folder of the results does not exist (also a FileNotFoundError)
├── OutputError    the results cannot be written
└── JournalError   what was kept of an earlier run is not of this job
"""

from collections.abc import Iterator
from contextlib import contextmanager

from diptych.runtime.errors import DiptychError


class CorpusError(DiptychError, OSError):
    """A file that a job reads or writes."""


class ReadError(CorpusError):
    """The input cannot be read any further."""


class NoFolderError(CorpusError, FileNotFoundError):
    """The folder that results are to be written to does not exist."""

    exit_status = 2


class OutputError(CorpusError):
    """The results cannot be written: no room, no right, no such folder, or somebody else writes there."""


class JournalError(CorpusError):
    """A journal that is damaged, or of another job."""


@contextmanager
def told_of(name: object, kind: type[CorpusError], next_step: str = "") -> Iterator[None]:
    """An error of the operating system becomes ours: the file, the reason, the next step. A closed pipe stays one."""
    try:
        yield
    except (CorpusError, BrokenPipeError):
        raise
    except OSError as error:
        raise kind(f"{name}: {error.strerror or error}{next_step and f'; {next_step}'}") from error
