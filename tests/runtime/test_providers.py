"""Which provider runs a graph: names, fallback that is told, strictness, options, and what a missing one needs."""

import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from small_graphs import determinant

from diptych.runtime import sessions
from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.engine import reason
from diptych.runtime.errors import BundleError, ProviderError
from diptych.runtime.providers import (
    SessionSettings,
    affinities,
    available_providers,
    first_working,
    provider_name,
    provider_names,
    settings_for,
)
from diptych.runtime.sessions import make_session, placement

CUDA, OPENVINO = "CUDAExecutionProvider", "OpenVINOExecutionProvider"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return determinant(tmp_path_factory.mktemp("graphs") / "det.onnx")


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("cpu", "CPUExecutionProvider"),
        ("CPUExecutionProvider", "CPUExecutionProvider"),
        (" Cuda ", CUDA),
        ("cudaexecutionprovider", CUDA),
        ("OpenVINO", OPENVINO),
        ("open-vino", OPENVINO),
        ("directml", "DmlExecutionProvider"),
        ("dml", "DmlExecutionProvider"),
        ("tensorrt", "TensorrtExecutionProvider"),
        ("trt", "TensorrtExecutionProvider"),
        ("tensorrt-rtx", "NvTensorRTRTXExecutionProvider"),
        ("webgpu", "WebGpuExecutionProvider"),
        ("qnn", "QNNExecutionProvider"),
        ("coreml", "CoreMLExecutionProvider"),
    ],
)
def test_names_are_short_or_full_in_any_case(name: str, full: str) -> None:
    assert provider_name(name) == full


@pytest.mark.parametrize(("name", "alike"), [("cudda", "cuda"), ("opnvino", "openvino"), ("direct_ml2", "directml")])
def test_a_mistyped_name_gives_those_alike(name: str, alike: str) -> None:
    with pytest.raises(ProviderError, match=f"called '{name}'; did you mean {alike}") as caught:
        provider_name(name)
    assert "available here: " in str(caught.value)
    assert caught.value.exit_status == 2


def test_a_name_like_no_other_gives_those_there_are() -> None:
    with pytest.raises(ProviderError, match=r"'quantum'; available here: .*cpu") as caught:
        provider_name("quantum")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("wanted", ["cuda,cpu", " CUDA , cpu,", "cuda,CUDAExecutionProvider,cpu", ",cuda,,cpu"])
def test_several_names_are_tried_in_order(wanted: str) -> None:
    assert provider_names(wanted) == [CUDA, "CPUExecutionProvider"]


def test_several_names_may_come_as_a_list() -> None:
    settings = settings_for(("cuda", "cpu"), threads=2, strict_provider=True, provider_options={"device_id": 1})
    assert settings == SessionSettings("cuda,cpu", 2, strict=True, options={"device_id": 1})
    assert settings_for() == SessionSettings()


@pytest.mark.parametrize("wanted", ["", " , ", ","])
def test_no_name_at_all_is_told(wanted: str) -> None:
    with pytest.raises(ProviderError, match=r"no execution provider is named; available here: .*cpu"):
        provider_names(wanted)


class Opening:
    """Opens nothing: fails for some providers, and keeps what it was asked for."""

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.asked: list[SessionSettings] = []

    def __call__(self, settings: SessionSettings) -> str:
        self.asked.append(settings)
        if settings.provider in self.failing:
            raise ProviderError(
                f"{'cuda' if settings.provider == CUDA else 'openvino'} did not start: its fan is dusty"
            )
        return settings.provider


def test_what_did_not_start_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    assert first_working(SessionSettings("cuda,openvino,cpu"), Opening(CUDA)) == OPENVINO
    (record,) = caplog.records
    assert record.getMessage() == "cuda did not start (its fan is dusty); running on openvino"
    assert record.levelno == logging.WARNING


def test_a_single_provider_never_falls_back(caplog: pytest.LogCaptureFixture) -> None:
    opening = Opening(CUDA)
    with pytest.raises(ProviderError, match="fan is dusty"):
        first_working(SessionSettings("cuda"), opening)
    assert [settings.provider for settings in opening.asked] == [CUDA]
    assert not caplog.records


def test_the_first_that_works_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    opening = Opening()
    assert first_working(SessionSettings("openvino,cpu"), opening) == OPENVINO
    assert len(opening.asked) == 1
    assert not caplog.records


