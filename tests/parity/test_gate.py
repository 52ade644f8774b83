"""The gate on engines that are not what they should be: rounding passes, faults fail, and nothing is a crash."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import numpy as np
import pytest
from families.twins import SETTINGS
from parity.injection import Healthy

from diptych.export.facts import facts_of
from diptych.export.parity.gate import Compared, Gate
from diptych.export.parity.report import Report, WeightsReport
from diptych.export.parity.verify import with_checkpoint
from diptych.export.source import read_source
from diptych.runtime import ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.errors import EngineError
from diptych.runtime.graph import Array, Arrays, Graph, Shape

Results = dict[str, Array]


class Altered:
    """A graph whose results pass through other hands, and its feeds if need be."""

    def __init__(
        self,
        graph: Graph,
        results: Callable[[Results], Results] = lambda results: results,
        feeds: Callable[[Arrays], Arrays] = lambda feeds: feeds,
    ) -> None:
        self.graph, self.feeds, self.results = graph, feeds, results
        self.inputs: Mapping[str, Shape] = graph.inputs
        self.outputs: Mapping[str, Shape] = graph.outputs
        self.dtypes = graph.dtypes

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> Results:
        results = self.results(self.graph.run(self.feeds(feeds)))
        return {name: value for name, value in results.items() if outputs is None or name in outputs}


@pytest.fixture(scope="module")
def compared(healthy: Callable[[str], Healthy]) -> Compared:
    """GPT-2, whose subject is then exchanged."""
    made = healthy("gpt2")
    bundle = Bundle.open(made.bundle)
    source = read_source(made.checkpoint, bundle.manifest.task)
    return with_checkpoint(bundle, source, facts_of(source), SETTINGS)


def run(compared: Compared, alter: Callable[[Graph], Graph], level: str = "full", side: str = "subject") -> Report:
    engines = getattr(compared.sides, side)
    altered = {ports.MODEL_FILE: alter(engines[ports.MODEL_FILE])}
    return Gate(replace(compared, sides=replace(compared.sides, **{side: altered})), level).run()


def failed(report: Report) -> set[str]:
    assert report.passed is (not report.failures)
    return {failure.level for failure in report.failures}


def noisy(size: float) -> Callable[[Results], Results]:
    """Every number a little off, in all outputs."""
    random = np.random.default_rng(5)

    def add(results: Results) -> Results:
        return {
            name: value * (1 + size * random.uniform(-1, 1, value.shape)).astype(np.float32)
            for name, value in results.items()
        }

    return add


def spoilt(output: str, number: float) -> Callable[[Results], Results]:
    """One number of an output is another."""

    def spoil(results: Results) -> Results:
        values = results[output].copy()
        values.reshape(-1)[-1:] = number
        return results | {output: values}

    return spoil


def test_rounding_passes(compared: Compared) -> None:
    report = run(compared, lambda graph: Altered(graph, noisy(3e-7)))
    assert report.passed, report.failures
    assert report.worst is not None
    assert 0 < report.worst.ratio <= report.multiple


def test_more_than_rounding_does_not(compared: Compared) -> None:
    report = run(compared, lambda graph: Altered(graph, noisy(1e-5)))
    assert "tensors" in failed(report)
    assert "times what float32 explains, at most 4" in next(f.what for f in report.failures if f.level == "tensors")


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("output", ["logits", "present.1.key"])
def test_numbers_that_are_none(compared: Compared, output: str, number: float) -> None:
    report = run(compared, lambda graph: Altered(graph, spoilt(output, number)), level="quick")
    assert failed(report) == {"tensors"}
    assert [each.output for each in report.tensors.outputs if each.ratio > report.multiple] == [output]
    json.loads(json.dumps(report.as_json()), parse_constant=pytest.fail)


@pytest.mark.parametrize("side", ["truth", "own"])
def test_numbers_that_are_none_on_the_side_of_pytorch(compared: Compared, side: str) -> None:
    """Nothing can be said then; least of all that it passed."""
    report = run(compared, lambda graph: Altered(graph, spoilt("logits", np.nan)), level="quick", side=side)
    assert "tensors" in failed(report)


def test_a_shape_of_its_own(compared: Compared) -> None:
    report = run(
        compared,
        lambda graph: Altered(graph, lambda r: r | {"present.0.value": r["present.0.value"][:, :, 1:]}),
        "quick",
    )
    assert failed(report) == {"tensors"}


def test_masked_rows_are_not_compared(compared: Compared) -> None:
    """What a graph says of padding is nobody's concern."""
    mask: list[Array] = []

    def remember(feeds: Arrays) -> Arrays:
        mask[:] = [feeds["attention_mask"]]
        return feeds

    def change(results: Results) -> Results:
        # Of a hidden token the entry in the cache, and its logits if it is new.
        (seen,) = (each != 0 for each in mask)
        length = results["logits"].shape[1]
        changed = {
            name: np.where(seen[:, None, :, None], value, 7) if name != "logits" else value
            for name, value in results.items()
        }
        return changed | {"logits": np.where(seen[:, -length:, None], results["logits"], 7)}

    report = run(compared, lambda graph: Altered(graph, change, remember), "quick")
    assert "tensors" not in failed(report), report.failures


