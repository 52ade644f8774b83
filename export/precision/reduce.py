"""Graphs with fewer bits: which weight in which precision, and the rewriting that makes it so."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import onnx_ir as ir

from diptych.export.precision.int4 import Int4
from diptych.export.precision.int8 import Int8
from diptych.export.precision.places import Place, places
from diptych.export.precision.rewriting import Rewriting

# (file, model), as they are traced.
Models = Sequence[tuple[str, ir.Model]]


class Kind(Protocol):
    """A way to keep weights of one graph."""

    def store(self, place: Place) -> None: ...

    def look_up(self, node: ir.Node, place: Place) -> ir.Value:
        """What stands for a Gather, put before it."""
        ...

    def multiply(self, node: ir.Node, hidden: ir.Value, place: Place) -> ir.Value:
        """What stands for a product, put before it."""
        ...


def reduce_weights(models: Models, precision: str, kept: Mapping[str, str]) -> None:
    """Put the weights of `models` into `precision`, int8 or int4, except for modules that are `kept` in another."""
    for _, model in models:
        _reduce(model.graph, precision, kept)


def _reduce(graph: ir.Graph, precision: str, kept: Mapping[str, str]) -> None:
    rewriting = Rewriting(graph)
    where = stored(rewriting, precision, kept)
    # In the graph's order: what several nodes share is put before the first of them.
    for node in list(graph):
        if node not in where:
            continue
        kind, place = where[node]
        if node in place.lookups:
            rewriting.replace(node, kind.look_up(node, place))
            continue
        hidden = node.inputs[0]
        assert hidden is not None
        made = kind.multiply(node, hidden, place)
        if node.op_type == "Gemm" and len(node.inputs) == 3:
            made = rewriting.add(node, "Add", [made, node.inputs[2]], f"{node.outputs[0].name}.shifted")
        rewriting.replace(node, made)
    rewriting.clean()


def stored(rewriting: Rewriting, precision: str, kept: Mapping[str, str]) -> dict[ir.Node, tuple[Kind, Place]]:
    """Put the reduced weights beside the whole ones; for each node that reads one, its kind and its place."""
    kinds: dict[str, Kind] = {"int8": Int8(rewriting), "int4": Int4(rewriting)}
    where: dict[ir.Node, tuple[Kind, Place]] = {}
    for place in places(rewriting.graph):
        chosen = kept.get(place.module, precision)
        if chosen == "int4" and not Int4.fits(place):
            chosen = "int8"
        if chosen in kinds:
            kinds[chosen].store(place)
            where |= dict.fromkeys([*place.lookups, *place.products], (kinds[chosen], place))
    return where
