"""The vocabulary of a bundle: files, inputs, outputs, axes, and which present feeds which past.

Names and axes are the ecosystem's, letter by letter: other runtimes look inputs up by them and compute with the axes.
"""

from typing import NamedTuple

ENCODER_FILE = "encoder.onnx"
DECODER_FILE = "decoder.onnx"
MODEL_FILE = "model.onnx"
GRAPH_FILES = (ENCODER_FILE, DECODER_FILE, MODEL_FILE)
WEIGHTS_FILE = "weights.data"
MANIFEST_FILE = "diptych.json"
VERIFICATION_FILE = "verification.json"
TOKENIZER_FILE = "tokenizer.json"
TARGET_TOKENIZER_FILE = "target_tokenizer.json"
TOKENIZER_FILES = (TOKENIZER_FILE, TARGET_TOKENIZER_FILE)

INPUT_IDS = "input_ids"
TOKEN_TYPE_IDS = "token_type_ids"  # noqa: S105
POSITION_IDS = "position_ids"
ATTENTION_MASK = "attention_mask"
DECODER_ATTENTION_MASK = "decoder_attention_mask"
ENCODER_ATTENTION_MASK = "encoder_attention_mask"
LAST_HIDDEN_STATE = "last_hidden_state"
LOGITS = "logits"
CROSS_ATTENTIONS = "cross_attentions"  # Only of bundles that were exported with it.
START_LOGITS = "start_logits"
END_LOGITS = "end_logits"
NUM_LOGITS_TO_KEEP = "num_logits_to_keep"  # Has a default, 0 = all: loaders that do not know it leave it out.

SOURCES = "encoder_batch_size"
SOURCE_LENGTH = "encoder_sequence_length"
ROWS = "batch_size"
TARGET_LENGTH = "decoder_sequence_length"
PAST_LENGTH = "past_decoder_sequence_length"
TOTAL_LENGTH = f"{PAST_LENGTH} + {TARGET_LENGTH}"

# Of graphs for a CPU: the slots of a cache that is a buffer, where new ones begin, and the best next tokens.
WRITE_INDICES = "write_indices"
SLOT_POSITIONS = "slot_positions"
NUM_LOGITS = "num_logits"
NUM_TOP_LOGITS = "num_top_logits"
TOP_LOGITS = "top_logits"
TOP_IDS = "top_ids"
LOG_SUM_EXP = "log_sum_exp"
MOST_TOP_LOGITS = 32
MAX_LENGTH = "max_sequence_length"
# The place of each row's last token, and the most tokens of a row.
SEQLENS_K = "seqlens_k"
MOST_TOKENS = "total_sequence_length"

# Of a model that is one graph.
SEQUENCE_LENGTH = "sequence_length"
PAST_SEQUENCE_LENGTH = "past_sequence_length"
TOTAL_SEQUENCE_LENGTH = f"{PAST_SEQUENCE_LENGTH} + {SEQUENCE_LENGTH}"


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
        Port(NUM_LOGITS_TO_KEEP, ()),
    ]


def decoder_outputs(layers: int, *, with_attention: bool = False) -> list[Port]:
    present = [Port(name, (ROWS, None, TOTAL_LENGTH, None)) for name in _entries("present", "decoder", layers)]
    attentions = [Port(CROSS_ATTENTIONS, (ROWS, None, None, TARGET_LENGTH, SOURCE_LENGTH))] if with_attention else []
    return [Port(LOGITS, (ROWS, TARGET_LENGTH, None)), *present, *attentions]


def in_place_inputs(layers: int) -> list[Port]:
    """Of a decoder that looks back, whose cache is a buffer for each source: new tokens of all its rows are written
    there side by side, and the mask says which slots each of them sees.
    """
    cross = [Port(n, (SOURCES, None, SOURCE_LENGTH, None)) for n in _entries("past_key_values", "encoder", layers)]
    past = [Port(n, (SOURCES, None, MAX_LENGTH, None)) for n in _entries("past_key_values", "decoder", layers)]
    return [
        Port(INPUT_IDS, (SOURCES, TARGET_LENGTH)),
        Port(POSITION_IDS, (SOURCES, TARGET_LENGTH)),
        Port(DECODER_ATTENTION_MASK, (SOURCES, TARGET_LENGTH, MAX_LENGTH)),
        Port(ENCODER_ATTENTION_MASK, (SOURCES, SOURCE_LENGTH)),
        *cross,
        *past,
        Port(WRITE_INDICES, (SOURCES,)),
        Port(SLOT_POSITIONS, (SOURCES, MAX_LENGTH)),
        Port(NUM_LOGITS, ()),
        Port(NUM_TOP_LOGITS, ()),
    ]


