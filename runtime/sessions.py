"""Sessions of ONNX Runtime: with the provider that was asked for, or an error, but never silently with another."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.engine import reason
from diptych.runtime.errors import BundleError, ProviderError
from diptych.runtime.missing import preload_libraries, why_missing, why_not_started
from diptych.runtime.onnx_bytes import without_defaults
from diptych.runtime.plugins import installed_plugins, plugin_devices
from diptych.runtime.providers import CPU, SessionSettings, affinities, first_working, short_name
from diptych.runtime.saturation import saturates
from diptych.runtime.weights import weights_beside

# Operators and how many of each, by the short name of the provider that runs them.
Placement = dict[str, Counter[str]]

_CUDA, _TENSORRT, _OPENVINO = "CUDAExecutionProvider", "TensorrtExecutionProvider", "OpenVINOExecutionProvider"
# The fused operator is slower than those that it stands for (docs/performance-notes.md).
_SLOW = ("SkipLayerNormFusion",)


@dataclass(frozen=True)
class Device:
    """Where values can stay between runs. number: which of its kind. provider: what computes there."""

    kind: str
    number: int
    provider: str

    def session(self, model: bytes) -> ort.InferenceSession:
        """A session over a small model."""
        options = _session_options()
        options.intra_op_num_threads = 1
        # Each session has an arena of its own, which by default doubles whenever it grows.
        given = {"device_id": str(self.number), "arena_extend_strategy": "kSameAsRequested"}
        chosen = (self.provider, given if self.provider != CPU else {})
        return ort.InferenceSession(model, options, providers=[chosen], enable_fallback=0)


def make_session(
    path: Path, settings: SessionSettings, *, optimized: bool = True, model: bytes | None = None
) -> ort.InferenceSession:
    """A session over an ONNX file, or over `model` in its stead, with the same weights. optimized: rewrite the graph.

    Raises ProviderError if the provider is unknown, does not start or runs nothing of the graph, or leaves something to
    the CPU that it must not; BundleError if the file cannot be run.
    """
    return first_working(settings, lambda one: _started(path, one, optimized, model))


def placement(session: ort.InferenceSession) -> Placement:
    """Which provider runs what."""
    found: Placement = {}
    for part in session.get_provider_graph_assignment_info():
        found.setdefault(short_name(part.ep_name), Counter()).update(node.op_type for node in part.get_nodes())
    return found


def device_of(session: ort.InferenceSession) -> Device | None:
    """The device in whose memory values can stay between a session's runs, if it computes on one."""
    provider = session.get_providers()[0]
    if provider not in {_CUDA, _TENSORRT}:
        return None
    options = session.get_provider_options()[provider]
    return Device("cuda", int(options.get("device_id", 0)), _CUDA)


def _started(path: Path, settings: SessionSettings, optimized: bool, model: bytes | None) -> ort.InferenceSession:
    provider = settings.provider
    try:
        session = _session(path, settings, optimized, model)
    except ProviderError:
        raise
    except Exception as error:  # ONNX Runtime's own exceptions share no base but this.
        if provider == CPU:
            raise BundleError(f"{path}: ONNX Runtime cannot run this graph: {reason(error)}") from error
        left = _left_to_cpu(path, settings, optimized, model) if settings.strict else None
        told = left or f"{short_name(provider)} cannot run {path}: {reason(error)}"
        raise ProviderError(told) from error
    if session.get_providers()[0] != provider:
        raise ProviderError(f"{short_name(provider)} did not start: {why_not_started(provider)}")
    if provider != CPU and short_name(provider) not in placement(session):
        raise ProviderError(f"{short_name(provider)} runs no operator of {path}; all would fall back to the CPU")
    return session


