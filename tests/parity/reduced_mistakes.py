"""Mistakes that are made with fewer bits."""

import numpy as np
import onnx_ir as ir
from parity.injection import Editor
from parity.mistakes import Edit

from diptych.runtime.graph import Array

_HALF = 10  # ONNX's number of float16.


def saturated(numbers: Array) -> Array:
    """One weight became the largest there is."""
    changed = numbers.copy()
    changed[np.unravel_index(np.abs(changed.astype(int)).argmin(), changed.shape)] = 127
    return changed


def swapped_scales(scale: Array) -> Array:
    """Of two channels whose scales differ most."""
    changed = scale.copy()
    one, other = int(scale.argmin()), int(scale.argmax())
    changed[[one, other]] = changed[[other, one]]
    return changed


def other_zero_point(module: str) -> Edit:
    """Of activations, in one product."""
    return lambda e: e.set_input(e.find("MatMulIntegerToFloat", module), 4, lambda zero: zero - 1)


def overflowing(module: str) -> Edit:
    """What a product reads is so large meanwhile that float16 has no number for it."""

    def edit(e: Editor) -> None:
        node = e.find("MatMul", module)
        large = e.add(node, "Cast", 6e4, to=_HALF).outputs[0]
        large.dtype = ir.DataType.FLOAT16
        e.before(node, 0, "Mul", large)
        e.before(node, 0, "Div", large)

    return edit
