"""The exported graphs: ports, axes, opset, weights and metadata are what other runtimes, and users, rely on."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import AttributeProto, NodeProto, TensorProto, ValueInfoProto

SOURCES, SOURCE_LENGTH = "encoder_batch_size", "encoder_sequence_length"
ROWS, LENGTH, PAST = "batch_size", "decoder_sequence_length", "past_decoder_sequence_length"
TOTAL = "past_decoder_sequence_length + decoder_sequence_length"
GRAPHS = ["encoder.onnx", "decoder.onnx"]
SCOPES = "pkg.torch.onnx.name_scopes"

Axes = list[str | int]


@pytest.fixture(params=["transformer", "bart"])
def bundle(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(f"{request.param}_bundle")
    return folder


@pytest.fixture(params=GRAPHS)
def model(request: pytest.FixtureRequest, bundle: Path) -> onnx.ModelProto:
    return onnx.load(bundle / request.param, load_external_data=False)


def axes(value: ValueInfoProto) -> Axes:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def layered(name: str, shape: Axes) -> dict[str, Axes]:
    return {name.format(layer, part): shape for layer in (0, 1) for part in ("key", "value")}


def ports_of(values: Iterable[ValueInfoProto]) -> list[tuple[str, Axes]]:
    return [(value.name, axes(value)) for value in values]


def nodes(graph: onnx.GraphProto) -> Iterator[NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from nodes(attribute.g)


def externals(model: onnx.ModelProto) -> dict[str, dict[str, str]]:
    return {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in model.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
    }


def inside(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Tensors whose bytes lie in the .onnx file."""
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            yield tensor
    for node in nodes(model.graph):
        yield from (attribute.t for attribute in node.attribute if attribute.type == AttributeProto.TENSOR)


