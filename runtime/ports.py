"""The vocabulary of a bundle: files, inputs, outputs, axes, and which present feeds which past.

Names and axes are the ecosystem's, letter by letter: other runtimes look inputs up by them and compute with the axes.
"""

from typing import NamedTuple

ENCODER_FILE = "encoder.onnx"
DECODER_FILE = "decoder.onnx"
WEIGHTS_FILE = "weights.data"
MANIFEST_FILE = "diptych.json"
VERIFICATION_FILE = "verification.json"
TOKENIZER_FILE = "tokenizer.json"

INPUT_IDS = "input_ids"
POSITION_IDS = "position_ids"
ATTENTION_MASK = "attention_mask"
DECODER_ATTENTION_MASK = "decoder_attention_mask"
ENCODER_ATTENTION_MASK = "encoder_attention_mask"
LAST_HIDDEN_STATE = "last_hidden_state"
LOGITS = "logits"

SOURCES = "encoder_batch_size"
SOURCE_LENGTH = "encoder_sequence_length"
ROWS = "batch_size"
TARGET_LENGTH = "decoder_sequence_length"
PAST_LENGTH = "past_decoder_sequence_length"
TOTAL_LENGTH = f"{PAST_LENGTH} + {TARGET_LENGTH}"


class Port(NamedTuple):
    """One input or output of a graph; an axis is a name if it may vary, `None` if the graph fixes it."""

    name: str
    axes: tuple[str | None, ...]


def encoder_inputs() -> list[Port]:
    return [Port(INPUT_IDS, (SOURCES, SOURCE_LENGTH)), Port(ATTENTION_MASK, (SOURCES, SOURCE_LENGTH))]


def encoder_outputs(layers: int) -> list[Port]:
    """The hidden state, and every decoder layer's cross-attention keys and values."""
    cross = [Port(name, (SOURCES, None, SOURCE_LENGTH, None)) for name in _entries("present", "encoder", layers)]
    return [Port(LAST_HIDDEN_STATE, (SOURCES, SOURCE_LENGTH, None)), *cross]


def decoder_inputs(layers: int) -> list[Port]:
    cross = [Port(n, (SOURCES, None, SOURCE_LENGTH, None)) for n in _entries("past_key_values", "encoder", layers)]
    past = [Port(n, (ROWS, None, PAST_LENGTH, None)) for n in _entries("past_key_values", "decoder", layers)]
    return [
        Port(INPUT_IDS, (ROWS, TARGET_LENGTH)),
        Port(POSITION_IDS, (ROWS, TARGET_LENGTH)),
        Port(DECODER_ATTENTION_MASK, (ROWS, TOTAL_LENGTH)),
        Port(ENCODER_ATTENTION_MASK, (SOURCES, SOURCE_LENGTH)),
        *cross,
        *past,
    ]


def decoder_outputs(layers: int) -> list[Port]:
    present = [Port(name, (ROWS, None, TOTAL_LENGTH, None)) for name in _entries("present", "decoder", layers)]
    return [Port(LOGITS, (ROWS, TARGET_LENGTH, None)), *present]


def present_name(past: str) -> str:
    """`past_key_values.3.decoder.key` -> `present.3.decoder.key`: the output that becomes this input."""
    return past.replace("past_key_values.", "present.", 1)


def _entries(prefix: str, panel: str, layers: int) -> list[str]:
    return [f"{prefix}.{layer}.{panel}.{part}" for layer in range(layers) for part in ("key", "value")]
