"""Which module to blame for what the levels found."""

from collections.abc import Sequence
from dataclasses import replace

from diptych.export.parity.as_portable import AsPortable
from diptych.export.parity.bisection.bisect import bisect
from diptych.export.parity.bisection.tuned import one_token
from diptych.export.parity.bounds import MULTIPLE, Deviation
from diptych.export.parity.compared import Compared
from diptych.export.parity.levels.tensors import Tensors, numbered_probes
from diptych.export.parity.report import BisectionReport, PropertyReport
from diptych.runtime import ports


def locate(compared: Compared, tensors: Tensors, properties: Sequence[PropertyReport]) -> BisectionReport:
    """Bisect the first case that failed, or the last one if none did. Of a tuned graph one token of it is looked at."""
    bundle, sides = compared.bundle, compared.sides
    usual = tensors.first_usual_failure()
    broken = next((each for each in properties if each.module is not None), None)
    failing = usual or tensors.first_failure() or (None if broken is None else (broken.graph, 0))
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
    if found.module is None and broken is not None:
        return replace(found, module=broken.module, note=broken.detail)
    return found


def _aside(tensors: Tensors, graph: str) -> str:
    """What is wrong with a tuned graph in which all is right that a portable one has."""
    if tensors.unranked:
        return tensors.unranked[0]
    wrong = {each.output for each in tensors.outputs if each.graph == graph and each.ratio > MULTIPLE}
    if wrong <= {ports.LOG_SUM_EXP}:
        return f"{ports.LOG_SUM_EXP} is not that of the logits"
    return "each token by itself is right, several at once are not"
