"""Faults of bundles in fewer bits: `--precision`."""

from typing import Any

from families.case import Case
from parity import reduced_mistakes as made
from parity.fault import Fault, model
from parity.mistakes import in_graph, in_weight

from diptych.runtime import ports

E, D = ports.ENCODER_FILE, ports.DECODER_FILE
FIRST, SECOND = "decoder.layers.0", "decoder.layers.1"
UP, DOWN = f"{FIRST}.feed_forward.up", "encoder.layers.0.feed_forward.down"

MODELS: dict[str, Case] = {
    "bart, int8": model("bart, generate", decoder_layers=2),
    "t5, fp16": model("t5, generate, as T5 1.0"),
}
EXPORTED: dict[str, dict[str, Any]] = {
    "bart, int8": {"precision": "int8"},
    "t5, fp16": {"precision": "fp16"},
}

FAULTS = [
    Fault(
        "a saturated int8 weight",
        "bart, int8",
        f"{SECOND}.feed_forward.up",
        in_weight(f"{SECOND}.feed_forward.up.weight", made.saturated),
    ),
    Fault("a wrong zero point", "bart, int8", UP, in_graph(D, made.other_zero_point(UP))),
    Fault(
        "scales of channels swapped",
        "bart, int8",
        f"{FIRST}.cross_attention.query",
        in_weight(f"{FIRST}.cross_attention.query.weight.scale", made.swapped_scales),
    ),
    Fault("float16 overflows", "t5, fp16", DOWN, in_graph(E, made.overflowing(DOWN))),
]
