"""Mistakes that are made with caches in buffers and with graphs that rank their logits."""

import numpy as np
import onnx_ir as ir
from parity.injection import Editor
from parity.mistakes import Edit

from diptych.runtime import ports

GROUPED, WRITTEN, SELF = "GroupQueryAttention", "TensorScatter", "MultiHeadAttention"
# Their inputs.
PAST, LAST = 3, 5
BUFFER, SLOTS, BIAS = 0, 2, 5


def everything_seen(layer: str) -> Edit:
    """Rows see whatever their source's rows have said, and what nobody has."""

    def edit(e: Editor) -> None:
        node = e.find(SELF, layer)
        e.before(node, BIAS, "Max", np.zeros((), np.float32))

    return edit


def one_slot_early(layer: str) -> Edit:
    """New tokens are written over the last ones."""

    def edit(e: Editor) -> None:
        for node in e.all(WRITTEN, layer):
            e.before(node, SLOTS, "Sub", [1])
            e.before(node, SLOTS, "Max", [0])

    return edit


def late_mask(layer: str) -> Edit:
    """Each slot is seen as the one before it should be."""

    def edit(e: Editor) -> None:
        node = e.find(SELF, layer)
        bias = node.inputs[BIAS]
        first, others = (e.add(node, "Slice", bias, [0], [end], [3]).outputs[0] for end in (1, -1))
        node.replace_input_with(BIAS, e.add(node, "Concat", first, others, axis=3).outputs[0])

    return edit


def other_layers_buffers(one: str, other: str, first: str, second: str) -> Edit:
    """Two layers keep their past in each other's buffers. first, second: what their presents are called."""

    def edit(e: Editor) -> None:
        for here, there in zip(e.all(WRITTEN, one), e.all(WRITTEN, other), strict=True):
            e.swap((here, BUFFER), (there, BUFFER))
        for here, there in zip(e.all(GROUPED, one), e.all(GROUPED, other), strict=True):
            e.swap((here, PAST), (there, PAST))
            e.swap((here, PAST + 1), (there, PAST + 1))
        for part in ("key", "value"):
            e.swap_names(f"{first}.{part}", f"{second}.{part}")

    return edit


def last_chunk_missed(e: Editor) -> None:
    """The best are looked for everywhere but in the last chunk."""
    e.before(e.find("TopK", ""), 0, "Slice", [0], [-1], [1])


def shifted_ids(e: Editor) -> None:
    e.before(e.value(ports.TOP_IDS).producer(), 0, "Add", 1)


def wrong_sum(e: Editor) -> None:
    """The logarithm of the best one's probability is added, not taken away."""
    (node,) = (node for node in e.all("Sub", "") if node.inputs[1].producer().op_type == "Log")
    node.op_type = "Add"


def one_token_less(layer: str) -> Edit:
    """A row's last token is taken for the one before it."""

    def edit(e: Editor) -> None:
        node = e.find(GROUPED, layer)
        e.before(node, LAST, "Sub", _int32([1]))
        e.before(node, LAST, "Max", _int32([0]))

    return edit


def logits_of_the_last_slot(e: Editor) -> None:
    """Of rows with fewer new tokens than others, those of their padding."""
    e.before(e.find("Unsqueeze", ""), 0, "Mul", 0)


def _int32(value: object) -> ir.Value | np.ndarray:
    return np.asarray(value, dtype=np.int32)
