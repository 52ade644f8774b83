"""The faults that the gate is proven on, each planted in a real bundle of a small model."""

from typing import Any

import numpy as np
from families.case import Case
from parity import mistakes as made
from parity import reduced_faults, tuned_faults
from parity.fault import Fault, model
from parity.mistakes import in_graph, in_weight

from diptych.runtime import ports

E, D, M = ports.ENCODER_FILE, ports.DECODER_FILE, ports.MODEL_FILE
FIRST, SECOND, POSITIONS = "decoder.layers.0", "decoder.layers.1", "decoder.embedding.positions"


MODELS: dict[str, Case] = {
    "transformer": model("transformer, translate", num_encoder_layers=2, num_decoder_layers=2, norm_first=True),
    "bart": model("bart, generate", decoder_layers=2),
    "t5": model("t5, generate, as T5 1.0"),
    "gpt2": model("gpt2, generate", n_layer=2),
    "llama": model("llama, generate"),
    "opt": model("opt, generate, as OPT-350M", num_hidden_layers=2),
    "bert": model("bert, classify", num_hidden_layers=2),
    "roberta": model("roberta, fill", num_hidden_layers=2),
    "distilbert": model("distilbert, answer"),
    **tuned_faults.MODELS,
    **reduced_faults.MODELS,
}
# Those that get a tokenizer, too.
WITH_TEXTS = ("bert", "distilbert")
# How those are exported that are not exported by default; that cross-attention comes out, too.
EXPORTED: dict[str, dict[str, Any]] = {
    "bart": {"with_attention": True},
    **tuned_faults.EXPORTED,
    **reduced_faults.EXPORTED,
}

FAULTS = [
    Fault("no causal mask", "gpt2", "decoder", made.no_causal_mask),
    Fault("causal mask off by one with a past", "gpt2", "decoder", in_graph(M, made.sees_the_next)),
    Fault("padding leaks through self-attention", "gpt2", "decoder", in_graph(M, made.sees_padding("decoder"))),
    Fault("padding leaks through cross-attention", "bart", "decoder", in_graph(D, made.sees_padding("decoder", 1))),
    Fault("encoder's mask ignored", "t5", "encoder", in_graph(E, made.sees_padding("encoder"))),
    Fault("mask of -10", "llama", "decoder", in_graph(M, made.weak_mask)),
    Fault("past's length read from the sources", "bart", "decoder", in_graph(D, made.past_of_the_sources)),
    Fault(
        "one new token baked in", "transformer", f"{FIRST}.self_attention", in_graph(D, made.fixed(FIRST, [-1, 1, 24]))
    ),
    Fault(
        "batch size baked in",
        "bert",
        "encoder.layers.1.self_attention",
        in_graph(M, made.fixed("encoder.layers.1", [2, -1, 24])),
    ),
    Fault("positions off by one with a past", "opt", POSITIONS, in_graph(M, made.late_positions)),
    Fault("positions cut at 16", "gpt2", POSITIONS, in_graph(M, made.clipped_positions)),
    Fault("positions without their offset", "bart", POSITIONS, in_graph(D, made.skipped("Add", POSITIONS))),
    Fault("positions count padding", "roberta", "encoder.embedding.positions", in_graph(M, made.placed_padding)),
    Fault(
        "sines and cosines in other channels",
        "transformer",
        "encoder.embedding.positions",
        in_weight("encoder.embedding.positions.table", made.halves),
    ),
    Fault("rotary halves interleaved", "llama", FIRST, in_graph(M, made.turned_by_neighbours)),
    Fault("relative buckets off by one", "t5", "decoder.relative", in_graph(D, made.next_buckets)),
    Fault("token types ignored", "bert", "encoder.embedding.types", in_graph(M, made.no_types)),
    Fault(
        "embedding not scaled",
        "transformer",
        "encoder.embedding",
        in_graph(E, made.skipped("Mul", "encoder.embedding")),
    ),
    Fault(
        "sources swapped in cross-attention",
        "transformer",
        f"{SECOND}.cross_attention",
        in_graph(D, made.turned_sources),
    ),
    Fault(
        "another layer's cross keys and values",
        "transformer",
        f"{SECOND}.cross_attention",
        in_graph(D, made.sources_of_another_layer),
    ),
    Fault("cross keys and values swapped", "bart", E, in_graph(E, made.swapped_entries)),
    Fault("attention of layers in the other order", "bart", D, in_graph(D, made.turned_layers)),
    Fault("attention of heads in the other order", "bart", D, in_graph(D, made.turned_heads)),
    Fault("cached rows reordered", "gpt2", SECOND, in_graph(M, made.turned_cache)),
    Fault("heads split in the other order", "gpt2", SECOND, in_graph(M, made.other_split)),
    Fault("groups of queries at other keys", "llama", f"{SECOND}.self_attention", in_graph(M, made.other_groups)),
    Fault(
        "attention not scaled",
        "bart",
        "encoder.layers.0.self_attention",
        in_graph(E, made.skipped("Mul", "encoder.layers.0.self_attention")),
    ),
    Fault("softmax over queries", "bart", f"{FIRST}.cross_attention", in_graph(D, made.over_queries)),
    Fault("norm before the sum", "bart", "encoder.layers.0", made.norm_before_sum),
    Fault("residual dropped", "transformer", "encoder.layers.1", in_graph(E, made.no_residual)),
    Fault("GELU by tanh", "bert", "encoder.layers.0.feed_forward", in_graph(M, made.other_gelu)),
    Fault("LayerNorm's epsilon 1e-5, not 1e-12", "bert", "encoder.embedding.norm", in_graph(M, made.other_epsilon)),
    Fault(
        "RMSNorm's epsilon 1e-5, not 1e-6", "llama", f"{FIRST}.self_attention_input_norm", in_graph(M, made.other_root)
    ),
    Fault("dropout left on", "roberta", "encoder.layers.0.self_attention", in_graph(M, made.left_on)),
    Fault("last norm missing", "gpt2", "decoder", in_graph(M, made.skipped("LayerNormalization", "decoder.norm"))),
    Fault(
        "square matrix transposed",
        "transformer",
        f"{SECOND}.self_attention.query",
        in_weight(f"{SECOND}.self_attention.query.weight", np.transpose),
    ),
    Fault(
        "one weight changed",
        "opt",
        f"{SECOND}.feed_forward.up",
        in_weight(f"{SECOND}.feed_forward.up.weight", made.one_more),
    ),
    Fault(
        "a matrix in half precision",
        "bart",
        f"{SECOND}.feed_forward.down",
        in_weight(f"{SECOND}.feed_forward.down.weight", made.in_half),
    ),
    Fault("head no longer tied", "gpt2", "head", in_graph(M, made.earlier_head)),
    Fault("head not scaled", "t5", "head", in_graph(D, made.skipped("Mul", "head"))),
    Fault("bias of the logits forgotten", "bart", "head", in_weight("head.bias", np.zeros_like)),
    Fault("logits already log-softmaxed", "opt", "head", in_graph(M, made.softmaxed)),
    Fault("logits of all tokens", "opt", M, in_graph(M, made.skipped("Slice", ""))),
    Fault("class read from the last slot", "bert", "head", in_graph(M, made.last_slot)),
    Fault("start and end of answers swapped", "distilbert", M, in_graph(M, made.swapped_ends)),
    Fault("tokenizer adds no end", "bert", None, made.no_end),
    Fault("labels in another order", "bert", None, made.other_labels),
    Fault("another end token", "gpt2", None, made.other_end),
    *tuned_faults.FAULTS,
    *reduced_faults.FAULTS,
]
