"""The file of weights, mapped into memory once for all sessions over it."""

import mmap
from pathlib import Path
from weakref import WeakKeyDictionary, WeakValueDictionary

from diptych.runtime import ports
from diptych.runtime.engine import onnxruntime as ort

# Before this version, ONNX Runtime copies what it is given; it then maps the file itself, for each session anew.
_BORROWS = (1, 31)


class Weights:
    """Of a graph's folder. Both graphs of a bundle read the rows of a tied embedding from the same pages."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

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
