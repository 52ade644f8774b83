"""Faults planted in exported graphs are found in the module that has them."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from families.cases import CASES
from families.twins import SETTINGS, make_reference
from parity.injection import Editor
from parity.planting import FAULTS, A, B, plant, set_op

from diptych.export.graph_spec import GraphSpec
from diptych.export.graphs import graphs
from diptych.export.parity.bisection.bisect import bisect, layer_errors
from diptych.export.parity.bisection.points import OnnxWatched, Point, TorchWatched
from diptych.export.parity.report import BisectionReport
from diptych.export.trace import trace
from diptych.export.weights_file import write_models
from diptych.model import load_checkpoint
from diptych.runtime import ports
from diptych.runtime.graph import Array, Arrays, Shape

# Of each the case, and its graph.
MODELS = {
    "mbart": ("mbart, translate", ports.DECODER_FILE),
    "t5": ("t5, generate, as T5 1.1", ports.ENCODER_FILE),
    "llama": ("llama, generate, tied", ports.MODEL_FILE),
    "bert": ("bert, classify", ports.MODEL_FILE),
}
LENGTHS = {
    ports.SOURCES: 2,
    ports.SOURCE_LENGTH: 5,
    ports.ROWS: 6,
    ports.TARGET_LENGTH: 3,
    ports.PAST_LENGTH: 4,
    ports.SEQUENCE_LENGTH: 7,
    ports.PAST_SEQUENCE_LENGTH: 8,
}


@dataclass(frozen=True)
class Made:
    """A graph as exported, and the PyTorch that it came from, as the truth and in its own precision."""

    path: Path
    truth: TorchWatched
    own: TorchWatched
    feeds: Arrays

    def bisect(self, path: Path) -> BisectionReport:
        return bisect(
            OnnxWatched(path, SETTINGS), self.truth, self.own, self.feeds, graph=self.path.name, case="random"
        )


Make = Callable[[str], Made]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    @cache
    def made(family: str) -> Made:
        name, file = MODELS[family]
        case = next(case for case in CASES if str(case) == name)
        folder = tmp_path_factory.mktemp(family)
        make_reference(case).save_pretrained(folder / "checkpoint")
        checkpoint = load_checkpoint(folder / "checkpoint", case.task)
        spec = next(spec for spec in graphs(checkpoint.network, checkpoint.task) if spec.file == file)
        write_models([(file, trace(spec))], folder)
        truth = TorchWatched(spec, precise=True)
        return Made(folder / file, truth, TorchWatched(spec, precise=False), feeds_of(spec, truth.graph.inputs))

    return made


def feeds_of(spec: GraphSpec, inputs: Mapping[str, Shape]) -> Arrays:
    """Random, with some padding, and every axis of another length."""
    random = np.random.default_rng(3)
    feeds: dict[str, Array] = {}
    for name, shape in inputs.items():
        sizes = [axis if isinstance(axis, int) else sum(LENGTHS[part] for part in axis.split(" + ")) for axis in shape]
        if name.endswith("attention_mask"):
            feeds[name] = np.ones(sizes, dtype=np.int64)
            # On the right for what reads whole texts, else on the left, where the past is.
            causal = ports.POSITION_IDS in inputs and name != ports.ENCODER_ATTENTION_MASK
            feeds[name][1, slice(0, 2) if causal else slice(-2, None)] = 0
        elif name == ports.NUM_LOGITS_TO_KEEP:
            feeds[name] = np.array(2)
        elif name == ports.POSITION_IDS:
            feeds[name] = np.arange(sizes[0] * sizes[1]).reshape(sizes) % 23
        elif name in (ports.INPUT_IDS, ports.TOKEN_TYPE_IDS):
            feeds[name] = random.integers(0, 2 if name == ports.TOKEN_TYPE_IDS else 50, sizes)
        else:
            feeds[name] = random.standard_normal(sizes).astype(np.float32)
    return feeds


@pytest.mark.parametrize("family", MODELS)
def test_nothing_is_found_in_a_healthy_graph(make: Make, family: str) -> None:
    made = make(family)
    report = made.bisect(made.path)
    assert report.module is None
    assert report.note == "every value holds for these feeds, the graph's outputs included"
    assert all(layer.holds for layer in report.layers)
    assert report.layers == layer_errors(OnnxWatched(made.path, SETTINGS), made.truth, made.own, made.feeds)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_module_at_fault_is_named(make: Make, tmp_path: Path, fault: str) -> None:
    family, edit, module = FAULTS[fault]
    made = make(family)
    report = made.bisect(plant(made.path, tmp_path, edit))
    assert report.module == module, report
    assert all(value.holds for value in report.inputs), report
    assert not all(value.holds for value in report.outputs), report
    assert report.nodes


def test_a_report_says_what_comes_in_and_goes_out(make: Make, tmp_path: Path) -> None:
    made = make("mbart")
    _, edit, module = FAULTS["attention's scale"]
    report = made.bisect(plant(made.path, tmp_path, edit))
    assert (report.graph, report.case, report.module) == ("decoder.onnx", "random", module)
    assert [value.name.split(" of ")[-1] for value in report.inputs] == [
        f"{B}.cross_attention_input_norm",
        "past_key_values.1.encoder.key",
        "decoder",
        "past_key_values.1.encoder.value",
    ]
    (output,) = report.outputs
    assert output.name.endswith(f" of {module}.output")
    assert output.shape == [6, 3, 24]
    assert output.ratio > 4
    assert "Softmax node_softmax_3" in report.nodes
    assert [(layer.name, layer.holds) for layer in report.layers] == [
        ("decoder.embedding", True),
        (A, True),
        (B, False),
        ("decoder.norm", False),
    ]


def test_a_few_values_at_a_time_find_the_same(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make("mbart")
    path = plant(made.path, tmp_path, FAULTS["attention's scale"][1])
    at_once = made.bisect(path)
    monkeypatch.setattr("diptych.export.parity.bisection.comparison.GROUP", 20_000)
    few = made.bisect(path)
    assert (few.module, few.nodes, few.note) == (at_once.module, at_once.nodes, at_once.note)
    assert [value.name for value in few.inputs] == [value.name for value in at_once.inputs]


def test_one_bundle_against_another(make: Make, tmp_path: Path) -> None:
    made = make("llama")
    healthy = OnnxWatched(made.path, SETTINGS)
    plain = OnnxWatched(made.path, SETTINGS, optimized=False)
    assert bisect(healthy, healthy, plain, made.feeds, graph="model.onnx", case="").module is None
    _, edit, module = FAULTS["queries turned the other way"]
    subject = OnnxWatched(plant(made.path, tmp_path, edit), SETTINGS)
    assert bisect(subject, healthy, plain, made.feeds, graph="model.onnx", case="").module == module


def test_a_graph_that_stops(make: Make, tmp_path: Path) -> None:
    """Its batch was written down as a number."""

    def bake(e: Editor) -> None:
        e.set_shape(e.find("Reshape", f"{B}.self_attention"), [2, -1, 4, 6])

    made = make("mbart")
    report = made.bisect(plant(made.path, tmp_path, bake))
    assert report.module == f"{B}.self_attention"
    assert "the graph stops at MatMul" in report.note
    assert [layer.name for layer in report.layers] == ["decoder.embedding", A]
    assert all(layer.holds for layer in report.layers)


def test_a_graph_that_cannot_be_loaded(make: Make, tmp_path: Path) -> None:
    made = make("bert")
    report = made.bisect(
        plant(made.path, tmp_path, lambda e: set_op(e.find("Gelu", "encoder.layers.0.feed_forward"), "Gelo"))
    )
    assert report.module == "encoder.layers.0.feed_forward"
    assert "Gelo" in report.note


def test_what_only_happens_unwatched(make: Make) -> None:
    """As a fusion would that is not done where its parts are outputs."""

    class Fused(OnnxWatched):
        def observe(self, points: Collection[Point], feeds: Arrays) -> dict[Point, Array]:
            values = super().observe(points, feeds)
            alone = self.optimized and all(point.module == "" for point in points)
            return {point: value + 1 if alone else value for point, value in values.items()}

    made = make("bert")
    report = bisect(Fused(made.path, SETTINGS), made.truth, made.own, made.feeds, graph="model.onnx", case="random")
    assert report.module is None
    assert report.note.endswith("a fusion by the optimiser may be the cause; without it they hold")
