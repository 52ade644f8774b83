"""Level 2 of graphs in float16: whether all that lies between their nodes is within its range.

ONNX Runtime's CPU computes much of it in float32, where nothing overflows; what comes out of a node is float16 there,
too, once it is asked for.
"""

import math
from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from diptych.export.parity.bisection.points import OnnxWatched
from diptych.export.parity.levels.probes import Probe
from diptych.export.parity.report import PropertyReport

NAME = "range of float16"
# Values that are asked for at once, and cases.
_GROUP, _CASES = 64, 3


def prove_range(watched: OnnxWatched, probes: Iterable[Probe]) -> PropertyReport:
    """The first value that is no number, in a few cases, and the module that makes it."""
    nodes = list(ir.load(watched.path).graph)
    made = [str(value.name) for node in nodes for value in node.outputs if value.dtype == ir.DataType.FLOAT16]
    largest, where, module = 0.0, "no value is float16", ""
    for probe in list(probes)[:_CASES]:
        for start in range(0, len(made), _GROUP):
            names = made[start : start + _GROUP]
            for name, value in watched.values(names, probe.feeds).items():
                reached = float(np.abs(value.astype(np.float64)).max(initial=0.0))
                if not reached <= largest:
                    module = watched.scopes.makers[name] or watched.path.name
                    largest, where = reached, f"{name} of {module} reaches {reached:.3g} ({probe.case})"
                if not math.isfinite(reached):
                    return PropertyReport(
                        NAME, watched.path.name, holds=False, error=math.inf, detail=where, module=module
                    )
    share = largest / float(np.finfo(np.float16).max)
    return PropertyReport(NAME, watched.path.name, holds=True, error=share, detail=where)
