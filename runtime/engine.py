"""The one place that imports ONNX Runtime: without telemetry, and from exactly one installed build."""

import os
import re
import sys
from pathlib import Path

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
    "onnxruntime-trt-rtx",
    "onnxruntime-cann",
    "onnxruntime-training",
    "onnxruntime-windowsml",
)


def installed_builds() -> list[str]:
    """The installed distributions that provide the package `onnxruntime`."""
    # By their folders, as importlib.metadata finds them; that module alone takes 2 MB.
    folders = (folder for entry in sys.path for folder in Path(entry).glob("onnxruntime*-*.dist-info"))
    found = {folder.name.partition("-")[0] for folder in folders}
    return [name for name in _BUILDS if name.replace("-", "_") in found]


def reason(error: Exception) -> str:
    """What ONNX Runtime says went wrong, without the codes and the source files that it went through."""
    told = re.split(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", str(error))[-1]
    lines = [line.strip() for line in told.splitlines() if not re.match(r"Exception from \S+:\d+:$", line)]
    return re.sub(r"^/\S+\.(?:cc|h):\d+ .*?\) (?=\S)", "", " ".join(lines).strip()) or type(error).__name__


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

# What goes wrong is told once, by the errors that are raised for it.
onnxruntime.set_default_logger_severity(4)

__all__ = ["installed_builds", "onnxruntime", "reason"]
