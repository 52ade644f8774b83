"""Why a provider does not start here, and what to install for it."""

import contextlib
import ctypes
import io
import sys
from functools import cache
from pathlib import Path

from diptych.runtime.engine import installed_builds
from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.plugins import PLUGINS

_CUDA, _TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
# What to install instead of the build of ONNX Runtime that is there.
_BUILDS = {
    _CUDA: "diptych[gpu]",
    _TENSORRT: "diptych[gpu]",
    "DmlExecutionProvider": "onnxruntime-directml",
    "MIGraphXExecutionProvider": "onnxruntime-migraphx",
    "ROCMExecutionProvider": "onnxruntime-rocm",
    "CANNExecutionProvider": "onnxruntime-cann",
}
_LIBRARIES = {_CUDA: ("cuda",), _TENSORRT: ("cuda", "tensorrt")}
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def why_missing(provider: str) -> str:
    """Why a provider is not among those of this ONNX Runtime, and the line that installs it."""
    if provider in PLUGINS:
        return f"its plug-in is not installed: pip install '{PLUGINS[provider].requirement}'"
    name = next(iter(installed_builds()), "onnxruntime")
    lacking = f"the installed ONNX Runtime, {name} {ort.__version__}, is built without it"
    if provider == "CoreMLExecutionProvider":
        return f"{lacking}; the wheels of onnxruntime for macOS have it"
    if provider not in _BUILDS:
        return lacking
    install = f"pip uninstall {name} && pip install '{_BUILDS[provider]}'"
    return f"{lacking}. Builds overwrite each other's files, so take this one out first: {install}"


def why_not_started(provider: str) -> str:
    """Why a provider of this ONNX Runtime did not start: what the loader says of its libraries."""
    if provider not in _LIBRARIES:
        return "its driver, its libraries or its device may be missing"
    folder = Path(ort.__file__).parent / "capi"
    paths = [folder / _file(f"onnxruntime_providers_{library}") for library in ("shared", *_LIBRARIES[provider])]
    refused = [told for path in paths if (told := _refusal(str(path)))]
    driver = _refusal(_DRIVER)
    version = getattr(ort, "cuda_version", "") or ""
    needed = f"This build needs CUDA {version.partition('.')[0]} and cuDNN 9" if version else "It needs CUDA and cuDNN"
    problems = [
        *(f"a library is missing: {told}" for told in refused[:1]),
        *([f"there is no NVIDIA driver: {driver}"] if driver else []),
    ]
    told = "; ".join(problems or ["its libraries load, but no device of this machine works with them"])
    return f"{told}. {needed}: pip install 'diptych[gpu]' brings both, and the driver must support that version"


@cache
def preload_libraries() -> None:
    """Load CUDA and cuDNN from NVIDIA's wheels, where ONNX Runtime does not look by itself. Quiet: stdout is ours."""
    if hasattr(ort, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()


def _file(library: str) -> str:
    return f"{library}.dll" if sys.platform == "win32" else f"lib{library}.so"


def _refusal(library: str) -> str | None:
    """What the loader says, if it cannot load a library."""
    try:
        ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return str(error)
    return None
