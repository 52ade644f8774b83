"""Folders that graphs lie in while they are tried, and the words for what is tried."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Announce = Callable[[str], None]


@contextmanager
def temporary(scratch: Path) -> Iterator[Path]:
    """An empty folder in another.

    Some systems do not remove files that a session has mapped; then whoever made the other does.
    """
    with tempfile.TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
