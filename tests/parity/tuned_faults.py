"""Faults of bundles whose caches lie in buffers, and whose graphs rank their logits: `--target cpu`."""

from typing import Any

from families.case import Case
from parity import tuned_mistakes as made
from parity.fault import Fault, model
from parity.mistakes import in_graph

from diptych.runtime import ports

D, M = ports.DECODER_FILE, ports.MODEL_FILE
FIRST, SECOND = "decoder.layers.0", "decoder.layers.1"

MODELS: dict[str, Case] = {
    "transformer, cpu": model("transformer, translate", num_encoder_layers=2, num_decoder_layers=2, norm_first=True),
    # So large a vocabulary is ranked in chunks.
    "bart, cpu": model("bart, generate", decoder_layers=2, vocab_size=240),
    "gpt2, cpu": model("gpt2, generate", n_layer=2),
}
EXPORTED: dict[str, dict[str, Any]] = {
    "transformer, cpu": {"target": "cpu"},
    "bart, cpu": {"target": "cpu", "with_attention": True},
    "gpt2, cpu": {"target": "cpu"},
}

FAULTS = [
    Fault("beams see each other's past", "transformer, cpu", SECOND, in_graph(D, made.everything_seen(SECOND))),
    Fault("new token written over the last", "transformer, cpu", FIRST, in_graph(D, made.one_slot_early(FIRST))),
    Fault("mask off by one slot", "bart, cpu", FIRST, in_graph(D, made.late_mask(FIRST))),
    Fault(
        "buffers of layers swapped",
        "transformer, cpu",
        FIRST,
        in_graph(D, made.other_layers_buffers(FIRST, SECOND, "present.0.decoder", "present.1.decoder")),
    ),
    Fault("a chunk of the vocabulary never ranked", "bart, cpu", D, in_graph(D, made.last_chunk_missed)),
    Fault("best tokens one too high", "bart, cpu", D, in_graph(D, made.shifted_ids)),
    Fault("sum of exponentials wrong", "transformer, cpu", D, in_graph(D, made.wrong_sum)),
    Fault("a row's length one too short", "gpt2, cpu", SECOND, in_graph(M, made.one_token_less(SECOND))),
    Fault("logits read from padding", "gpt2, cpu", M, in_graph(M, made.logits_of_the_last_slot)),
]
