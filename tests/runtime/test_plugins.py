"""Providers that are packages of their own, with packages that are not there."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from diptych.runtime import plugins
from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.errors import ProviderError

OPENVINO = "OpenVINOExecutionProvider"


def device(provider: str, kind: str, name: str = "") -> SimpleNamespace:
    hardware = SimpleNamespace(type=SimpleNamespace(name=kind))
    return SimpleNamespace(ep_name=provider, device=hardware, ep_metadata={"ov_device": name} if name else {})


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """What was registered, of a plug-in for OpenVINO that knows one processor and two GPUs."""
    found: list[tuple[str, str]] = []
    module = SimpleNamespace(get_library_path=lambda: "/where/it/is.so")
    devices = [device(OPENVINO, "CPU", "CPU"), device(OPENVINO, "GPU", "GPU.0"), device(OPENVINO, "GPU", "GPU.1")]
    monkeypatch.setattr(plugins, "import_module", lambda name: module)
    monkeypatch.setattr(ort, "register_execution_provider_library", lambda *given: found.append(given))
    monkeypatch.setattr(ort, "get_ep_devices", lambda: [device("CPUExecutionProvider", "CPU"), *devices])
    plugins._register.cache_clear()
    yield found
    plugins._register.cache_clear()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "CPU"),
        ({"device_type": "cpu"}, "CPU"),
        ({"device_type": "GPU"}, "GPU.0"),
        ({"device_type": "gpu.1"}, "GPU.1"),
    ],
)
def test_a_plugin_is_given_the_device_that_was_asked_for(
    registered: list[tuple[str, str]], options: dict[str, str], name: str
) -> None:
    (chosen,), rest = plugins.plugin_devices(OPENVINO, {**options, "cache_dir": Path("here")})
    assert chosen.ep_metadata["ov_device"] == name
    assert rest == {"cache_dir": "here"}


def test_a_plugin_is_registered_once(registered: list[tuple[str, str]]) -> None:
    for _ in range(3):
        plugins.plugin_devices(OPENVINO, {})
    assert registered == [("diptych.onnxruntime_ep_openvino", "/where/it/is.so")]


def test_a_device_that_a_plugin_lacks_is_told(registered: list[tuple[str, str]]) -> None:
    with pytest.raises(ProviderError, match=r"has no device 'NPU' here, but CPU, GPU, GPU\.0, GPU\.1"):
        plugins.plugin_devices(OPENVINO, {"device_type": "NPU"})


def test_a_plugin_without_any_device_is_told(
    registered: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort, "get_ep_devices", lambda: [device("CPUExecutionProvider", "CPU")])
    with pytest.raises(ProviderError, match="finds no device here; it needs Intel hardware"):
        plugins.plugin_devices(OPENVINO, {})


def test_a_plugin_that_does_not_load_is_told(
    registered: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: str) -> None:
        raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : libtbb.so.12: cannot open shared object file")

    monkeypatch.setattr(ort, "register_execution_provider_library", refuse)
    with pytest.raises(ProviderError, match=r"cannot be loaded: libtbb\.so\.12: cannot open"):
        plugins.plugin_devices(OPENVINO, {})


def test_a_plugin_that_another_has_registered_is_used(
    registered: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: str) -> None:
        raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : EP library is already registered under it")

    monkeypatch.setattr(ort, "register_execution_provider_library", refuse)
    assert len(plugins.plugin_devices(OPENVINO, {})[0]) == 1
