"""Queries, keys and values by one product: of every precision, and only where all three are made alike."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from cpu_target.models import Models, close
from families.case import PAD, VOCAB, Case
from families.decoder_cases import BIASES, LLAMA
from families.twins import SETTINGS

from diptych.export.graphs import graphs
from diptych.export.packing import pack
from diptych.export.precision.reduce import reduce_weights
from diptych.export.trace import trace
from diptych.export.weights_file import write_models
from diptych.model import load_checkpoint
from diptych.runtime.decoder import Sources
from diptych.runtime.graph import Array, OrtGraph
from diptych.runtime.grouped import GroupedDecoder

SHAPE = {"hidden_size": 32, "intermediate_size": 64, "head_dim": 16, "num_attention_heads": 4, "num_key_value_heads": 2}
MODELS = Models({"biased": Case("llama", "generate", "LlamaForCausalLM", LLAMA | BIASES | SHAPE),
                 "plain": Case("llama", "generate", "LlamaForCausalLM", LLAMA | SHAPE)})  # fmt: skip


def traced(name: str, precision: str, kept: dict[str, str] | None = None) -> ir.Model:
    network = load_checkpoint(MODELS.checkpoint(name), "generate").network
    (spec,) = graphs(network, "generate", target="cpu")
    model = trace(spec)
    if precision != "fp32":
        reduce_weights([(spec.file, model)], precision, kept or {})
    return model


def packed_layers(graph: ir.Graph) -> list[bool]:
    """Of each attention, whether keys and values come with the queries."""
    found = [node.inputs[1:3] for node in graph if node.op_type == "GroupQueryAttention"]
    return [list(each) == [None, None] for each in found]


@pytest.mark.parametrize("name", ["biased", "plain"])
@pytest.mark.parametrize(("precision", "product"), [
    ("fp32", "MatMul"), ("int8", "MatMulIntegerToFloat"), ("int4", "MatMulNBits"),
])  # fmt: skip
def test_three_products_become_one_that_says_the_same(name: str, precision: str, product: str, tmp_path: Path) -> None:
    model = traced(name, precision)
    apart = logits(model.clone(), tmp_path / "apart")
    stored, count = set(model.graph.initializers), operators(model, product)
    pack(model.graph)
    assert packed_layers(model.graph) == [True, True]
    assert operators(model, product) == count - 2 * 2
    assert set(model.graph.initializers) == stored
    close(logits(model, tmp_path / "packed"), apart)


def test_products_of_different_precisions_stay_apart(tmp_path: Path) -> None:
    model = traced("biased", "int8", {"decoder.layers.0.self_attention.key": "fp32"})
    apart = logits(model.clone(), tmp_path / "apart")
    pack(model.graph)
    assert packed_layers(model.graph) == [False, True]
    close(logits(model, tmp_path / "packed"), apart)


def test_what_was_packed_stays_as_it_is() -> None:
    model = traced("plain", "fp32")
    pack(model.graph)
    nodes = [node.name for node in model.graph]
    pack(model.graph)
    assert [node.name for node in model.graph] == nodes


def operators(model: ir.Model, name: str) -> int:
    return sum(node.op_type == name for node in model.graph)


def logits(model: ir.Model, folder: Path) -> Array:
    """Of two prompts of different lengths, and of the token after them."""
    folder.mkdir()
    write_models([("model.onnx", model)], folder)
    decoder = GroupedDecoder(OrtGraph(folder / "model.onnx", SETTINGS))
    state: Any = decoder.start(Sources.pad([[], []], PAD), 1)
    ids = np.random.default_rng(0).integers(3, VOCAB, (2, 6))
    ids[1, :3] = -1
    return np.stack([decoder.step(state, ids), decoder.step(state, ids[:, -1:])])
