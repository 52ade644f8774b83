"""Level 2 without running anything: round every sub-layer a residual and a norm, as nodes of the graph."""

import re
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from diptych.export.parity.report import PropertyReport
from diptych.export.trace import SCOPES

NAME = "residuals and norms"
_SUBLAYER = re.compile(r"(?P<layer>(en|de)coder\.layers\.\d+)\.(self_attention|cross_attention|feed_forward)")


def prove_structure(path: Path) -> PropertyReport:
    """What leaves a sub-layer is added to the stream that entered its branch; a norm reads the stream, or the sum.

    Exempt are graphs whose nodes do not say which module they came from.
    """
    nodes = list(ir.load(path).graph)
    scopes = {node: _scopes(node) for node in nodes}
    sublayers = sorted({scope for found in scopes.values() for scope in found if _SUBLAYER.fullmatch(scope)})
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
    inside = [node for node, found in scopes.items() if scope in found]
    return [
        value
        for node in inside
        for value in node.outputs
        if any(scope not in scopes.get(consumer, []) for consumer in value.consumers())
    ]


def _entering(scope: str, scopes: dict[ir.Node, list[str]]) -> set[ir.Value]:
    inside = {node for node, found in scopes.items() if scope in found}
    return {value for node in inside for value in node.inputs if value is not None and value.producer() not in inside}


def _scopes(node: ir.Node) -> list[str]:
    """The modules that a node is in, the innermost last; the list ends with what torch calls the node."""
    return list(literal_eval(node.metadata_props.get(SCOPES, "['']")))[:-1]
