"""Mistakes that are made with caches in buffers and with graphs that rank their logits."""

import numpy as np
import onnx_ir as ir
from parity.injection import Editor
from parity.mistakes import Edit

from diptych.runtime import ports

IN_PLACE, GROUPED = "DecoderMaskedMultiHeadAttention", "GroupQueryAttention"
# Their inputs.
MASK, PAST, PAST_LENGTH, INDIRECTION, LAST = 3, 5, 7, 9, 5


def own_past(layer: str) -> Edit:
    """Whatever beam search has reordered, each row looks at what it has written itself."""

    def edit(e: Editor) -> None:
        node = e.find(IN_PLACE, layer)
        ones = e.add(node, "Add", e.add(node, "Mul", node.inputs[INDIRECTION], _int32(0)).outputs[0], _int32(1))
        counted = e.add(node, "CumSum", ones.outputs[0], 1)
        node.replace_input_with(INDIRECTION, e.add(node, "Sub", counted.outputs[0], _int32(1)).outputs[0])

    return edit


def one_place_early(layer: str) -> Edit:
    """The new token is written over the last one."""

    def edit(e: Editor) -> None:
        node = e.find(IN_PLACE, layer)
        e.before(node, PAST_LENGTH, "Sub", _int32([1]))
        early = e.before(node, PAST_LENGTH, "Max", _int32([0])).outputs[0]
        e.before(node, MASK, "Slice", e.add(node, "Sub", _int32([-1]), early).outputs[0], _int32([2**30]), _int32([1]))

    return edit


def late_mask(layer: str) -> Edit:
    """Each place has the mask of the one before it."""

    def edit(e: Editor) -> None:
        node = e.find(IN_PLACE, layer)
        mask = node.inputs[MASK]
        first, others = (e.add(node, "Slice", mask, [0], [end], [1]).outputs[0] for end in (1, -1))
        node.replace_input_with(MASK, e.add(node, "Concat", first, others, axis=1).outputs[0])

    return edit


def other_layers_buffers(one: str, other: str, first: str, second: str) -> Edit:
    """Two layers keep their past in each other's buffers. first, second: what their presents are called."""

    def edit(e: Editor) -> None:
        nodes = [*e.all(IN_PLACE, one), *e.all(GROUPED, one), *e.all(IN_PLACE, other), *e.all(GROUPED, other)]
        place = PAST if nodes[0].op_type == IN_PLACE else PAST - 2
        for part in (0, 1):
            e.swap((nodes[0], place + part), (nodes[1], place + part))
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
