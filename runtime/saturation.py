"""Whether this processor's products of 8-bit numbers overflow: those with VNNI, or ARM's, add them up in 32 bits."""

from functools import cache

import numpy as np

from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.onnx_bytes import Node, Value, model

_UINT8, _INT8, _INT32 = (np.dtype(name) for name in ("uint8", "int8", "int32"))
# Of the largest there are, two of a row already exceed 16 bits.
_LENGTH, _COLUMNS = 64, 16


@cache
def saturates() -> bool:
    """Tried, since what processors are called does not tell: unsigned times signed, as quantised graphs have them."""
    product = Node("MatMulInteger", ["rows", "columns"], ["product"], {})
    inputs = [Value("rows", _UINT8, 2), Value("columns", _INT8, 2)]
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        model([product], inputs, [Value("product", _INT32, 2)]),
        options,
        providers=["CPUExecutionProvider"],
        enable_fallback=0,
    )
    rows, columns = np.full((1, _LENGTH), 255, dtype=_UINT8), np.full((_LENGTH, _COLUMNS), 127, dtype=_INT8)
    (found,) = session.run(None, {"rows": rows, "columns": columns})
    return bool((found != 255 * 127 * _LENGTH).any())
