"""What this machine can do at most: read memory, and multiply matrices. Measured, not looked up."""

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.graph import Array
from diptych.runtime.onnx_bytes import Node, Value, model

IN_CACHE, BEYOND_CACHE = 4 << 20, 256 << 20
# Less is as fast, and a call of numpy takes longer than reading it.
_LEAST = 1 << 20
FP32, INT8 = "fp32", "int8"
# Many rows, and few enough columns that the matrix stays in the cache.
_ROWS, _COLUMNS = 512, 512
# Short arrays are read several times over, or waking threads would take longer than reading.
_READ_AT_LEAST = 32 << 20
_FEWEST, _MOST, _LONG_ENOUGH = 2, 10, 0.05
# The operator, and what it multiplies and gives; activations are unsigned where processors want them so.
_KINDS: dict[str, tuple[str, tuple[type[np.generic], ...]]] = {
    FP32: ("MatMul", (np.float32, np.float32, np.float32)),
    INT8: ("MatMulInteger", (np.uint8, np.int8, np.int32)),
}


@dataclass
class Rates:
    """The best of all measurements so far. read: bytes a second by the bytes that are read over and over.

    multiplied: multiply-adds a second by their kind.
    """

    read: dict[int, float] = field(default_factory=dict)
    multiplied: dict[str, float] = field(default_factory=dict)

    def reading(self, size: int) -> float:
        """The seconds that reading so many bytes takes; raises KeyError if they were not among the measured."""
        return size / self.read[measured_size(size)] if size else 0.0

    def multiplying(self, multiply_adds: Mapping[str, int]) -> float:
        """The seconds that products take; raises KeyError for a kind that was not measured."""
        return sum(count / self.multiplied[kind] for kind, count in multiply_adds.items())


class RateMeter:
    """Measures both whenever it is asked, so that a moment in which the machine is busy does not count."""

    def __init__(self, sizes: Collection[int], kinds: Collection[str], threads: int) -> None:
        """sizes: of what is read over and over, in bytes. threads: as many as the sessions that are measured have."""
        self.rates = Rates()
        self._sizes = sorted({measured_size(size) for size in (*sizes, IN_CACHE, BEYOND_CACHE) if size})
        self._threads = threads
        self._products = {kind: _product(kind, threads) for kind in sorted({FP32, *kinds})}

    def measure(self) -> None:
        # First, so that its threads have stopped waiting for more when something else is measured.
        for kind, product in self._products.items():
            speed = _ROWS * _COLUMNS * _COLUMNS / _fastest(product)
            self.rates.multiplied[kind] = max(self.rates.multiplied.get(kind, 0.0), speed)
        for size in self._sizes:
            speed = _read_speed(size, self._threads)
            self.rates.read[size] = max(self.rates.read.get(size, 0.0), speed)


def measured_size(size: int) -> int:
    """The size at which reading so many bytes is measured: theirs, unless any cache holds them, or none."""
    return max(_LEAST, min(size, BEYOND_CACHE))


def _read_speed(size: int, threads: int) -> float:
    """Bytes a second; one thread if that is faster. What is read is as large as the weights, and as often."""
    values = np.ones(max(size // 8, threads), dtype=np.int64)
    passes = max(1, _READ_AT_LEAST // values.nbytes)

    def read(part: Array) -> None:
        for _ in range(passes):
            part.max()

    def read_all(pool: ThreadPoolExecutor, parts: list[Array]) -> None:
        list(pool.map(read, parts))

    best = 0.0
    for count in {1, threads}:
        with ThreadPoolExecutor(count) as pool:
            seconds = _fastest(partial(read_all, pool, np.array_split(values, count)))
            best = max(best, passes * values.nbytes / seconds)
    return best


def _product(kind: str, threads: int) -> Callable[[], object]:
    """A product of two matrices in ONNX Runtime, on the CPU."""
    operator, types = _KINDS[kind]
    left, right, product = (Value(name, np.dtype(each), 2) for name, each in zip("abc", types, strict=True))
    made = model([Node(operator, ["a", "b"], ["c"], {})], [left, right], [product])
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(made, options, providers=["CPUExecutionProvider"])
    feeds = {"a": np.ones((_ROWS, _COLUMNS), left.dtype), "b": np.ones((_COLUMNS, _COLUMNS), right.dtype)}
    return lambda: session.run(None, feeds)


def _fastest(run: Callable[[], object]) -> float:
    """Of several runs, fewer of them if they are long."""
    run()
    seconds: list[float] = []
    while len(seconds) < _FEWEST or (len(seconds) < _MOST and sum(seconds) < _LONG_ENOUGH):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
