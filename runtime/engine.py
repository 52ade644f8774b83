"""The one place that imports ONNX Runtime: without telemetry, and from exactly one installed build."""

import os
from importlib import metadata

from diptych.runtime.errors import EngineError

# Official builds report usage over the network unless this is set before the import. Set it to 0 to allow them.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_BUILDS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-webgpu",
    "onnxruntime-rocm",
    "onnxruntime-migraphx",
)


def installed_builds() -> list[str]:
    """The installed distributions that provide the package `onnxruntime`."""
    installed = []
    for name in _BUILDS:
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        installed.append(name)
    return installed


_builds = installed_builds()
if len(_builds) > 1:
    raise EngineError(
        f"{' and '.join(_builds)} are installed together and overwrite each other's files. "
        f"Uninstall all of them, then install one: pip uninstall {' '.join(_builds)}; pip install 'diptych[cpu]'"
    )
try:
    import onnxruntime
except ImportError as error:
    raise EngineError(
        f"ONNX Runtime cannot be imported ({error}). Install one build of it: "
        "pip install 'diptych[cpu]', 'diptych[gpu]' or 'diptych[openvino]'"
    ) from error

__all__ = ["installed_builds", "onnxruntime"]
