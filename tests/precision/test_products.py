"""Products in fewer bits: near float32, whatever form the exporter gave them, and each row by itself."""

from pathlib import Path

import numpy as np
import pytest
from precision.models import engines, error, operators, product_graph

from diptych.export.precision.reduce import reduce_weights
from diptych.runtime.graph import Array, Graph

INPUTS, OUTPUTS = 96, 80
BOUNDS = {"int8": 0.02, "int4": 0.15}


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def reduced(precision: str, folder: Path, *, weight: Array | None = None, **how: object) -> tuple[Graph, Array]:
    """The reduced graph, and the weight [in, out]."""
    weight = normal(INPUTS, OUTPUTS) if weight is None else weight
    by_rows = how.get("how") in ("Transpose", "Gemm")
    model = product_graph(np.ascontiguousarray(weight.T) if by_rows else weight, **how)  # type: ignore[arg-type]
    reduce_weights([("model.onnx", model)], precision, {})
    assert "layer.weight.scale" in model.graph.initializers
    return engines([("model.onnx", model)], folder)["model.onnx"], weight


def run(graph: Graph, x: Array) -> Array:
    (found,) = graph.run({"x": x}).values()
    return found


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("how", ["MatMul", "Transpose", "Gemm"])
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_each_form_of_a_product(precision: str, how: str, biased: bool, tmp_path: Path) -> None:
    bias = 3 * normal(OUTPUTS, seed=2) if biased else None
    graph, weight = reduced(precision, tmp_path, how=how, bias=bias)
    x = normal(7, INPUTS, seed=1)
    if how != "Gemm":
        x = x.reshape(7, 1, INPUTS)
    expected = x @ weight + (0 if bias is None else bias)
    found = run(graph, x)
    assert found.shape == expected.shape
    assert error(found, expected) < BOUNDS[precision]


@pytest.mark.parametrize("how", ["MatMul", "Transpose"])
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_row_is_the_same_in_any_batch_bit_for_bit(precision: str, how: str, tmp_path: Path) -> None:
    graph, _ = reduced(precision, tmp_path, how=how, bias=normal(OUTPUTS))
    x = normal(128, 1, INPUTS) * np.geomspace(1e-9, 1e9, 128, dtype=np.float32)[:, None, None]
    alone = np.concatenate([run(graph, row[None]) for row in x])
    for rows in (2, 3, 4, 31, 32, 33, 128):
        assert np.array_equal(run(graph, x[:rows]), alone[:rows])
        assert np.array_equal(run(graph, x[-rows:]), alone[-rows:])
    for length in (2, 4, 16, 128):
        together = run(graph, x.reshape(128 // length, length, INPUTS))
        assert np.array_equal(together.reshape(alone.shape), alone)


@pytest.mark.parametrize("other", [0.0, 1e30, np.inf, np.nan])
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_no_row_sees_another(precision: str, other: float, tmp_path: Path) -> None:
    graph, _ = reduced(precision, tmp_path)
    x = normal(5, 4, INPUTS)
    expected = run(graph, x)
    x[2, 3:] = other
    changed = run(graph, x)
    changed[2, 3:] = expected[2, 3:]
    assert np.array_equal(changed, expected)


@pytest.mark.parametrize("before", ["", "Relu", "Sigmoid"])
def test_rows_of_nothing_or_next_to_nothing_are_finite(before: str, tmp_path: Path) -> None:
    bias = normal(OUTPUTS)
    graph, _ = reduced("int8", tmp_path, bias=bias, before=before)
    x = np.zeros((1, 3, INPUTS), np.float32)
    x[0, 1] = 1e-42
    x[0, 2] = -1e-38
    found = run(graph, x)
    assert np.isfinite(found).all()
    if before != "Sigmoid":
        assert np.array_equal(found[0], np.tile(bias, (3, 1)))


def test_rows_that_cannot_be_negative_have_twice_the_steps(tmp_path: Path) -> None:
    x = normal(50, 1, INPUTS, seed=4)
    exact = np.sign(normal(INPUTS, OUTPUTS))  # Such weights are exact, so that what is off are the rows.
    errors = {}
    for before in ("", "Relu"):
        given = x if before else np.maximum(x, 0)
        graph, weight = reduced("int8", tmp_path / f"of{before}", weight=exact, before=before)
        errors[before] = error(run(graph, given), np.maximum(x, 0) @ weight)
    assert errors["Relu"] < 0.6 * errors[""]
    assert errors["Relu"] < 0.004


def test_rows_of_very_different_sizes_are_equally_exact(tmp_path: Path) -> None:
    """What one scale for all of them, as DynamicQuantizeLinear has it, would round to nothing."""
    graph, weight = reduced("int8", tmp_path)
    x = normal(4, 1, INPUTS) * np.array([1e-6, 1, 1e3, 1e6], np.float32)[:, None, None]
    for row, found in zip(x, run(graph, x), strict=True):
        assert error(found, row @ weight) < BOUNDS["int8"]


@pytest.mark.parametrize("shape", [(15, 80), (80, 15), (2, 2)])
def test_narrow_weights_stay(shape: tuple[int, int]) -> None:
    model = product_graph(normal(*shape))
    reduce_weights([("model.onnx", model)], "int8", {})
    assert operators(model) == {"MatMul": 1}


@pytest.mark.parametrize("kept", ["fp32", "int8"])
def test_what_is_kept_stays_in_more_bits(kept: str) -> None:
    model = product_graph(normal(INPUTS, OUTPUTS))
    reduce_weights([("model.onnx", model)], "int4", {"layer": kept})
    assert ("MatMul" in operators(model)) == (kept == "fp32")
    assert ("MatMulIntegerToFloat" in operators(model)) == (kept == "int8")
