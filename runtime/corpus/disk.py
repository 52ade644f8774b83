"""Files that other processes, kills and power cuts may come between."""

import os
import stat
import sys
from pathlib import Path

from diptych.runtime.corpus.errors import NoFolderError, OutputError

if sys.platform != "win32":
    import fcntl

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)


def open_file(path: Path, *, append: bool = False) -> int:
    """A regular file to read and write, made if there is none. Raises OSError, OutputError if it is something else."""
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: not a file; move it away, or choose another --output")
    return os.open(path, _FLAGS | (os.O_APPEND if append else 0), 0o666)


def open_locked(path: Path, *, append: bool = False) -> int:
    """As `open_file`. Raises OutputError if another process has it locked; it stays locked until it is closed."""
    while True:
        file = open_file(path, append=append)
        try:
            _lock(file, path)
            if is_still(file, path):
                return file
        except BaseException:
            os.close(file)
            raise
        # Who had it locked has removed it in between.
        os.close(file)


def is_still(file: int, path: Path) -> bool:
    """Whether the open file is what has this name."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def write_all(file: int, content: bytes) -> None:
    """The system may take less than it is given."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]


def sync_folder(folder: Path) -> None:
    """Make sure of names that were made, changed or removed in it, where a system can."""
    if os.name == "nt":
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def is_direct(path: Path) -> bool:
    """Whether it is to be written as it is: a device, a pipe, or what is open already, such as /dev/stdout."""
    parent = path.parent.resolve()
    opened = parent == Path("/dev") or (parent.name == "fd" and parent.is_relative_to("/proc"))
    return opened or (path.exists() and not stat.S_ISREG(path.stat().st_mode))


def check_place(path: Path) -> None:
    """Before any work. Raises NoFolderError if the folder is not there, OutputError if it cannot be written."""
    folder = path.resolve().parent
    if not folder.is_dir():
        raise NoFolderError(f"{path}: there is no folder {folder}; make it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path}: {folder} cannot be written; choose another --output")


def _lock(file: int, path: Path) -> None:
    if sys.platform == "win32":  # Where nothing keeps two processes from the same output.
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(f"{path}: in use by another process that writes the same output; wait for it") from error
    except OSError:  # A file system that knows no locks.
        return
