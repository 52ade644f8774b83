"""Tiny models of several families, traced once, and ways to run what became of them."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from families.case import Case
from families.twins import make_reference

from diptych.export.graphs import graphs
from diptych.export.precision.reduce import Models
from diptych.export.trace import SCOPES, trace
from diptych.export.weights_file import write_models
from diptych.model import load_checkpoint
from diptych.runtime import ports
from diptych.runtime.decoder import CachedDecoder, Sources
from diptych.runtime.graph import Array, Graph, OrtGraph
from diptych.runtime.providers import SessionSettings

# A width of whole blocks; the vocabulary is odd.
WIDTH, VOCAB = 32, 67
ENDS = {"pad_token_id": 1, "eos_token_id": 2, "vocab_size": VOCAB}
PANELS = {
    **ENDS,
    "d_model": WIDTH,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 40,
    "decoder_start_token_id": 2,
}
BERT = {
    **ENDS,
    "hidden_size": WIDTH,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
GPT2 = {**ENDS, "n_embd": WIDTH, "n_layer": 1, "n_head": 4, "n_positions": 40, "bos_token_id": 3}
LLAMA = {
    **ENDS,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 40,
}
T5 = {
    **ENDS,
    "d_model": WIDTH,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 1,
    "num_heads": 4,
    "decoder_start_token_id": 1,
}
# Large enough for what is not a weight to be little.
LARGE = {**LLAMA, "vocab_size": 6000, "hidden_size": 256, "intermediate_size": 1024, "tie_word_embeddings": True}
CASES = {
    "bert": Case("bert", "fill", "BertForMaskedLM", BERT),
    "gpt2": Case("gpt2", "generate", "GPT2LMHeadModel", GPT2),
    "llama, untied": Case("llama", "generate", "LlamaForCausalLM", {**LLAMA, "tie_word_embeddings": False}),
    "t5": Case("t5", "generate", "T5ForConditionalGeneration", T5),
    "bart": Case("bart", "generate", "BartForConditionalGeneration", PANELS),
    "marian": Case("marian", "translate", "MarianMTModel", PANELS),
}


@dataclass(frozen=True)
class Traced:
    """parameters: numbers in the network, those that are tied once."""

    models: Models
    parameters: int

    def copy(self) -> Models:
        return [(file, model.clone()) for file, model in self.models]


LARGE_CASE = Case("llama", "generate", "LlamaForCausalLM", LARGE)


def trace_case(case: Case, folder: Path) -> Traced:
    reference = make_reference(case)
    reference.save_pretrained(folder)
    checkpoint = load_checkpoint(folder)
    network = checkpoint.network
    models = [(spec.file, trace(spec)) for spec in graphs(network, checkpoint.task)]
    return Traced(models, sum(parameter.numel() for parameter in network.parameters()))


def engines(models: Models, folder: Path) -> dict[str, Graph]:
    """Sessions over these graphs, which are then those of files in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_models(models, folder)
    return {file: OrtGraph(folder / file, SessionSettings(threads=1)) for file, _ in models}


def decoder(graphs: dict[str, Graph]) -> CachedDecoder:
    return CachedDecoder(graphs.get(ports.ENCODER_FILE), graphs.get(ports.DECODER_FILE) or graphs[ports.MODEL_FILE])


def logits(graphs: dict[str, Graph], sources: Array, ids: Array) -> Array:
    """sources [R, S] of an encoder, or of a model that is one; ids [R, T] of a decoder -> [R, T or S, V]."""
    model = graphs.get(ports.MODEL_FILE)
    if model is not None and ports.POSITION_IDS not in model.inputs:
        feeds = {
            ports.INPUT_IDS: sources,
            ports.ATTENTION_MASK: np.ones_like(sources),
            ports.TOKEN_TYPE_IDS: np.zeros_like(sources),
        }
        return model.run({name: feeds[name] for name in model.inputs})[ports.LOGITS]
    one = decoder(graphs)
    read = sources if one.encoder is not None else sources[:, :0]
    return one.forward(one.start(Sources(read, np.ones_like(read)), 1), ids)


def drawn(rows: int, length: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(3, VOCAB, (rows, length))


def error(ours: Array, theirs: Array) -> float:
    """Relative: of the power of the difference."""
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))


def product_graph(weight: Array, *, how: str = "MatMul", bias: Array | None = None, before: str = "") -> ir.Model:
    """x [R, T, in] -> y, by a weight called `layer.weight`, in one of the ways in which exporters write it.

    how: MatMul [in, out]; Transpose [out, in]; Gemm, which reads [out, in] and x [R, in]. before: an operator on x.
    """
    x = ir.Value(
        name="x",
        type=ir.TensorType(ir.DataType.FLOAT),
        shape=ir.Shape(["rows", "in"] if how == "Gemm" else ["rows", "length", "in"]),
    )
    nodes: list[ir.Node] = []

    def node(operator: str, inputs: list[ir.Value | None], name: str, **attributes: Any) -> ir.Value:
        out = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT))
        scopes = {SCOPES: repr(["", "layer", operator])}
        nodes.append(ir.node(operator, inputs, attributes, outputs=[out], name=name, metadata_props=scopes))
        return out

    weights = [initializer("layer.weight", weight)]
    hidden = node(before, [x], "hidden") if before else x
    if bias is not None:
        weights.append(initializer("layer.bias", bias))
    if how == "Gemm":
        y = node("Gemm", [hidden, *weights], "y", transB=1)
    else:
        read = node("Transpose", [weights[0]], "transposed", perm=[1, 0]) if how == "Transpose" else weights[0]
        y = node("MatMul", [hidden, read], "y")
        if bias is not None:
            y = node("Add", [y, weights[1]], "shifted")
    graph = ir.Graph([x], [y], nodes=nodes, initializers=weights, opset_imports={"": 20}, name="graph")
    return ir.Model(graph, ir_version=10)


def initializer(name: str, array: Array) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    return ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=tensor.shape, const_value=tensor)


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)
