"""Products of 8-bit integers that treat each row by itself, and tables of 8-bit rows.

A row of activations is divided by its largest magnitude and rounded to 127 steps on either side of 128, multiplied with
weights that have one scale for each output, exactly, and scaled back. No row sees another: what a row becomes does not
depend on its batch (unlike DynamicQuantizeLinear, which scales all rows by the largest of them). Rows that
cannot be negative, as after ReLU, have 255 steps above 0.
"""

import numpy as np
import onnx_ir as ir

from diptych.export.precision.numbers import LARGEST, to_int8
from diptych.export.precision.places import Place
from diptych.export.precision.rewriting import CONTRIB, Rewriting

_UNSIGNED = frozenset({"Relu", "Sigmoid", "Softmax"})


class Int8:
    """Weights of one graph in 8 bits: [in, out] with a scale for each output, or [out, in] with one for each row."""

    def __init__(self, rewriting: Rewriting) -> None:
        self._add, self._constant, self._rewriting = rewriting.add, rewriting.constant, rewriting
        self._stored: dict[str, tuple[ir.Value, ir.Value]] = {}
        self._rows: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}

    def store(self, place: Place) -> None:
        reduced = to_int8(place.weight(), axis=1 if place.by_rows else 0)
        scale = self._constant(f"{place.name}.scale", reduced.scale)
        self._stored[place.name] = self._rewriting.exchange(place, reduced.numbers), scale

    def look_up(self, node: ir.Node, place: Place) -> ir.Value:
        """Rows of the table, and each row's scale, [R, T, 1]."""
        (numbers, scale), name, ids = self._stored[place.name], str(node.outputs[0].name), node.inputs[1]
        rows = self._add(node, "Gather", [numbers, ids], f"{name}.rows", ir.DataType.INT8)
        rows = self._add(node, "Cast", [rows], f"{name}.cast", to=ir.DataType.FLOAT)
        scales = self._add(node, "Gather", [scale, ids], f"{name}.scale")
        return self._add(node, "Mul", [rows, scales], f"{name}.scaled")

    def multiply(self, node: ir.Node, hidden: ir.Value, place: Place) -> ir.Value:
        (numbers, scale), name = self._stored[place.name], str(node.outputs[0].name)
        rows, largest = self._quantised(hidden, node)
        if place.by_rows:
            # ONNX Runtime does both once, while it loads the graph.
            numbers = self._add(node, "Transpose", [numbers], f"{name}.weight", ir.DataType.INT8, perm=[1, 0])
            scale = self._add(node, "Squeeze", [scale, self._last_axis()], f"{name}.scale")
        inputs = [rows, numbers, self._step(hidden), scale, self._zero(hidden)]
        made = self._add(node, "MatMulIntegerToFloat", inputs, f"{name}.unscaled", domain=CONTRIB)
        return self._add(node, "Mul", [made, largest], f"{name}.scaled")

    def _quantised(self, hidden: ir.Value, first: ir.Node) -> tuple[ir.Value, ir.Value]:
        """hidden as uint8, and the largest magnitude of each row, [..., 1]; once for all products that read it."""
        if hidden not in self._rows:
            add, name = self._add, str(hidden.name)
            magnitude = hidden if _unsigned(hidden) else add(first, "Abs", [hidden], f"{name}.magnitude", outer=True)
            largest = add(first, "ReduceMax", [magnitude, self._last_axis()], f"{name}.largest", outer=True, keepdims=1)
            # Where all of a row is 0, what becomes of 0 / 0 is multiplied by it later, and is 0 again.
            even = add(first, "Div", [hidden, largest], f"{name}.even", outer=True)
            inputs = [even, self._step(hidden), self._zero(hidden)]
            made = add(first, "QuantizeLinear", inputs, f"{name}.quantised", ir.DataType.UINT8, outer=True)
            self._rows[hidden] = made, largest
        return self._rows[hidden]

    def _last_axis(self) -> ir.Value:
        return self._constant("int8.last_axis", np.array([-1]))

    def _step(self, hidden: ir.Value) -> ir.Value:
        if _unsigned(hidden):
            return self._constant("int8.unsigned_step", np.array(1 / 255, np.float32))
        return self._constant("int8.step", np.array(1 / LARGEST, np.float32))

    def _zero(self, hidden: ir.Value) -> ir.Value:
        if _unsigned(hidden):
            return self._constant("int8.unsigned_zero", np.array(0, np.uint8))
        return self._constant("int8.zero", np.array(128, np.uint8))


def _unsigned(hidden: ir.Value) -> bool:
    producer = hidden.producer()
    return producer is not None and producer.op_type in _UNSIGNED
