"""Weights as bundles in fewer bits store them."""

import numpy as np
import onnx_ir as ir

from diptych.export.precision.numbers import BLOCK, Reduced, from_int4, from_int8, to_int4, to_int8
from diptych.runtime.bundle import Bundle
from diptych.runtime.graph import Array


class Stored:
    """A weight as a bundle stores it, in int8, int4 (two in a byte) or fp16; scale: of the former."""

    def __init__(self, numbers: Array, scale: Array | None) -> None:
        self.numbers, self.scale = numbers, scale
        self.precision = {"int8": "int8", "uint8": "int4"}.get(numbers.dtype.name, "fp16")

    def weight(self, *, by_rows: bool, width: int) -> Array:
        """float32; by_rows: [out, in] as of a table or head, else [in, out]; width: `in`."""
        if self.scale is None:
            return self.numbers.astype(np.float32)
        if self.precision == "int8":
            return from_int8(Reduced(self.numbers, self.scale))
        found = from_int4(Reduced(self.numbers.reshape(*self.scale.shape, BLOCK // 2), self.scale), width)
        return found if by_rows else np.ascontiguousarray(found.T)

    def anew(self, known: Array, *, by_rows: bool) -> "Stored":
        """What should be stored."""
        if self.precision == "fp16":
            return Stored(known.astype(np.float16), None)
        if self.precision == "int8":
            found = to_int8(known, axis=1 if by_rows else 0)
        else:
            found = to_int4(known if by_rows else known.T)
        return Stored(found.numbers, found.scale)


def stored_weights(bundle: Bundle) -> dict[str, Stored]:
    """By the names that the network gives them: those that are not float32."""
    found = {}
    for graph in bundle.graphs:
        initializers = ir.load(bundle.folder / graph).graph.initializers
        for name, value in initializers.items():
            tensor = value.const_value
            scale = initializers.get(f"{name}.scale")
            if tensor is not None and (scale is not None or tensor.dtype == ir.DataType.FLOAT16):
                numbers = None if scale is None or scale.const_value is None else scale.const_value.numpy()
                found[name] = Stored(tensor.numpy(), numbers)
    return found