def test_a_session_that_fails_is_a_failure(compared: Compared) -> None:
    """Which names the case and the message; what cannot run is not asked to generate."""

    def refuse(feeds: Arrays) -> Arrays:
        if feeds["input_ids"].shape[1] > 1:
            raise EngineError("the kernel has no more fingers")
        return feeds

    report = run(compared, lambda graph: Altered(graph, feeds=refuse))
    assert failed(report) == {"tensors", "properties"}
    assert report.tokens is None
    first = next(failure for failure in report.failures if failure.level == "tensors")
    assert first.what == "model.onnx fails (1 row, 0 cached, 6 new): the kernel has no more fingers"
    json.loads(json.dumps(report.as_json()), parse_constant=pytest.fail)


def test_a_session_that_fails_in_a_search_only(compared: Compared) -> None:
    def refuse(feeds: Arrays) -> Arrays:
        if len(feeds["input_ids"]) > 50:
            raise EngineError("too many of them")
        return feeds

    report = run(compared, lambda graph: Altered(graph, feeds=refuse))
    assert failed(report) == {"tokens"}
    assert "too many of them" in report.failures[0].what


def test_a_quick_gate_stops_at_what_fails(compared: Compared) -> None:
    report = run(compared, lambda graph: Altered(graph, spoilt("logits", np.nan)), level="quick")
    assert (report.properties, report.tokens, report.text) == (None, None, None)
    assert report.tensors is not None


def test_a_full_gate_goes_on(compared: Compared) -> None:
    differing = replace(compared, weights=lambda: WeightsReport(2, 1, {"decoder.norm.weight": "another"}))
    report = Gate(differing, "full").run()
    assert failed(report) == {"weights"}
    assert report.failures[0].module == "decoder.norm"
    assert report.tensors is not None
    assert report.tokens is not None
    assert report.tokens.differences == []


def test_a_quick_gate_is_part_of_a_full_one(compared: Compared) -> None:
    quick, full = (Gate(compared, level).run() for level in ("quick", "full"))
    assert quick.passed
    assert full.passed
    assert quick.tensors.outputs[0].cases < full.tensors.outputs[0].cases
    assert {each.output for each in quick.tensors.outputs} == {each.output for each in full.tensors.outputs}


def test_it_is_the_same_every_time(compared: Compared) -> None:
    first, second = (Gate(compared, "quick").run() for _ in range(2))
    assert first.as_json() | {"seconds": {}} == second.as_json() | {"seconds": {}}
    assert list(first.seconds) == list(second.seconds) == ["facts", "weights", "tensors", "tokens"]


def test_bisection_of_what_never_failed(compared: Compared) -> None:
    gate = Gate(compared, "quick")
    gate.run()
    gate.bisect()
    assert gate.report.passed
    assert gate.report.bisection is not None
    assert gate.report.bisection.module is None
    assert [layer.holds for layer in gate.report.bisection.layers] == [True] * 4