def in_place_outputs(layers: int, *, with_attention: bool = False) -> list[Port]:
    """Logits of the first so many tokens; of all tokens the best, descending, and the logarithm of the sum of all
    exponentials.
    """
    present = [Port(name, (SOURCES, None, MAX_LENGTH, None)) for name in _entries("present", "decoder", layers)]
    looked = [Port(CROSS_ATTENTIONS, (SOURCES, None, None, TARGET_LENGTH, SOURCE_LENGTH))] if with_attention else []
    return [Port(LOGITS, (SOURCES, NUM_LOGITS, None)), *present, *looked, *_top_outputs(SOURCES, TARGET_LENGTH)]


def _top_outputs(*axes: str) -> list[Port]:
    best = (*axes, NUM_TOP_LOGITS)
    return [Port(TOP_LOGITS, best), Port(TOP_IDS, best), Port(LOG_SUM_EXP, axes)]


def causal_inputs(layers: int) -> list[Port]:
    """Of a decoder-only model."""
    past = [Port(n, (ROWS, None, PAST_SEQUENCE_LENGTH, None)) for n in _entries("past_key_values", None, layers)]
    return [
        Port(INPUT_IDS, (ROWS, SEQUENCE_LENGTH)),
        Port(POSITION_IDS, (ROWS, SEQUENCE_LENGTH)),
        Port(ATTENTION_MASK, (ROWS, TOTAL_SEQUENCE_LENGTH)),
        *past,
        Port(NUM_LOGITS_TO_KEEP, ()),
    ]


def causal_outputs(layers: int) -> list[Port]:
    present = [Port(name, (ROWS, None, TOTAL_SEQUENCE_LENGTH, None)) for name in _entries("present", None, layers)]
    return [Port(LOGITS, (ROWS, SEQUENCE_LENGTH, None)), *present]


def grouped_inputs(layers: int) -> list[Port]:
    """Of a decoder-only model whose cache is a buffer in which each row has a length of its own."""
    past = [Port(name, (ROWS, None, MAX_LENGTH, None)) for name in _entries("past_key_values", None, layers)]
    return [
        Port(INPUT_IDS, (ROWS, SEQUENCE_LENGTH)),
        Port(POSITION_IDS, (ROWS, SEQUENCE_LENGTH)),
        Port(SEQLENS_K, (ROWS,)),
        Port(MOST_TOKENS, ()),
        *past,
        Port(NUM_LOGITS_TO_KEEP, ()),
        Port(NUM_TOP_LOGITS, ()),
    ]


def grouped_outputs(layers: int) -> list[Port]:
    """Logits, and what is said of the best of the last token's."""
    present = [Port(name, (ROWS, None, MAX_LENGTH, None)) for name in _entries("present", None, layers)]
    return [Port(LOGITS, (ROWS, SEQUENCE_LENGTH, None)), *present, *_top_outputs(ROWS)]


def text_inputs(*, token_types: bool) -> list[Port]:
    """Of a model that reads whole texts."""
    names = [INPUT_IDS, ATTENTION_MASK, *([TOKEN_TYPE_IDS] if token_types else [])]
    return [Port(name, (ROWS, SEQUENCE_LENGTH)) for name in names]


def text_outputs(task: str) -> list[Port]:
    match task:
        case "embed":
            return [Port(LAST_HIDDEN_STATE, (ROWS, SEQUENCE_LENGTH, None))]
        case "classify":
            return [Port(LOGITS, (ROWS, None))]
        case "answer":
            return [Port(name, (ROWS, SEQUENCE_LENGTH)) for name in (START_LOGITS, END_LOGITS)]
        case _:
            return [Port(LOGITS, (ROWS, SEQUENCE_LENGTH, None))]


def present_name(past: str) -> str:
    """`past_key_values.3.decoder.key` -> `present.3.decoder.key`: the output that becomes this input."""
    return past.replace("past_key_values.", "present.", 1)


def _entries(prefix: str, panel: str | None, layers: int) -> list[str]:
    """One key and one value for each layer; a model without panels names none."""
    within = f".{panel}" if panel else ""
    return [f"{prefix}.{layer}{within}.{part}" for layer in range(layers) for part in ("key", "value")]