def test_each_failure_is_told_where_none_works() -> None:
    with pytest.raises(ProviderError, match="none of") as caught:
        first_working(SessionSettings("cuda,openvino"), Opening(CUDA, OPENVINO))
    assert "cuda did not start: its fan is dusty\nopenvino did not start: its fan is dusty" in str(caught.value)


def test_a_mistyped_name_in_a_list_is_no_fallback() -> None:
    opening = Opening()
    with pytest.raises(ProviderError, match="did you mean cuda"):
        first_working(SessionSettings("cudda,cpu"), opening)
    assert not opening.asked


def test_options_are_not_for_the_cpu_at_the_end_of_a_list() -> None:
    opening = Opening(CUDA, OPENVINO)
    first_working(SessionSettings("cuda,openvino,cpu", options={"device_id": 1}), opening)
    assert [settings.options for settings in opening.asked] == [{"device_id": 1}, {"device_id": 1}, {}]


def test_the_cpu_has_no_options(graph: Path) -> None:
    with pytest.raises(ProviderError, match="cpu has no provider options, so none called arena, speed"):
        make_session(graph, settings_for("cpu", provider_options={"arena": 1, "speed": 2}))


def test_nodes_are_counted_by_provider(graph: Path) -> None:
    found = placement(make_session(graph, SessionSettings(threads=1)))
    assert found == {"cpu": Counter({"Exp": 1, "Tanh": 1, "MatMul": 1, "Det": 1})}


def test_a_list_falls_back_to_the_cpu(graph: Path, caplog: pytest.LogCaptureFixture) -> None:
    if "coreml" in available_providers():
        pytest.skip("this machine has what others lack")
    assert make_session(graph, SessionSettings("coreml,cpu")).get_providers() == ["CPUExecutionProvider"]
    (record,) = caplog.records
    assert record.getMessage().startswith("coreml did not start (the installed ONNX Runtime, onnxruntime")
    assert record.getMessage().endswith("; running on cpu")


def test_without_a_build_for_cuda_the_answer_is_how_to_install_one(graph: Path) -> None:
    if "cuda" in available_providers():
        pytest.skip("ONNX Runtime is built with CUDA here")
    with pytest.raises(ProviderError, match="cuda did not start") as caught:
        make_session(graph, SessionSettings("cuda"))
    message = str(caught.value)
    assert ort.__version__ in message
    assert "pip uninstall onnxruntime" in message
    assert "pip install 'diptych[gpu]'" in message
    assert message.index("uninstall") < message.index("diptych[gpu]")


@pytest.mark.parametrize(
    ("name", "line"),
    [("openvino", "pip install 'diptych[openvino]'"), ("webgpu", "'diptych[webgpu]'"), ("qnn", "'diptych[qnn]'")],
)
def test_a_plugin_that_is_not_installed_is_one_line_away(graph: Path, name: str, line: str) -> None:
    if name in available_providers():
        pytest.skip("it is installed")
    with pytest.raises(ProviderError, match=f"{name} did not start: its plug-in is not installed") as caught:
        make_session(graph, SessionSettings(name))
    assert line in str(caught.value)


