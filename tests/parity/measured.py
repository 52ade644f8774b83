"""What a verification measured, for the tables of docs/parity.md."""

from typing import Any

from parity.grid import Cell

from diptych.export.parity.gate import Gate
from diptych.export.parity.levels.tokens import APART


def measured(cell: Cell, gate: Gate) -> dict[str, Any]:
    """errors: of each output in each case, PyTorch's own, the graph's, and their ratio. typical: the latter at half of
    all positions. properties: by name of graph and property, whether it is exempt. searches: texts, near-ties, and how
    many PyTorch parts from itself. apart: of near-ties, the distance of logits in units of what may be.
    """
    report, tensors = gate.report, gate.tensors
    assert report.tensors is not None
    found: dict[str, Any] = {
        "family": cell.case.family,
        "task": cell.case.task,
        "configuration": cell.case.name,
        "target": cell.target,
        "precision": cell.precision,
        "errors": {
            f"{graph} {output}": [
                (found.case, each.own / each.scale, each.error / each.scale, each.ratio)
                for found in tensors._judged(graph, output)
                for each in [found.deviation]
            ]
            for graph, output in tensors.found
        },
        "typical": [each.typical for each in report.tensors.outputs if each.typical is not None],
        "properties": [(each.graph, each.name, each.exempt is not None) for each in report.properties or []],
    }
    assert len(found["errors"]) == len(report.tensors.outputs)
    if report.tokens is not None:
        own = gate.own_parted(gate._sources(None))
        found["searches"] = [(each.name, each.texts, each.near_ties, own[each.name]) for each in report.tokens.searches]
        found["apart"] = [each.apart / (APART * report.tokens.logit_error) for each in report.tokens.differences]
    return found
