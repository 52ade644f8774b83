"""The file of weights, mapped into memory once for all sessions over it."""

import mmap
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np

from diptych.runtime import ports
from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.tables import Table, tables

# Before this version, ONNX Runtime copies what it is given; it then maps the file itself, for each session anew.
_BORROWS = (1, 31)
# Of Linux 5.14, and not yet among Python's: makes pages of a private mapping the process's own, as writing would.
_MADV_POPULATE_WRITE = 23


class Weights:
    """Of a graph's folder. Both graphs of a bundle read the rows of a tied embedding from the same pages."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = _mapping(file.fileno())
        self._rows: dict[Sequence[Table], Rows] = {}

    def give(self, options: ort.SessionOptions) -> None:
        """To a session, in place of the file. They must be kept as long as it."""
        options.add_session_config_entry("session.use_external_initializer_file_buffers_directly", "1")
        options.add_external_initializers_from_files_in_memory([ports.WEIGHTS_FILE], [self._map], [len(self._map)])

    def keep(self, session: ort.InferenceSession) -> None:
        """As long as the session, which by now has copies of most, in its kernels' order: their pages are let go.

        What is still read is found in the system's cache of the file.
        """
        _kept[session] = self
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            for rows in list(self._rows.values()):
                rows.forget()

    def rows(self, places: Sequence[Table]) -> "Rows":
        """Of these tables, the same for all sessions."""
        return self._rows.get(places) or self._rows.setdefault(places, Rows(self._map, places))


class Rows:
    """Those that were read of tables, whose row of the same number is read by the same id.

    A page that is read the usual way comes into memory with the whole block of the system's cache in which it lies, up
    to 2 MB of it.
    """

    def __init__(self, mapped: mmap.mmap, places: Sequence[Table]) -> None:
        self._map = mapped
        self._places = places
        self._read = np.zeros(min(place.rows for place in places), dtype=np.bool_)

    def fetch(self, ids: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Of any shape and size, before they are read. Those that are no rows are passed over."""
        known = self._read.take(ids, mode="clip")
        if np.count_nonzero(known) < known.size:
            self._fetch(np.unique(ids[~known].clip(0, len(self._read) - 1)).astype(np.int64))

    def forget(self) -> None:
        """That any were read."""
        self._read.fill(False)

    def _fetch(self, ids: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        try:
            for place in self._places:
                for begin in (place.offset + ids * place.row).tolist():
                    start = begin - begin % mmap.PAGESIZE
                    self._map.madvise(_MADV_POPULATE_WRITE, start, begin + place.row - start)
        except OSError:  # A system that cannot: as without this class, they are read as they come.
            self._read.fill(True)
        self._read[ids] = True


_mapped: WeakValueDictionary[tuple[int, int, int, int], Weights] = WeakValueDictionary()
_kept: WeakKeyDictionary[ort.InferenceSession, Weights] = WeakKeyDictionary()


def weights_beside(graph: Path) -> Weights | None:
    """Those that sessions have already, or newly mapped; nothing where there are none, or ONNX Runtime would copy."""
    path = graph.parent / ports.WEIGHTS_FILE
    version = tuple(int(part) for part in ort.__version__.split(".")[:2])
    if version < _BORROWS or not path.is_file() or not (told := path.stat()).st_size:
        return None
    key = (told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns)
    return _mapped.get(key) or _mapped.setdefault(key, Weights(path))


def embeddings(session: ort.InferenceSession, graph: Path) -> Rows | None:
    """The rows that a session over a graph reads by `input_ids`, where it reads them from kept weights, on Linux."""
    weights = _kept.get(session)
    if weights is None or sys.platform != "linux":
        return None
    found = tables(graph.read_bytes(), ports.INPUT_IDS)
    return weights.rows(found) if found else None


def _mapping(file: int) -> mmap.mmap:
    """Of pages that can become the process's own, which nobody writes, where that is of use and allowed."""
    if sys.platform == "linux":
        try:
            return mmap.mmap(file, 0, access=mmap.ACCESS_COPY)
        except OSError:  # A limit on such memory.
            pass
    return mmap.mmap(file, 0, access=mmap.ACCESS_READ)