@pytest.mark.parametrize(
    ("name", "heads", "head_dim", "width", "vocab_size"),
    [("transformer_bundle", 4, 8, 32, 67), ("bart_bundle", 3, 8, 24, 67)],
    ids=["transformer", "bart"],
)
def test_ports(
    name: str, heads: int, head_dim: int, width: int, vocab_size: int, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    encoder, decoder = (onnx.load(folder / file, load_external_data=False).graph for file in GRAPHS)
    cross: Axes = [SOURCES, heads, SOURCE_LENGTH, head_dim]
    source: Axes = [SOURCES, SOURCE_LENGTH]
    assert ports_of(encoder.input) == [("input_ids", source), ("attention_mask", source)]
    assert ports_of(encoder.output) == [
        ("last_hidden_state", [SOURCES, SOURCE_LENGTH, width]),
        *layered("present.{}.encoder.{}", cross).items(),
    ]
    assert ports_of(decoder.input) == [
        ("input_ids", [ROWS, LENGTH]),
        ("position_ids", [ROWS, LENGTH]),
        ("decoder_attention_mask", [ROWS, TOTAL]),
        ("encoder_attention_mask", source),
        *layered("past_key_values.{}.encoder.{}", cross).items(),
        *layered("past_key_values.{}.decoder.{}", [ROWS, heads, PAST, head_dim]).items(),
        ("num_logits_to_keep", []),
    ]
    assert ports_of(decoder.output) == [
        ("logits", [ROWS, LENGTH, vocab_size]),
        *layered("present.{}.decoder.{}", [ROWS, heads, TOTAL, head_dim]).items(),
    ]


def test_types_of_ports(model: onnx.ModelProto) -> None:
    for value in [*model.graph.input, *model.graph.output]:
        integral = value.name.endswith(("_ids", "_mask", "_to_keep"))
        assert value.type.tensor_type.elem_type == (TensorProto.INT64 if integral else TensorProto.FLOAT), value.name


def test_all_logits_are_kept_by_default(bundle: Path) -> None:
    """Loaders that do not know the input need not feed it."""
    session = onnxruntime.InferenceSession(bundle / "decoder.onnx")
    assert "num_logits_to_keep" not in [port.name for port in session.get_inputs()]
    assert [port.name for port in session.get_overridable_initializers()] == ["num_logits_to_keep"]
    feeds = {}
    for port in session.get_inputs():
        shape = [{ROWS: 2, LENGTH: 5, TOTAL: 5, SOURCES: 2, SOURCE_LENGTH: 3, PAST: 0}.get(a, a) for a in port.shape]
        feeds[port.name] = np.ones(shape, np.int64 if port.type == "tensor(int64)" else np.float32)
    everything = session.run(["logits"], feeds)[0]
    assert everything.shape[:2] == (2, 5)
    for kept in (0, 1, 3, 5):
        logits = session.run(["logits"], {**feeds, "num_logits_to_keep": np.array(kept)})[0]
        np.testing.assert_allclose(logits, everything[:, -kept:], rtol=1e-5, atol=1e-5)


def test_opset_is_20_and_nothing_else(model: onnx.ModelProto) -> None:
    assert {item.domain: item.version for item in model.opset_import} == {"": 20}
    assert {node.domain for node in nodes(model.graph)} == {""}
    assert not model.functions


@pytest.mark.parametrize("file", GRAPHS)
def test_checker_accepts(file: str, bundle: Path) -> None:
    onnx.checker.check_model(str(bundle / file), full_check=True)


def test_no_branches(model: onnx.ModelProto) -> None:
    """One decoder graph serves prefill and steps: there is nothing to decide."""
    assert not {"If", "Loop", "Scan"} & {node.op_type for node in nodes(model.graph)}


def test_large_tensors_are_outside(model: onnx.ModelProto) -> None:
    assert externals(model)
    assert {entry["location"] for entry in externals(model).values()} == {"weights.data"}
    for tensor in inside(model):
        assert onnx.numpy_helper.to_array(tensor).nbytes < 1024, tensor.name


def test_small_tensors_are_inside(model: onnx.ModelProto) -> None:
    assert min(int(entry["length"]) for entry in externals(model).values()) >= 1024


def test_every_tensor_is_stored_once(bundle: Path) -> None:
    content = (bundle / "weights.data").read_bytes()
    places = {
        (int(entry["offset"]), int(entry["length"]))
        for file in GRAPHS
        for entry in externals(onnx.load(bundle / file, load_external_data=False)).values()
    }
    digests = [hashlib.sha256(content[offset : offset + length]).digest() for offset, length in places]
    assert len(digests) == len(set(digests))
    ends = [0, *(offset + length for offset, length in sorted(places))]
    gaps = [offset - end for (offset, _), end in zip(sorted(places), ends, strict=False)]
    assert all(0 <= gap < 4096 for gap in gaps)
    assert ends[-1] == len(content)


def test_tied_token_matrix_is_one(bundle: Path) -> None:
    graphs = [externals(onnx.load(bundle / file, load_external_data=False)) for file in GRAPHS]
    entries = json.loads((bundle / "diptych.json").read_text(encoding="utf-8"))["tensors"].values()
    width = 32 if bundle.parent.name.startswith("transformer") else 24
    matrices = [entry for entry in entries if sorted(entry["shape"]) == [width, 67]]
    assert len(matrices) == 1
    users = [
        [name for name, entry in graph.items() if int(entry["offset"]) == matrices[0]["offset"]] for graph in graphs
    ]
    assert [len(names) for names in users] == [1, 1]


def test_weights_keep_the_names_of_the_network(model: onnx.ModelProto) -> None:
    names = set(externals(model))
    assert any(name.endswith(".feed_forward.up.weight") for name in names)
    assert all(name.startswith(("encoder.", "decoder.", "head.")) for name in names), names


@pytest.mark.parametrize("file", GRAPHS)
def test_no_trace_of_where_it_was_made(file: str, bundle: Path) -> None:
    content = (bundle / file).read_bytes()
    repository = Path(__file__).parents[2]
    for text in ('File "', "site-packages", ".py", str(repository), str(Path.home()) + "/", str(bundle.parent), "/tmp"):
        assert text.encode() not in content, text


def test_module_scopes_stay(model: onnx.ModelProto) -> None:
    products = [node for node in nodes(model.graph) if node.op_type in ("MatMul", "Gemm")]
    assert len(products) > 8
    for node in products:
        properties = {item.key: item.value for item in node.metadata_props}
        assert set(properties) == {SCOPES}, node.name
    text = " ".join(item.value for node in products for item in node.metadata_props)
    assert f"{model.graph.name}.layers.0" in text
    assert "cross_attention" in text
