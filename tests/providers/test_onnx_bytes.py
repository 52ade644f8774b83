"""Hand-written protobuf against the `onnx` package: what it reads of ours, and what ours makes of its models."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from diptych.runtime import ports
from diptych.runtime.onnx_bytes import Node, Value, model, without_defaults

FLOAT, HALF, INT64 = (np.dtype(kind) for kind in (np.float32, np.float16, np.int64))


def test_what_is_written_is_a_valid_model() -> None:
    inputs = [Value("x", FLOAT, 4), Value("größe", INT64, 1)]
    nodes = [
        Node("Gather", ["x", "größe"], ["picked"], {"axis": 0}),
        Node("Concat", ["picked", "x"], ["y"], {"axis": -2}),
    ]
    written = onnx.load_from_string(model(nodes, inputs, [Value("y", FLOAT, 4)]))
    onnx.checker.check_model(written, full_check=True)
    assert (written.ir_version, [(each.domain, each.version) for each in written.opset_import]) == (10, [("", 20)])
    assert [(node.op_type, list(node.input), list(node.output)) for node in written.graph.node] == [
        ("Gather", ["x", "größe"], ["picked"]),
        ("Concat", ["picked", "x"], ["y"]),
    ]
    assert [helper.get_attribute_value(node.attribute[0]) for node in written.graph.node] == [0, -2]
    shapes = [value.type.tensor_type for value in [*written.graph.input, *written.graph.output]]
    assert [shape.elem_type for shape in shapes] == [TensorProto.FLOAT, TensorProto.INT64, TensorProto.FLOAT]
    assert [len(shape.shape.dim) for shape in shapes] == [4, 1, 4]


def test_a_model_of_many_nodes_runs() -> None:
    """Long enough for lengths of several bytes."""
    count = 200
    inputs = [Value(f"a rather long name of an input {place}", HALF, 2) for place in range(count)]
    nodes = [Node("Neg", [value.name], [str(place)], {}) for place, value in enumerate(inputs)]
    written = model(nodes, inputs, [Value(str(place), HALF, 2) for place in range(count)])
    onnx.checker.check_model(onnx.load_from_string(written), full_check=True)
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    feeds = {value.name: np.full((2, 1), place, np.float16) for place, value in enumerate(inputs)}
    results = session.run(None, feeds)
    assert all((result == -place).all() and result.dtype == HALF for place, result in enumerate(results))


def with_a_default() -> onnx.ModelProto:
    kept, given = (
        numpy_helper.from_array(np.array([2.0], np.float32), "kept"),
        helper.make_tensor("given", TensorProto.FLOAT, [1], [5.0]),
    )
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ("x", "given", "y")]
    nodes = [helper.make_node("Mul", ["x", "kept"], ["twice"]), helper.make_node("Add", ["twice", "given"], ["y"])]
    graph = helper.make_graph(nodes, "sum", ends[:2], ends[2:], [given, kept], doc_string="Prüfstück")
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10, producer_name="test")
    made.metadata_props.add(key="a", value="b")
    return made


def test_an_input_loses_its_default_and_all_else_stays() -> None:
    before = with_a_default()
    after = onnx.load_from_string(without_defaults(before.SerializeToString()))
    assert [each.name for each in after.graph.initializer] == ["kept"]
    del before.graph.initializer[0]
    assert after == before
    session = onnxruntime.InferenceSession(after.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.ones(1, np.float32), "given": np.ones(1, np.float32)})[0] == 3.0


def test_the_graphs_of_a_bundle_keep_all_but_their_defaults(demo_bundle: Path) -> None:
    for name in (ports.ENCODER_FILE, ports.DECODER_FILE):
        data = (demo_bundle / name).read_bytes()
        before, after = onnx.load_from_string(data), onnx.load_from_string(without_defaults(data))
        defaults = [each for each in before.graph.initializer if each.name == ports.NUM_LOGITS_TO_KEEP]
        assert len(defaults) == (name == ports.DECODER_FILE)
        for each in defaults:
            before.graph.initializer.remove(each)
        assert after == before


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[: len(data) // 2], lambda data: b"\xff" * 9]
)
def test_damaged_bytes_are_told(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(ValueError, match="protobuf"):
        without_defaults(damage(with_a_default().SerializeToString()))
