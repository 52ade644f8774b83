"""What is measured of reduced graphs, and which layers are kept until a bound holds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from precision.conftest import GetTraced
from precision.models import engines, logits

from diptych.export import ExportError
from diptych.export.precision.calibration import Example
from diptych.export.precision.choose import choose, groups
from diptych.export.precision.noise import Noise
from diptych.export.precision.quality import Expected, expected, quality, told
from diptych.export.precision.reduce import Models, reduce_weights
from diptych.runtime import ports
from diptych.runtime.graph import Array

EXAMPLES = [Example(row=[3, *range(5, 25)], given=True), Example(row=[40, 50, 60])]


class Says:
    """A graph that says this, whatever it is fed."""

    def __init__(self, name: str, answer: Array) -> None:
        self.answer = {name: answer}
        self.inputs = self.outputs = self.dtypes = dict[str, Any]()

    def run(self, feeds: object, outputs: object = None) -> dict[str, Array]:
        return self.answer


def compared(ours: Array, theirs: Array, name: str = ports.LOGITS) -> dict[str, float]:
    references = expected([Example(feeds={})], {ports.MODEL_FILE: Says(name, theirs)})
    return quality(references, {ports.MODEL_FILE: Says(name, ours)})


def test_agreement_and_divergence() -> None:
    theirs = np.log(np.array([[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]], np.float32))
    ours = np.log(np.array([[[0.25, 0.5, 0.25], [0.25, 0.5, 0.25]]], np.float32))
    found = compared(ours, theirs)
    assert found["agreement"] == 0.5
    assert found["positions"] == 2
    assert found["divergence"] == pytest.approx((0.5 * np.log(2) - 0.25 * np.log(2)) / 2)
    assert compared(theirs, theirs) == {"agreement": 1.0, "positions": 2.0, "divergence": 0.0}
    assert compared(theirs + 7, theirs)["divergence"] == pytest.approx(0, abs=1e-6)


def test_states_agree_by_their_direction() -> None:
    theirs = np.array([[[1, 0], [0, 2]]], np.float32)
    found = compared(3 * theirs[:, :, ::-1] + theirs, theirs, ports.LAST_HIDDEN_STATE)
    assert found == {"agreement": pytest.approx(10**-0.5), "positions": 2.0}


def test_perplexity_is_of_tokens_that_were_given(traced: GetTraced, tmp_path: Path) -> None:
    graphs = engines(traced("gpt2").copy(), tmp_path)
    found = quality(expected(EXAMPLES, graphs), graphs)
    row = np.array(EXAMPLES[0].row)
    said = logits(graphs, row[None], row[None, :-1])[0].astype(np.float64)
    surprise = np.log(np.exp(said).sum(1)) - said[np.arange(len(said)), row[1:]]
    assert found["perplexity"] == found["perplexity_fp32"] == pytest.approx(np.exp(surprise.mean()), rel=1e-4)
    assert "perplexity" in told(found)
    assert "perplexity" not in quality(expected(EXAMPLES[1:], graphs), graphs)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_signal_to_noise_of_layers_and_what_each_costs(precision: str, traced: GetTraced, tmp_path: Path) -> None:
    models = traced("gpt2").models
    for name in ("whole", "noise"):
        (tmp_path / name).mkdir()
    references = expected(EXAMPLES, engines(traced("gpt2").copy(), tmp_path / "whole"))
    modules = groups(models)
    noise = Noise(models, precision, modules, tmp_path / "noise")
    decibels = noise.signal_to_noise(references)
    assert decibels.keys() == {module for group in modules for module in group}
    usual = {"int8": (30, 60), "int4": (12, 30)}[precision]
    assert all(usual[0] < each < usual[1] for module, each in decibels.items() if "positions" not in module), decibels
    losses = noise.losses(references)
    assert len(losses) == len(modules)
    assert all(0 < loss < 0.2 for loss in losses)
    # The same as that layer alone reduced, for real.
    for number in (0, len(modules) - 1):
        copies = traced("gpt2").copy()
        others = {module: "fp32" for group in modules for module in group if module not in modules[number]}
        reduce_weights(copies, precision, others)
        found = quality(references, engines(copies, tmp_path / str(number)))
        assert found["divergence"] == pytest.approx(losses[number], rel=1e-3)


def test_tied_weights_are_kept_together(traced: GetTraced) -> None:
    for family, tied in (("bart", 2), ("llama, untied", 1)):
        found = groups(traced(family).models)
        (with_head,) = [group for group in found if "head" in group]
        assert len(with_head) == tied
        assert len({module for group in found for module in group}) == sum(map(len, found))


@pytest.fixture
def search(traced: GetTraced, tmp_path: Path) -> Callable[[str, float], tuple[dict[str, str], list[str]]]:
    """What is kept of a GPT-2, and what was told meanwhile."""

    def run(precision: str, bound: float) -> tuple[dict[str, str], list[str]]:
        models: Models = traced("gpt2").models
        references: list[Expected] = expected(EXAMPLES, engines(traced("gpt2").copy(), tmp_path / "whole"))
        stages: list[str] = []
        found = choose(models, precision, bound, references, tmp_path, stages.append)
        assert found.name == precision
        assert found.quality["agreement"] >= bound == found.quality["bound"]
        assert len(found.layers) == sum(map(len, groups(models)))
        assert [path.name for path in tmp_path.iterdir()] == ["whole"]
        return found.kept, stages

    return run


def test_a_loose_bound_keeps_nothing(search: Callable[[str, float], tuple[dict[str, str], list[str]]]) -> None:
    kept, stages = search("int8", 0.05)
    assert kept == {}
    assert len(stages) == 1


def test_a_tight_bound_keeps_some_in_int8(search: Callable[[str, float], tuple[dict[str, str], list[str]]]) -> None:
    kept, stages = search("int4", 0.95)
    assert kept
    assert "int8" in kept.values()
    assert "measuring what each layer costs in int4" in stages


def test_a_bound_that_cannot_be_met(traced: GetTraced, tmp_path: Path) -> None:
    graphs = engines(traced("gpt2").copy(), tmp_path / "whole")
    references = [
        Expected(each.example, {name: -value for name, value in each.answers.items()})
        for each in expected(EXAMPLES, graphs)
    ]
    with pytest.raises(ExportError, match=r"int8 does not hold an agreement of 99\.00%: with nothing kept it is"):
        choose(traced("gpt2").models, "int8", 0.99, references, tmp_path, lambda stage: None)