def _session(path: Path, settings: SessionSettings, optimized: bool, model: bytes | None) -> ort.InferenceSession:
    provider = settings.provider
    options = _session_options()
    # Lengths vary all the time: an arena would keep the largest block of every size, and a plan for every shape. Where
    # a graph takes one token at a time, its shapes stay as they are.
    options.enable_cpu_mem_arena = settings.tuned
    options.enable_mem_pattern = False
    _share_cores(options, settings)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if settings.lean:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if settings.strict and provider != CPU:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    if provider == _OPENVINO:
        # It takes inputs with a default for constants, then misses them among its own inputs.
        model = without_defaults(path.read_bytes() if model is None else model)
    if model is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(path.parent))
    weights = weights_beside(path) if provider == CPU else None
    if weights is not None:
        weights.give(options)
    session = ort.InferenceSession(
        model or path,
        options,
        providers=_chosen(provider, settings, options),
        disabled_optimizers=[*(["ConstantFolding"] if settings.lean else []), *(_SLOW if settings.tuned else [])],
        enable_fallback=0,
    )
    if weights is not None:
        weights.keep(session)
    return session


def _share_cores(options: ort.SessionOptions, settings: SessionSettings) -> None:
    """Threads stay on cores of their own where there are as many as cores, and take turns with those of others."""
    options.intra_op_num_threads = settings.threads
    # A bundle's sessions have threads each: those of an encoder would spin on while the decoder's want the cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if pinned := affinities(settings):
        options.add_session_config_entry("session.intra_op_thread_affinities", pinned)


def _session_options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if saturates():
        # Makes products of 8-bit numbers in another way, which takes twice as long where it is not needed.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _chosen(
    provider: str, settings: SessionSettings, options: ort.SessionOptions
) -> list[tuple[str, dict[str, str]]] | None:
    """What a session is told of its provider; a plug-in is told to the session's options instead."""
    given = dict(settings.options)
    if provider == CPU and given:
        raise ProviderError(f"cpu has no provider options, so none called {', '.join(given)}")
    if provider == _OPENVINO:
        given = _exact(given, settings.threads)
    if provider in installed_plugins():
        try:
            options.add_provider_for_devices(*plugin_devices(provider, given))
        except ProviderError as error:
            raise ProviderError(f"{short_name(provider)} did not start: {error}") from error
        return None
    if provider not in ort.get_available_providers():
        raise ProviderError(f"{short_name(provider)} did not start: {why_missing(provider)}")
    if provider in {_CUDA, _TENSORRT}:
        preload_libraries()
    if provider == _CUDA:
        # Lengths vary: an arena that doubles each time it grows would soon have taken the whole device. And float32 is
        # float32: left to itself, a GPU multiplies numbers cut to 10 bits of fraction (TensorFloat-32).
        given = {"arena_extend_strategy": "kSameAsRequested", "use_tf32": "0"} | given
    return [(provider, {key: str(value) for key, value in given.items()})]


def _exact(given: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """OpenVINO computes in bfloat16 where the processor can, unless it is told not to. What is given wins."""
    try:
        config = json.loads(given.get("load_config", "{}"))
        device = {"INFERENCE_PRECISION_HINT": "f32", **({"INFERENCE_NUM_THREADS": threads} if threads else {})}
        config = {**config, "CPU": device | config.get("CPU", {})}
    except (ValueError, TypeError, AttributeError) as error:
        raise ProviderError(f"load_config must be a JSON object of objects by device: {error}") from error
    return {"device_type": "CPU", **given, "load_config": json.dumps(config)}


def _left_to_cpu(path: Path, settings: SessionSettings, optimized: bool, model: bytes | None) -> str | None:
    """What strictness refuses, if that is why a session did not come about."""
    try:
        found = placement(_session(path, replace(settings, strict=False), optimized, model))
    except Exception:  # noqa: BLE001  # Then it is not.
        return None
    left = found.get(short_name(CPU), Counter())
    if not left:
        return None
    told = ", ".join(f"{count} {operator}" for operator, count in left.most_common())
    name, total = short_name(settings.provider), sum(each.total() for each in found.values())
    return f"{name} leaves {left.total()} of {total} operators of {path} to the CPU, which strictness forbids: {told}"
