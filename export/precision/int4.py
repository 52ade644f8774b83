"""Products with weights of 4 bits, and tables of them: blocks of 32 share a scale (ONNX Runtime's MatMulNBits).

It rounds activations to 8 bits in the same blocks of each row, so that no row sees another.
"""

import onnx_ir as ir

from diptych.export.precision.numbers import BLOCK, to_int4
from diptych.export.precision.places import Place
from diptych.export.precision.rewriting import CONTRIB, Rewriting

# Of MatMulNBits: activations in 8 bits.
_ACCURACY = 4


class Int4:
    """Weights of one graph in 4 bits: [out, blocks, 16] with scales [out, blocks], whatever the network has.

    A table that nothing is multiplied with is [V, width / 2].
    """

    def __init__(self, rewriting: Rewriting) -> None:
        self._add, self._constant, self._rewriting = rewriting.add, rewriting.constant, rewriting
        self._stored: dict[str, tuple[ir.Value, ir.Value, int]] = {}

    @staticmethod
    def fits(place: Place) -> bool:
        """A table's rows are read as whole blocks; those of positions are few, and added to every token."""
        return not place.lookups or (place.weight().shape[1] % BLOCK == 0 and not place.of_positions)

    def store(self, place: Place) -> None:
        weight = place.weight()
        reduced = to_int4(weight if place.by_rows else weight.T)
        numbers = reduced.numbers if place.products else reduced.numbers.reshape(len(reduced.numbers), -1)
        scale = self._constant(f"{place.name}.scale", reduced.scale)
        inputs = weight.shape[1 if place.by_rows else 0]
        self._stored[place.name] = self._rewriting.exchange(place, numbers), scale, inputs

    def look_up(self, node: ir.Node, place: Place) -> ir.Value:
        numbers, scale, _ = self._stored[place.name]
        if place.products:
            # The same bytes in another shape, which the file has once.
            assert numbers.const_value is not None
            table = numbers.const_value.numpy()
            numbers = self._constant(f"{place.name}.rows", table.reshape(len(table), -1))
        return self._add(
            node,
            "GatherBlockQuantized",
            [numbers, node.inputs[1], scale],
            f"{node.outputs[0].name}.rows",
            domain=CONTRIB,
            bits=4,
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )

    def multiply(self, node: ir.Node, hidden: ir.Value, place: Place) -> ir.Value:
        numbers, scale, inputs = self._stored[place.name]
        assert scale.shape is not None
        return self._add(
            node,
            "MatMulNBits",
            [hidden, numbers, scale],
            f"{node.outputs[0].name}.product",
            domain=CONTRIB,
            bits=4,
            block_size=BLOCK,
            accuracy_level=_ACCURACY,
            K=inputs,
            N=int(scale.shape.numpy()[0]),
        )
