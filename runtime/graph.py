"""A graph as the decoder sees it: named arrays in, named arrays out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.errors import BundleError, EngineError, ProviderError
from diptych.runtime.providers import CPU, SessionSettings, check_provider, provider_name

Array = np.ndarray[Any, np.dtype[Any]]
Arrays = Mapping[str, Array]
Shape = tuple[str | int, ...]


class Graph(Protocol):
    """What can be run: an ONNX Runtime session, or whatever else computes the same ports."""

    @property
    def inputs(self) -> Mapping[str, Shape]:
        """Name -> shape, in the graph's order, those with a default last; an axis that may vary is its name."""
        ...

    @property
    def outputs(self) -> Mapping[str, Shape]: ...

    def run(self, feeds: Arrays) -> dict[str, Array]:
        """Feed the inputs, those with a default or not; get every output."""
        ...


class OrtGraph:
    """An ONNX file in an ONNX Runtime session."""

    def __init__(self, path: Path, settings: SessionSettings, *, optimized: bool = True) -> None:
        """optimized: let ONNX Runtime rewrite the graph.

        Raises ProviderError if the provider is unknown or does not start, BundleError if the file cannot be run.
        """
        self.path = path
        self.session = make_session(path, settings, optimized=optimized)
        inputs = [*self.session.get_inputs(), *self.session.get_overridable_initializers()]
        self.inputs: dict[str, Shape] = {port.name: tuple(port.shape) for port in inputs}
        self.outputs: dict[str, Shape] = {port.name: tuple(port.shape) for port in self.session.get_outputs()}

    def run(self, feeds: Arrays) -> dict[str, Array]:
        try:
            values = self.session.run(None, dict(feeds))
        except Exception as error:  # Out of memory, or a driver that gave up.
            raise EngineError(f"{self.path}: ONNX Runtime failed: {error}") from error
        return dict(zip(self.outputs, values, strict=True))


def make_session(
    path: Path, settings: SessionSettings, *, optimized: bool = True, model: bytes | None = None
) -> ort.InferenceSession:
    """A session over an ONNX file, or over `model` in its stead, with the same weights. Errors as of `OrtGraph`."""
    provider = provider_name(settings.provider)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = settings.threads
    if model is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if settings.lean:
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.enable_cpu_mem_arena = False
    if settings.strict and provider != CPU:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        unwanted = ["ConstantFolding"] if settings.lean else []
        session = ort.InferenceSession(model or path, options, providers=[provider], disabled_optimizers=unwanted)
    except Exception as error:  # ONNX Runtime's own exceptions share no base but this.
        if provider != CPU:
            raise ProviderError(f"{provider} cannot run {path}: {error}") from error
        raise BundleError(f"{path}: ONNX Runtime cannot run this graph: {error}") from error
    check_provider(provider, session.get_providers())
    return session