@pytest.mark.parametrize(("given", "expected"), [({}, "0"), ({"use_tf32": 1, "device_id": 1}, "1")])
def test_float32_is_not_cut_on_a_gpu_unless_it_is_asked_for(
    given: dict[str, int], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(sessions.ort, "get_available_providers", lambda: [CUDA])
    monkeypatch.setattr(sessions, "preload_libraries", lambda: None)

    def refuse(*_: object, providers: list[tuple[str, dict[str, str]]], **__: object) -> None:
        told.extend(providers)
        raise RuntimeError("no GPU")

    monkeypatch.setattr(sessions.ort, "InferenceSession", refuse)
    with pytest.raises(ProviderError, match="no GPU"):
        make_session(Path("any.onnx"), SessionSettings("cuda", options=given))
    ((provider, options),) = told
    assert provider == CUDA
    assert options["use_tf32"] == expected
    assert options.get("device_id") == (str(given["device_id"]) if given else None)


def test_with_a_build_for_cuda_the_answer_is_what_the_loader_says(graph: Path) -> None:
    if "cuda" not in available_providers():
        pytest.skip("ONNX Runtime is built without CUDA here")
    message = ""
    try:
        make_session(graph, SessionSettings("cuda"))
    except ProviderError as error:
        message = str(error)
    if not message:
        pytest.skip("CUDA works here")
    assert any(
        part in message for part in ("a library is missing: lib", "no NVIDIA driver: ", "no device of this machine")
    )
    assert "pip install 'diptych[gpu]'" in message


def test_libraries_that_do_not_load_are_named(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime itself says nothing and runs on the CPU."""
    if "cuda" in available_providers():
        pytest.skip("ONNX Runtime is built with CUDA here")
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    with (
        pytest.warns(UserWarning, match="not in available provider names"),
        pytest.raises(ProviderError, match=r"a library is missing: .*providers_cuda") as caught,
    ):
        make_session(graph, SessionSettings("cuda"))
    assert "pip install 'diptych[gpu]'" in str(caught.value)


@pytest.mark.parametrize("strict", [False, True])
def test_a_provider_that_runs_nothing_is_refused(graph: Path, strict: bool) -> None:
    """Azure is in the usual wheel, starts, and takes no operator."""
    if "azure" not in available_providers():
        pytest.skip("this ONNX Runtime has no such provider")
    expected = (
        "4 of 4 operators .* strictness forbids: 1 Exp, 1 Tanh, 1 MatMul, 1 Det" if strict else "runs no operator"
    )
    with pytest.raises(ProviderError, match=f"azure .*{expected}"):
        make_session(graph, SessionSettings("azure", strict=strict))


def test_the_cpu_is_as_strict_as_one_likes(graph: Path) -> None:
    assert make_session(graph, SessionSettings("cpu", strict=True)).get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize("provider", ["cpu", "openvino,cpu"])
def test_a_file_that_is_no_graph_is_a_bad_bundle(tmp_path: Path, provider: str) -> None:
    for name, data in {"empty.onnx": b"", "cut.onnx": b"\x3a\xff\x01abc"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BundleError, match=name):
            make_session(tmp_path / name, SessionSettings(provider))
    with pytest.raises(BundleError, match=r"absent\.onnx"):
        make_session(tmp_path / "absent.onnx", SessionSettings(provider))


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("[ONNXRuntimeError] : 11 : EP_FAIL : no such thing", "no such thing"),
        (
            "x [ONNXRuntimeError] : 1 : FAIL : y [ONNXRuntimeError] : 2 : INVALID_ARGUMENT : JSON is bad\n",
            "JSON is bad",
        ),
        ("/onnx/python/state.cc:1053 void onnx::Make(const A&, int) Invalid option: bogus\n", "Invalid option: bogus"),
        ("Exception from src/core.cpp:117:\nException from src/plugin.cpp:54:\nNotFound: bogus\n\n", "NotFound: bogus"),
        ("", "RuntimeError"),
    ],
)
def test_an_error_is_told_without_where_it_came_from(told: str, why: str) -> None:
    assert reason(RuntimeError(told)) == why


@pytest.mark.parametrize(
    ("cores", "settings", "expected"),
    [
        ({0, 1, 2}, SessionSettings(threads=3), "2;3"),
        # Those that the process may use, which need not be the first.
        ({7, 2}, SessionSettings(threads=2), "8"),
        ({0, 1}, SessionSettings(threads=1), ""),
        ({0, 1, 2}, SessionSettings(threads=2), ""),
        ({0, 1}, SessionSettings(threads=4), ""),
        ({0, 1}, SessionSettings(threads=2, workers=2), ""),
        ({0, 1}, SessionSettings(threads=0), ""),
    ],
)
def test_threads_stay_on_cores_where_there_are_as_many(
    monkeypatch: pytest.MonkeyPatch, cores: set[int], settings: SessionSettings, expected: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores, raising=False)
    assert affinities(settings) == expected


def test_a_session_with_as_many_threads_as_cores_starts(graph: Path) -> None:
    assert make_session(graph, SessionSettings(threads=os.cpu_count() or 1))


def test_two_builds_that_overwrite_each_other_are_told(tmp_path: Path) -> None:
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{name}-9.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 9.0\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import diptych.runtime"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert "onnxruntime and onnxruntime-gpu " in result.stderr
    assert "pip uninstall onnxruntime onnxruntime-gpu" in result.stderr
