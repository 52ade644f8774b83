"""Execution providers that are packages of their own, beside ONNX Runtime: registered once, chosen by device."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.engine import reason
from diptych.runtime.errors import ProviderError

DEVICE_TYPE = "device_type"


@dataclass(frozen=True)
class Plugin:
    """module: the package that knows its library's path. requirement: what to install.

    needs: in words. device: the type that it uses unless another is asked for, else its first.
    """

    module: str
    requirement: str
    needs: str
    device: str | None = None


PLUGINS = {
    "OpenVINOExecutionProvider": Plugin("onnxruntime_ep_openvino", "diptych[openvino]", "Intel hardware", "CPU"),
    "WebGpuExecutionProvider": Plugin(
        "onnxruntime_ep_webgpu", "diptych[webgpu]", "a GPU and a driver for Vulkan, Metal or Direct3D 12"
    ),
    "QNNExecutionProvider": Plugin("onnxruntime_qnn", "diptych[qnn]", "Qualcomm hardware", "NPU"),
    "NvTensorRTRTXExecutionProvider": Plugin(
        "onnxruntime_ep_nv_tensorrt_rtx", "onnxruntime-ep-nv-tensorrt-rtx", "an NVIDIA RTX GPU"
    ),
}


def installed_plugins() -> list[str]:
    """ONNX Runtime's names of the providers whose packages are installed."""
    return [provider for provider, plugin in PLUGINS.items() if find_spec(plugin.module)]


def plugin_devices(provider: str, options: Mapping[str, Any]) -> tuple[list[Any], dict[str, str]]:
    """The device that an installed plug-in is to use, for `add_provider_for_devices`, and the options for it.

    The option `device_type` says which: CPU, GPU, NPU, or a name that the plug-in itself gives. Raises ProviderError if
    the plug-in cannot be loaded or has no such device here.
    """
    plugin = PLUGINS[provider]
    _register(plugin.module)
    rest = {key: str(value) for key, value in options.items() if key != DEVICE_TYPE}
    wanted = str(options.get(DEVICE_TYPE, plugin.device or ""))
    found = [device for device in ort.get_ep_devices() if device.ep_name == provider]
    if not found:
        raise ProviderError(f"its plug-in, {plugin.module}, finds no device here; it needs {plugin.needs}")
    fitting = [device for device in found if wanted.upper() in ("", *_device_names(device))]
    if not fitting:
        names = sorted({name for device in found for name in _device_names(device)})
        raise ProviderError(f"its plug-in, {plugin.module}, has no device {wanted!r} here, but {', '.join(names)}")
    return fitting[:1], rest


def _device_names(device: Any) -> set[str]:
    """`GPU`, and what OpenVINO calls it: `GPU.1`."""
    return {device.device.type.name.upper(), device.ep_metadata.get("ov_device", "").upper()} - {""}


@cache
def _register(module: str) -> None:
    """Once in a process; ONNX Runtime refuses a second time, which does no harm."""
    try:
        library = import_module(module).get_library_path()
        ort.register_execution_provider_library(f"diptych.{module}", library)
    except Exception as error:  # Whatever the package or its library runs into.
        if "already registered" not in str(error):
            raise ProviderError(f"its plug-in, {module}, cannot be loaded: {reason(error)}") from error
