"""OpenVINO: what it is told, and, where it is installed and knows the machine, what it gives."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from small_graphs import determinant

from diptych.runtime import sessions
from diptych.runtime.bundle import Bundle
from diptych.runtime.errors import ProviderError
from diptych.runtime.generation.generator import Generator
from diptych.runtime.providers import SessionSettings
from diptych.runtime.sessions import make_session, placement


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return determinant(tmp_path_factory.mktemp("graphs") / "det.onnx")


@pytest.fixture
def openvino(graph: Path) -> str:
    """The name of OpenVINO, where it is installed and this machine is one that it knows."""
    try:
        make_session(graph, SessionSettings("openvino", 1))
    except ProviderError as error:
        pytest.skip(str(error))
    return "openvino"


@pytest.mark.parametrize(
    ("given", "config"),
    [
        ({}, '{"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}'),
        (
            {"load_config": '{"GPU": {"A": 1}, "CPU": {"B": 2}}'},
            '{"GPU": {"A": 1}, "CPU": {"INFERENCE_PRECISION_HINT": "f32", "B": 2}}',
        ),
        (
            {"load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'},
            '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}',
        ),
    ],
)
def test_openvino_computes_in_float32_unless_told_otherwise(given: dict[str, str], config: str) -> None:
    assert sessions._exact(given, 0) == {"device_type": "CPU", "load_config": config}


def test_openvino_gets_the_threads_and_the_device_that_were_asked_for() -> None:
    found = sessions._exact({"device_type": "GPU"}, 3)
    assert found["device_type"] == "GPU"
    assert found["load_config"] == '{"CPU": {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 3}}'


@pytest.mark.parametrize("config", ["no JSON", "[1]", '{"CPU": 1}'])
def test_a_config_for_openvino_that_is_none_is_told(config: str) -> None:
    with pytest.raises(ProviderError, match="load_config must be a JSON object"):
        sessions._exact({"load_config": config}, 0)


def test_openvino_leaves_the_cpu_what_it_cannot_run(openvino: str, graph: Path) -> None:
    found = placement(make_session(graph, SessionSettings(openvino, 1)))
    assert found == {"openvino": Counter({"Exp": 1, "Tanh": 1, "MatMul": 1}), "cpu": Counter({"Det": 1})}


def test_strict_openvino_refuses_and_says_what(openvino: str, graph: Path) -> None:
    with pytest.raises(ProviderError, match=r"openvino leaves 1 of 4 operators of .*det\.onnx to the CPU.*: 1 Det"):
        make_session(graph, SessionSettings(openvino, 1, strict=True))


def test_an_unknown_property_of_openvino_is_named(openvino: str, graph: Path) -> None:
    with pytest.raises(ProviderError, match=r"openvino cannot run .*BOGUS"):
        make_session(graph, SessionSettings(openvino, 1, options={"load_config": '{"CPU": {"BOGUS": 1}}'}))


@pytest.mark.parametrize("options", [{}, {"num_beams": 4}], ids=["greedy", "beam"])
def test_openvino_and_the_cpu_give_the_same_ids(bundle: Path, openvino: str, options: dict[str, int]) -> None:
    opened = Bundle.open(bundle)
    random = np.random.default_rng(11)
    sources = [[*random.integers(5, 1000, length).tolist(), 3] for length in (4, 1, 9, 14, 2)]
    found = [
        Generator(opened.decoder(SessionSettings(name, 1)), opened.manifest)(sources, max_new_tokens=12, **options)
        for name in ("cpu", openvino)
    ]
    assert [best.ids for best, *_ in found[0]] == [best.ids for best, *_ in found[1]]
    scores = [[best.score for best, *_ in results] for results in found]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)


def test_openvino_runs_all_of_a_bundle(bundle: Path, openvino: str) -> None:
    for graph in Bundle.open(bundle).sessions(SessionSettings(openvino, 1, strict=True)).values():
        assert placement(graph.session).keys() == {"openvino"}
