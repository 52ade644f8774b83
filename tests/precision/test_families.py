"""Whole models of several families in 8 and 4 bits."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from precision.conftest import GetTraced
from precision.models import CASES, LARGE_CASE, drawn, engines, error, logits, operators, trace_case

from diptych.export.precision.numbers import Reduced, from_int4, from_int8
from diptych.export.precision.places import places
from diptych.export.precision.reduce import Models, reduce_weights

BOUNDS = {"int8": 0.1, "int4": 0.5}
every_family = pytest.mark.parametrize("family", CASES)
every_precision = pytest.mark.parametrize("precision", BOUNDS)


def reduced(traced: GetTraced, family: str, precision: str, kept: dict[str, str] | None = None) -> Models:
    models = traced(family).copy()
    reduce_weights(models, precision, kept or {})
    return models


def initializers(models: Models) -> dict[str, ir.Value]:
    return {name: value for _, model in models for name, value in model.graph.initializers.items()}


@every_precision
@every_family
def test_near_float32(family: str, precision: str, traced: GetTraced, tmp_path: Path) -> None:
    whole = engines(traced(family).copy(), tmp_path / "whole")
    few = engines(reduced(traced, family, precision), tmp_path / "few")
    sources, ids = drawn(3, 9), drawn(3, 6, seed=1)
    ours, theirs = logits(few, sources, ids), logits(whole, sources, ids)
    assert ours.dtype == np.float32
    assert 0 < error(ours, theirs) < BOUNDS[precision]


@every_precision
@every_family
def test_a_row_is_the_same_in_any_batch_bit_for_bit(
    family: str, precision: str, traced: GetTraced, tmp_path: Path
) -> None:
    graphs = engines(reduced(traced, family, precision), tmp_path)
    sources, ids = drawn(33, 9), drawn(33, 5, seed=1)
    together = logits(graphs, sources, ids)
    for row in (0, 16, 32):
        assert np.array_equal(logits(graphs, sources[[row]], ids[[row]])[0], together[row])
    assert np.array_equal(logits(graphs, sources[:4], ids[:4]), together[:4])


@every_precision
@pytest.mark.parametrize("family", [family for family in CASES if family != "bert"])
def test_no_token_sees_those_after_it(family: str, precision: str, traced: GetTraced, tmp_path: Path) -> None:
    graphs = engines(reduced(traced, family, precision), tmp_path)
    sources, ids = drawn(2, 9), drawn(2, 6, seed=1)
    expected = logits(graphs, sources, ids)
    ids[:, 4:] = 3
    found = logits(graphs, sources, ids)
    assert np.array_equal(found[:, :4], expected[:, :4])
    assert not np.array_equal(found[:, 4:], expected[:, 4:])


@every_precision
@every_family
def test_no_product_with_weights_is_left(family: str, precision: str, traced: GetTraced) -> None:
    for file, model in reduced(traced, family, precision):
        assert places(model.graph) == [], file
        assert not [name for name in model.graph.initializers if "replaced" in name]


@every_precision
@every_family
def test_numbers_stand_for_the_checkpoint_s(family: str, precision: str, traced: GetTraced) -> None:
    """By the names that the network has; of each as many as it had."""
    stored = initializers(reduced(traced, family, precision))
    originals = {place.name: place.weight() for _, model in traced(family).models for place in places(model.graph)}
    assert originals
    for name, weight in originals.items():
        numbers, scale = (stored[each].const_value.numpy() for each in (name, f"{name}.scale"))  # type: ignore[union-attr]
        if numbers.dtype == np.int8:
            assert numbers.shape == weight.shape, name
            assert (np.abs(from_int8(Reduced(numbers, scale)) - weight) <= 0.5001 * scale).all(), name
        else:
            assert precision == "int4"
            by_rows = name in ("head.weight", "decoder.embedding.tokens.weight", "encoder.embedding.tokens.weight")
            whole = weight if by_rows else weight.T
            assert error(from_int4(Reduced(numbers, scale), whole.shape[1]), whole) < 0.1, name


@every_family
def test_rows_are_quantised_once_for_all_that_read_them(family: str, traced: GetTraced) -> None:
    for _, model in reduced(traced, family, "int8"):
        counts = operators(model)
        assert counts["QuantizeLinear"] < counts["MatMulIntegerToFloat"]
        inputs = [node.inputs[0] for node in model.graph if node.op_type == "Div" and "even" in str(node.name)]
        assert len(set(inputs)) == len(inputs) == counts["QuantizeLinear"]


@pytest.mark.parametrize("family", ["gpt2", "bart", "marian", "t5"])
@every_precision
def test_a_tied_weight_is_stored_once(family: str, precision: str, traced: GetTraced, tmp_path: Path) -> None:
    models = reduced(traced, family, precision)
    engines(models, tmp_path)
    places_of = [
        (value.const_value.offset, value.const_value.length)  # type: ignore[union-attr]
        for _, model in models
        for name, value in model.graph.initializers.items()
        if name.endswith(("tokens.weight", "head.weight", "head.weight.rows"))
    ]
    assert len(set(places_of)) == 1


@every_precision
@every_family
def test_the_files_are_valid(family: str, precision: str, traced: GetTraced, tmp_path: Path) -> None:
    models = reduced(traced, family, precision)
    engines(models, tmp_path)
    for file, _ in models:
        onnx.checker.check_model(str(tmp_path / file))


@every_family
def test_two_reductions_are_the_same(family: str, traced: GetTraced) -> None:
    one, other = (
        [ir.to_proto(model).SerializeToString(deterministic=True) for _, model in reduced(traced, family, "int8")]
        for _ in range(2)
    )
    assert one == other


def test_layers_are_kept_by_name(traced: GetTraced, tmp_path: Path) -> None:
    kept = {"decoder.layers.0.feed_forward.down": "fp32", "head": "fp32"}
    models = reduced(traced, "gpt2", "int8", kept)
    (model,) = [model for _, model in models]
    assert {place.module for place in places(model.graph)} == kept.keys()
    assert model.graph.initializers["head.weight"].dtype == ir.DataType.FLOAT
    assert engines(models, tmp_path)


def test_sizes(tmp_path: Path) -> None:
    """Of the weights' file: a tied model with norms, scales and all. 4 bits are 5 with a scale for each 32."""
    large = trace_case(LARGE_CASE, tmp_path / "checkpoint")
    for precision, least, most in (("int8", 1, 1.05), ("int4", 0.625, 0.66)):
        models = large.copy()
        reduce_weights(models, precision, {})
        engines(models, tmp_path / precision)
        bytes_each = (tmp_path / precision / "weights.data").stat().st_size / large.parameters
        assert least < bytes_each < most, precision
