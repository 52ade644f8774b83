"""Level 2 without running anything: round every sub-layer a residual and a norm, as nodes of the graph."""

import re
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from diptych.export.parity.report import PropertyReport
from diptych.export.trace import SCOPES

NAME = "residuals and norms"
# A kernel calls the parts of an attention instead of it: then only these are named, among them its output.
_SUBLAYER = re.compile(r"((?:en|de)coder\.layers\.\d+\.(?:self_attention|cross_attention|feed_forward))(?:\.output)?")

_KERNELS = ("DecoderMaskedMultiHeadAttention", "GroupQueryAttention")
# What int8 makes of a value before it is multiplied: it belongs to the module round the product.
_ROUNDED = (".quantised", ".even", ".largest", ".maximum", ".magnitude")


def prove_structure(path: Path) -> PropertyReport:
    """What leaves a sub-layer is added to the stream that entered its branch; a norm reads the stream, or the sum.

    Exempt are graphs whose nodes do not say which module they came from.
    """
    nodes = list(ir.load(path).graph)
    scopes = {node: _scopes(node) for node in nodes}
    sublayers = sorted(
        {is_one[1] for found in scopes.values() for scope in found if (is_one := _SUBLAYER.fullmatch(scope))}
    )
    if not sublayers:
        reason = "its nodes do not say which module they came from"
        return PropertyReport(NAME, path.name, holds=True, error=0.0, detail="", exempt=reason)
    missing = [problem for sublayer in sublayers for problem in _problems(sublayer, scopes)]
    detail = "; ".join(missing) or f"{len(sublayers)} sub-layers"
    return PropertyReport(NAME, path.name, holds=not missing, error=float(len(missing)), detail=detail)


def _problems(sublayer: str, scopes: dict[ir.Node, list[str]]) -> Iterator[str]:
    layer = sublayer.rpartition(".")[0]
    sums = [
        (node, value)
        for value in _leaving(sublayer, scopes)
        for node in value.consumers()
        if node.op_type == "Add" and scopes[node][-1] == layer
    ]
    if not sums:
        yield f"{sublayer}: nothing is added to what leaves it"
        return
    (added, value), *_ = sums
    streams = [other for other in added.inputs if other is not value]
    before = _entering(f"{sublayer}_input_norm", scopes)
    after = _entering(f"{sublayer}_output_norm", scopes)
    if not before and not after:
        yield f"{sublayer}: no norm"
    elif before and not before & set(streams):
        yield f"{sublayer}: what is added is not what its norm reads"
    elif after and added.outputs[0] not in after:
        yield f"{sublayer}: its norm does not read the sum"
    elif not before and not set(streams) & _entering(sublayer, scopes):
        yield f"{sublayer}: what is added is not what it reads"


def _leaving(scope: str, scopes: dict[ir.Node, list[str]]) -> list[ir.Value]:
    inside = [node for node, found in scopes.items() if _within(scope, found)]
    return [
        value
        for node in inside
        for value in node.outputs
        if any(not _within(scope, scopes.get(consumer, [])) for consumer in value.consumers())
    ]


def _entering(scope: str, scopes: dict[ir.Node, list[str]]) -> set[ir.Value]:
    inside = {node for node, found in scopes.items() if _within(scope, found)}
    inside |= set(_kernel(inside, scope.rpartition(".")[0], scopes))
    values = {value for node in inside for value in node.inputs if value is not None}
    return {_rounded_from(value) for value in values if value.producer() not in inside}


def _kernel(inside: set[ir.Node], layer: str, scopes: dict[ir.Node, list[str]]) -> Iterator[ir.Node]:
    """A kernel that stands for attention is its layer's, and so may be what it reads."""
    waiting = [node for each in inside for node in _made_by(each) if node.domain and node.op_type in _KERNELS]
    while waiting:
        node = waiting.pop()
        if node not in inside and scopes[node][-1] == layer:
            yield node
            waiting += _made_by(node)


def _made_by(node: ir.Node) -> list[ir.Node]:
    made = [_rounded_from(value).producer() for value in node.inputs if value is not None]
    return [each for each in made if each is not None]


def _rounded_from(value: ir.Value) -> ir.Value:
    """A value that is only read rounded to 8 bits; any other itself."""
    while (made := value.producer()) is not None and str(value.name).endswith(_ROUNDED):
        (value, *_) = (each for each in made.inputs if each is not None)
    return value


def _within(scope: str, found: list[str]) -> bool:
    return any(each == scope or each.startswith(f"{scope}.") for each in found)


def _scopes(node: ir.Node) -> list[str]:
    """The modules that a node is in, the innermost last; the list ends with what torch calls the node."""
    return list(literal_eval(node.metadata_props.get(SCOPES, "['']")))[:-1]
