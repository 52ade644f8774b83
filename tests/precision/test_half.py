"""Graphs in float16: as near as that can be, and in float32 where it has no room."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from precision.conftest import GetTraced
from precision.models import CASES, decoder, drawn, engines, error, logits, product_graph

from diptych.export import ExportError
from diptych.export.precision.calibration import Example
from diptych.export.precision.half import LARGEST, MASKED, halve
from diptych.export.precision.overflow import too_large
from diptych.export.precision.reduce import Models
from diptych.runtime.decoder import Sources

every_family = pytest.mark.parametrize("family", CASES)


def halved(models: Models, large: dict[str, set[str]] | None = None) -> Models:
    for file, model in models:
        halve(model.graph, (large or {}).get(file, set()))
    return models


@every_family
def test_near_float32(family: str, traced: GetTraced, tmp_path: Path) -> None:
    whole = engines(traced(family).copy(), tmp_path / "whole")
    half = engines(halved(traced(family).copy()), tmp_path / "half")
    sources, ids = drawn(3, 9), drawn(3, 6, seed=1)
    ours, theirs = logits(half, sources, ids), logits(whole, sources, ids)
    assert ours.dtype == np.float32
    assert 0 < error(ours, theirs) < 0.005


@every_family
def test_weights_and_caches_are_float16_and_the_rest_of_what_comes_out_is_not(
    family: str, traced: GetTraced, tmp_path: Path
) -> None:
    models = halved(traced(family).copy())
    graphs = engines(models, tmp_path)
    for file, model in models:
        onnx.checker.check_model(str(tmp_path / file), full_check=True)
        for name, value in model.graph.initializers.items():
            assert value.dtype != ir.DataType.FLOAT or value.const_value.size <= 16, name  # type: ignore[union-attr]
        for value in [*model.graph.inputs, *model.graph.outputs]:
            if value.dtype is not None and value.dtype.is_floating_point():
                cached = str(value.name).startswith(("past_key_values.", "present."))
                assert value.dtype == (ir.DataType.FLOAT16 if cached else ir.DataType.FLOAT), value.name
        past = {name: dtype for name, dtype in graphs[file].dtypes.items() if name.startswith("past")}
        assert set(past.values()) <= {np.dtype(np.float16)}


def test_padding_and_a_growing_cache(traced: GetTraced, tmp_path: Path) -> None:
    whole = decoder(engines(traced("bart").copy(), tmp_path / "whole"))
    half = decoder(engines(halved(traced("bart").copy()), tmp_path / "half"))
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    ids = np.array([[5, 6, 7, 8], [-1, -1, 9, 10]])
    found = []
    for one in (half, whole):
        state = one.start(Sources(drawn(2, 5), mask), 1)
        steps = [one.step(state, ids[:, place : place + 1]) for place in range(4)]
        assert np.isfinite(steps).all()
        found.append(steps[-1])
    assert error(*found) < 0.005


def overflowing(traced: GetTraced, name: str, factor: float) -> Models:
    models = traced("t5").copy()
    for _, model in models:
        value = model.graph.initializers.get(name)
        if value is not None:
            assert value.const_value is not None
            value.const_value = ir.tensor(value.const_value.numpy() * np.float32(factor), name=name)
    return models


DOWN = "decoder.layers.0.feed_forward.down"
EXAMPLES = [Example(source=[5, 6, 7], row=[1, 8, 9, 10]), Example(source=[9, 2], row=[1, 30])]


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("factor", [1e5, 1e8])
def test_values_that_overflow_stay_in_float32(factor: float, traced: GetTraced, tmp_path: Path) -> None:
    """What T5 is known for: the second projection of a feed-forward. Of 1e8 the weights overflow themselves."""
    models = overflowing(traced, f"{DOWN}.weight", factor)
    (tmp_path / "watched").mkdir()
    large = too_large(models, EXAMPLES, tmp_path / "watched")
    copies = [(file, model.clone()) for file, model in models]
    kept = [module for file, model in copies for module in halve(model.graph, large[file])]
    assert DOWN in kept
    assert not any("self_attention" in module and "norm" not in module for module in kept)
    (weight,) = [model.graph.initializers[f"{DOWN}.weight"] for file, model in copies if file == "decoder.onnx"]
    assert weight.dtype == ir.DataType.FLOAT
    whole, half = engines(models, tmp_path / "whole"), engines(copies, tmp_path / "half")
    sources, ids = drawn(2, 5), drawn(2, 4, seed=1)
    assert error(logits(half, sources, ids), logits(whole, sources, ids)) < 0.01
    if factor == 1e8:  # ONNX Runtime's CPU leaves out casts to float16 and back, and overflows in weights alone.
        blind = engines(halved([(file, model.clone()) for file, model in models]), tmp_path / "blind")
        assert not np.isfinite(logits(blind, sources, ids)).all()


def test_nothing_is_kept_without_need(traced: GetTraced, tmp_path: Path) -> None:
    large = too_large(traced("t5").models, EXAMPLES, tmp_path)
    for file, model in traced("t5").copy():
        assert halve(model.graph, large[file]) == []


def test_a_cache_that_overflows_is_refused(traced: GetTraced, tmp_path: Path) -> None:
    models = overflowing(traced, "decoder.layers.0.self_attention.key.weight", 1e6)
    with pytest.raises(ExportError, match=r"decoder.onnx: present.0.decoder.key reaches .* float16 ends at 65504"):
        too_large(models, EXAMPLES, tmp_path)


def test_masks_are_numbers_of_float16(traced: GetTraced) -> None:
    for _, model in halved(traced("bart").copy()):
        found = [
            float(value.const_value.numpy())
            for value in model.graph.initializers.values()
            if value.const_value is not None and value.const_value.size == 1 and value.dtype == ir.DataType.FLOAT16
        ]
        assert MASKED in found
        assert min(found) > -LARGEST


def test_a_weight_in_both_widths(tmp_path: Path) -> None:
    """Of a product whose own output is too large, and of nothing else."""
    model = product_graph(np.eye(16, dtype=np.float32), before="Relu")
    assert halve(model.graph, {"y"}) == ["layer"]
    x = np.full((1, 1, 16), 60000, np.float16)
    (found,) = engines([("model.onnx", model)], tmp_path)["model.onnx"].run({"x": x}).values()
    assert np.array_equal(found, x.astype(np.float32))
