"""A graph whose inputs and outputs are bound to arrays once, and run again and again over what these hold."""

from typing import Any

from diptych.runtime.engine import reason
from diptych.runtime.errors import EngineError
from diptych.runtime.graph import Array, OrtGraph


class Bound:
    """Arrays by the names of inputs and outputs; on the host, contiguous. They may be written between runs.

    An array that is bound to a past and to its present is a cache that the graph writes in place.
    """

    def __init__(self, graph: OrtGraph) -> None:
        self._graph = graph
        self._binding = graph.session.io_binding()
        # A binding keeps no memory alive.
        self._kept: dict[str, Array] = {}

    def feed(self, name: str, array: Array) -> None:
        self._binding.bind_input(name, "cpu", 0, array.dtype, array.shape, self._keep(name, array))

    def fetch(self, name: str, array: Array) -> None:
        self._binding.bind_output(name, "cpu", 0, array.dtype, array.shape, self._keep(name, array))

    def run(self) -> None:
        """Raises EngineError."""
        try:
            self._graph.fetch_rows(self._kept)
            self._graph.session.run_with_iobinding(self._binding)
        except Exception as error:  # Out of memory, or inputs that do not fit.
            raise EngineError(f"{self._graph.path}: ONNX Runtime failed: {reason(error)}") from error

    def _keep(self, name: str, array: Array) -> Any:
        assert array.flags.c_contiguous
        self._kept[name] = array
        return array.ctypes.data
