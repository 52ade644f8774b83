"""A graph as the decoder sees it: named arrays in, named arrays out."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diptych.runtime import ports
from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.engine import reason
from diptych.runtime.errors import EngineError
from diptych.runtime.providers import SessionSettings
from diptych.runtime.sessions import Device, device_of, make_session
from diptych.runtime.weights import embeddings

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = Mapping[str, Array]
Shape = tuple[str | int, ...]

DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(bool)": np.dtype(np.bool_),
}
# Of so many tokens, memory that a run gives back costs the next one little, beside what it computes.
_MANY = 4096


class Graph(Protocol):
    """What can be run: an ONNX Runtime session, or whatever else computes the same ports."""

    @property
    def inputs(self) -> Mapping[str, Shape]:
        """Name -> shape, in the graph's order, those with a default last; an axis that may vary is its name."""
        ...

    @property
    def dtypes(self) -> Mapping[str, np.dtype[Any]]:
        """Of the inputs."""
        ...

    @property
    def outputs(self) -> Mapping[str, Shape]: ...

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        """Feed the inputs, those with a default or not; get these outputs, or every one."""
        ...


class OrtGraph:
    """An ONNX file in an ONNX Runtime session."""

    def __init__(self, path: Path, settings: SessionSettings, *, optimized: bool = True) -> None:
        """Arguments and errors as of `make_session`."""
        self.path = path
        self.session = make_session(path, settings, optimized=optimized)
        self.device = device_of(self.session)
        self._embeddings = embeddings(self.session, path)
        # Its arena; a session that is not tuned has none.
        self._gives_back = settings.tuned and path.name == ports.ENCODER_FILE
        inputs = [*self.session.get_inputs(), *self.session.get_overridable_initializers()]
        self.inputs: dict[str, Shape] = {port.name: tuple(port.shape) for port in inputs}
        self.dtypes: dict[str, np.dtype[Any]] = {port.name: DTYPES[port.type] for port in inputs if port.type in DTYPES}
        self.outputs: dict[str, Shape] = {port.name: tuple(port.shape) for port in self.session.get_outputs()}

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        names = list(self.outputs if outputs is None else outputs)
        try:
            self.fetch_rows(feeds)
            values = self.session.run(names, dict(feeds), self._options(feeds))
        except Exception as error:  # Out of memory, or a driver that gave up.
            raise EngineError(f"{self.path}: ONNX Runtime failed: {reason(error)}") from error
        return dict(zip(names, values, strict=True))

    def fetch_rows(self, feeds: Arrays) -> None:
        """Before a run: of embeddings, those that it reads."""
        if self._embeddings is not None and ports.INPUT_IDS in feeds:
            self._embeddings.fetch(feeds[ports.INPUT_IDS])

    def _options(self, feeds: Arrays) -> ort.RunOptions | None:
        """An encoder gives back what it needed for many tokens: nothing reads it while the decoder's cache grows."""
        if not self._gives_back or feeds[ports.INPUT_IDS].size < _MANY:
            return None
        options = ort.RunOptions()
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return options

    def run_bound(
        self, feeds: Mapping[str, Any], fetched: Collection[str], left: Collection[str], device: Device
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Feed arrays, or values that lie on a device; some outputs come to the host, others are left on the device."""
        binding = self.session.io_binding()
        # Values are kept: a binding keeps nothing alive, and a value only the memory of an array.
        values = {name: _value(value) for name, value in feeds.items()}
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for name in fetched:
            binding.bind_output(name)
        for name in left:
            binding.bind_output(name, device.kind, device.number)
        try:
            self.session.run_with_iobinding(binding)
        except Exception as error:  # As above.
            raise EngineError(f"{self.path}: ONNX Runtime failed: {reason(error)}") from error
        results = dict(zip([*fetched, *left], binding.get_outputs(), strict=True))
        return {name: results[name].numpy() for name in fetched}, {name: results[name] for name in left}


def _value(value: Any) -> Any:
    """An array as ONNX Runtime takes it, without a copy; a value of its own stays where it is."""
    return ort.OrtValue.ortvalue_from_numpy(np.asarray(value, order="C")) if isinstance(value, np.ndarray) else value
