"""Queries, keys and values by one product, where an operator takes them side by side.

It is done last, when weights have the precision that they are to have: products of one kind, whatever it is, that read
the same become one, of weights that are put together. These stay apart in the file, under the names of the network:
ONNX Runtime puts them together once, while it loads the graph.
"""

from collections.abc import Sequence

import onnx_ir as ir

from diptych.export.precision.rewriting import Rewriting

# By operator: the inputs that are put together, and along which axis. The first may come of such an operator, too; all
# others must be the same.
_TOGETHER = {
    "MatMul": {1: 1},
    "MatMulIntegerToFloat": {1: 1, 3: 0},
    "MatMulNBits": {1: 0, 2: 0},
    "Mul": {},
    "Add": {1: 0},
}
# Of MatMulNBits.
_OUTPUTS = "N"


def pack(graph: ir.Graph) -> None:
    """Rewrite each `GroupQueryAttention` whose queries, keys and values come of products and of nothing else."""
    rewriting = Rewriting(graph)
    for node in list(graph):
        if node.op_type != "GroupQueryAttention":
            continue
        apart = [value for value in node.inputs[:3] if value is not None]
        packed = _packed(rewriting, apart) if len(apart) == 3 else None
        if packed is None:
            continue
        for place, value in enumerate((packed, None, None)):
            node.replace_input_with(place, value)
        for value in apart:
            _remove(graph, value)


def _packed(rewriting: Rewriting, values: Sequence[ir.Value]) -> ir.Value | None:
    """Values [..., n] side by side, [..., sum of n], by a product; nothing if they are not made in the same way."""
    nodes = [node for value in values if (node := value.producer()) is not None]
    if len(nodes) < len(values) or len({(node.op_type, len(node.inputs), _settings(node)) for node in nodes}) > 1:
        return None
    first = nodes[0]
    joined = _TOGETHER.get(first.op_type)
    if joined is None or any(len(value.uses()) > 1 or value.is_graph_output() for value in values):
        return None
    columns = list(zip(*(node.inputs for node in nodes), strict=True))
    for place, column in enumerate(columns):
        if place in joined and any(value is None or value.const_value is None for value in column):
            return None
        if place not in joined and place > 0 and len(set(column)) > 1:
            return None
    hidden = columns[0][0] if len(set(columns[0])) == 1 else _packed(rewriting, columns[0])
    if hidden is None:
        return None
    inputs = [hidden, *(column[0] for column in columns[1:])]
    for place, axis in joined.items():
        parts, name = columns[place], f"{values[0].name}.{place}.packed"
        inputs[place] = rewriting.add(first, "Concat", parts, name, parts[0].dtype, outer=True, axis=axis)
    attributes = {name: each.value for name, each in first.attributes.items()}
    if _OUTPUTS in attributes:
        attributes[_OUTPUTS] = sum(node.attributes[_OUTPUTS].as_int() for node in nodes)
    name = f"{values[0].name}.packed"
    return rewriting.add(first, first.op_type, inputs, name, outer=True, domain=first.domain, **attributes)


def _settings(node: ir.Node) -> tuple[tuple[str, object], ...]:
    return tuple((name, each.value) for name, each in node.attributes.items() if name != _OUTPUTS)


def _remove(graph: ir.Graph, value: ir.Value) -> None:
    """What made a value that nothing reads any more, and what made that."""
    node = value.producer()
    if node is None or value.uses():
        return
    inputs = [each for each in node.inputs if each is not None]
    graph.remove(node, safe=True)
    for each in inputs:
        _remove(graph, each)
