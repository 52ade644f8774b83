"""What an ONNX file says of modules: the nodes that each became, and the values that cross its border.

A module is called as in PyTorch, `decoder.layers.0.self_attention`; the whole graph is `ROOT`.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import takewhile

import onnx_ir as ir

from diptych.export.trace import SCOPES

ROOT = ""
# Of a value that is rounded to 8 bits, the largest magnitude in each row: PyTorch has it nowhere.
ROUNDING = ".largest"


class Scopes:
    """The modules of one graph. Values are floating-point tensors; weights and constants do not count.

    entering: by module, the names of the values that it takes from outside, in the order of their first use there.
    leaving: of those made in it and used outside, in the order of their making; of the graph, its outputs by name.
    order: the place of the node that makes a value, -1 if it is fed. makers: the innermost module it is made in.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._nodes = list(graph)
        self._scopes = _all_scopes(self._nodes)
        self.order: dict[str, int] = {}
        self.makers: dict[str, str] = {}
        self.entering: dict[str, list[str]] = {}
        self.leaving: dict[str, list[str]] = {}
        for fed in graph.inputs:
            self.order[str(fed.name)] = -1
        for place, (node, scopes) in enumerate(zip(self._nodes, self._scopes, strict=True)):
            for used in node.inputs:
                if used is not None and _crosses(used):
                    self._enter(used, scopes)
            for made in node.outputs:
                self.order[str(made.name)] = place
                self.makers[str(made.name)] = scopes[-1]
                if _crosses(made):
                    self._leave(made, scopes)
        self.leaving[ROOT] = sorted(str(value.name) for value in graph.outputs if _crosses(value))

    @property
    def modules(self) -> list[str]:
        """Those that became nodes, in the order of their first ones."""
        return list(dict.fromkeys(scope for scopes in self._scopes for scope in scopes))

    def __len__(self) -> int:
        return len(self._nodes)

    def parent(self, module: str) -> str:
        """The module that calls this one."""
        within = {scopes[scopes.index(module) - 1] for scopes in self._scopes if module in scopes[1:]}
        return max(within, key=len, default=ROOT)

    def module_at(self, place: int) -> str:
        return self._scopes[place][-1]

    def node_at(self, place: int) -> str:
        """Its operator and its name."""
        node = self._nodes[place]
        return f"{node.op_type} {node.name or node.outputs[0].name}"

    def nodes(self, module: str) -> list[str]:
        """The module's own nodes, or if it has none those of the modules it is made of."""
        own = [place for place, scopes in enumerate(self._scopes) if scopes[-1] == module]
        return [
            self.node_at(place) for place in own or [p for p, scopes in enumerate(self._scopes) if module in scopes]
        ]

    def _enter(self, value: ir.Value, scopes: list[str]) -> None:
        made_in = self._scopes_of(value.producer())
        for module in scopes:
            entering = self.entering.setdefault(module, [])
            if module not in made_in and value.name not in entering:
                entering.append(str(value.name))

    def _leave(self, value: ir.Value, scopes: list[str]) -> None:
        for module in scopes[1:]:
            used_outside = any(module not in self._scopes_of(node) for node in value.consumers())
            if used_outside or value.is_graph_output():
                self.leaving.setdefault(module, []).append(str(value.name))

    def _scopes_of(self, node: ir.Node | None) -> list[str]:
        return [] if node is None else self._scopes[self._places[node]]

    @cached_property
    def _places(self) -> dict[ir.Node, int]:
        return {node: place for place, node in enumerate(self._nodes)}


def _crosses(value: ir.Value) -> bool:
    """Whether it is a tensor that is computed, in floating point, and none of which only rounding is made."""
    if value.dtype is None or not value.dtype.is_floating_point() or str(value.name).endswith(ROUNDING):
        return False
    made = value.producer()
    return value.is_graph_input() if made is None else made.op_type != "Constant"


def _all_scopes(nodes: list[ir.Node]) -> list[list[str]]:
    """The modules round each node, outermost first; what a rewriting left without any is where its neighbours are."""
    written = [_written_scopes(node) for node in nodes]
    places = {node: place for place, node in enumerate(nodes)}

    def neighbours(node: ir.Node) -> Iterator[list[str]]:
        made = [value.producer() for value in node.inputs if value is not None]
        used = [user for value in node.outputs for user in value.consumers()]
        for other in (*made, *used):
            if other is not None and (scopes := written[places[other]]):
                yield scopes

    return [scopes or _shared(neighbours(node)) for node, scopes in zip(nodes, written, strict=True)]


def _written_scopes(node: ir.Node) -> list[str]:
    """The exporter writes the module's names from the outermost, which is empty, and then that of the operation."""
    text = node.metadata_props.get(SCOPES)
    if text is None:
        return []
    scopes = [str(scope) for scope in ast.literal_eval(text)[:-1]]
    return scopes if scopes and scopes[0] == ROOT else [ROOT]


def _shared(several: Iterable[list[str]]) -> list[str]:
    """What all of them begin with."""
    together = zip(*several, strict=False)
    return [scopes[0] for scopes in takewhile(lambda scopes: len(set(scopes)) == 1, together)] or [ROOT]
