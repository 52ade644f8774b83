"""Which module to blame for what the levels found."""

from collections.abc import Sequence
from dataclasses import replace

from diptych.export.parity.as_portable import AsPortable
from diptych.export.parity.bisection.bisect import bisect
from diptych.export.parity.bisection.tuned import one_token
from diptych.export.parity.bounds import MULTIPLE, Deviation
from diptych.export.parity.compared import Compared
from diptych.export.parity.levels.overflow import NAME as RANGE
from diptych.export.parity.levels.tensors import Tensors, numbered_probes
from diptych.export.parity.report import BisectionReport, PropertyReport
from diptych.runtime import ports


def locate(compared: Compared, tensors: Tensors, properties: Sequence[PropertyReport]) -> BisectionReport:
    """Bisect the first case that failed, or the last one if none did. Of a tuned graph one token of it is looked at."""
    bundle, sides = compared.bundle, compared.sides
    usual = tensors.first_usual_failure()
    failing = usual or tensors.first_failure() or _out_of_range(properties)
    graph, number = failing or (bundle.graphs[-1], len(tensors.cases) - 1)
    probes = numbered_probes(sides, bundle.manifest, compared.spec, tensors.cases, number)
    probe = next(probe for probe in probes if probe.graph == graph)
    tuned = isinstance(sides.subject[graph], AsPortable)
    if tuned:
        probe = one_token(probe, sides.subject[graph], sides.truth[graph], sides.own[graph])
    engines = compared.watched(graph, "own" if usual else "shaken")
    measure = Deviation.usual if usual else Deviation.of
    found = bisect(*engines, probe.feeds, graph=graph, case=probe.case, measure=measure)
    if tuned and found.module is None and failing:
        return replace(found, module=graph, note="; ".join([_aside(tensors, graph), found.note]))
    return found


def _out_of_range(properties: Sequence[PropertyReport]) -> tuple[str, int] | None:
    """The graph in which float16 overflows in the first cases."""
    graphs = (each.graph for each in properties if each.name == RANGE and not each.holds)
    return next(((graph, 0) for graph in graphs), None)


def _aside(tensors: Tensors, graph: str) -> str:
    """What is wrong with a tuned graph in which all is right that a portable one has."""
    if tensors.unranked:
        return tensors.unranked[0]
    wrong = {each.output for each in tensors.outputs if each.graph == graph and each.ratio > MULTIPLE}
    if wrong <= {ports.LOG_SUM_EXP}:
        return f"{ports.LOG_SUM_EXP} is not that of the logits"
    return "each token by itself is right, several at once are not"
