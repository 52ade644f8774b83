"""Which module of a graph is at fault: the first whose results leave their bounds, between inputs that hold.

First the state after each layer; then, in the first layer that fails and outside the layers, every value that crosses
a module's border.
"""

import math
from dataclasses import replace

from diptych.export.parity.bisection.comparison import Comparison, Measure
from diptych.export.parity.bisection.points import End, OnnxWatched, Point, Watched
from diptych.export.parity.bisection.scopes import ROOT
from diptych.export.parity.bounds import Deviation
from diptych.export.parity.report import BisectionReport, ValueReport
from diptych.runtime.errors import BundleError, EngineError, ProviderError
from diptych.runtime.graph import Arrays

# Of a module with more nodes, the first so many are listed.
_LISTED = 40


def bisect(
    subject: OnnxWatched,
    reference: Watched,
    own: Watched,
    feeds: Arrays,
    *,
    graph: str,
    case: str,
    measure: Measure = Deviation.of,
) -> BisectionReport:
    """Name the module of `subject` that is at fault for these feeds, those of `case` to `graph`.

    reference: the truth. own: the same model in float32; how far that is from the truth, rounding explains. measure: of
    that.
    """
    try:
        comparison = Comparison(subject, reference, own, feeds, measure)
    except (BundleError, EngineError, ProviderError) as error:
        if subject.runs(feeds):
            raise
        return _bisect_stopped(subject, reference, own, feeds, graph, case, str(error))
    fault = _find(comparison)
    if fault is None:
        return _report(comparison, graph, case, None, _why_not(comparison))
    module, note = _blame(comparison, fault)
    return _report(comparison, graph, case, module, note)


def layer_errors(subject: OnnxWatched, reference: Watched, own: Watched, feeds: Arrays) -> list[ValueReport]:
    """The states after the embedding, each layer and the last norm, each called as the module it comes from."""
    return _layers(Comparison(subject, reference, own, feeds))


def _bisect_stopped(
    subject: OnnxWatched, reference: Watched, own: Watched, feeds: Arrays, graph: str, case: str, error: str
) -> BisectionReport:
    """Of a graph that does not run to its end: what is wrong before it stops, else the module in which it does."""
    runs, stops = 0, len(subject.scopes)
    while stops - runs > 1:
        middle = (runs + stops) // 2
        if replace(subject, length=middle).runs(feeds):
            runs = middle
        else:
            stops = middle
    if not runs:
        return BisectionReport(graph, case, None, [], [], [], [], f"nothing of the graph runs: {error}")
    comparison = Comparison(replace(subject, length=runs), reference, own, feeds)
    stop = f"the graph stops at {subject.scopes.node_at(runs)}: {error}"
    if subject.optimized and replace(subject, optimized=False).runs(feeds):
        stop = f"without the optimiser it runs; {stop}"
    fault = _find(comparison)
    if fault is None:
        return _report(comparison, graph, case, subject.scopes.module_at(runs), stop)
    module, note = _blame(comparison, fault)
    return _report(comparison, graph, case, module, "; ".join(filter(None, (note, stop))))


def _find(comparison: Comparison) -> list[Point] | None:
    """The points of the first value that is not what it should be; those inside layers whose results hold come last."""
    stages = comparison.stages()
    bad = comparison.first_fault([stage] for stage in stages)
    last = comparison.order(bad[0]) if bad else math.inf
    good = {stage.module for stage in stages if comparison.order(stage) < last}
    values = [points for points in comparison.values() if comparison.order(points[0]) <= last]
    inside = [all(any(_within(point.module, stage) for stage in good) for point in points) for points in values]
    likely = [points for points, hidden in zip(values, inside, strict=True) if not hidden]
    others = [points for points, hidden in zip(values, inside, strict=True) if hidden]
    return comparison.first_fault(likely) or comparison.first_fault(others)


def _blame(comparison: Comparison, points: list[Point]) -> tuple[str, str]:
    """The module that makes a value, or if it is right at first, the one that takes it for another; and a note."""
    scopes, name = comparison.subject.scopes, comparison.subject.names[points[0]]
    found = comparison.deviations(points)
    failing = [point for point in points if not found[point].holds]
    if len(failing) == len(points):
        return scopes.makers[name], ""
    wrong = failing[0]
    module = wrong.module if wrong.end == "output" else scopes.parent(wrong.module)
    return module, f"{_described(comparison, name)} is right, but not what should {_role(wrong)}"


def _why_not(comparison: Comparison) -> str:
    """Nothing between modules was wrong; were the graph's own outputs, while nothing else was watched?"""
    outputs = [point for point in comparison.pairs if point.module == ROOT]
    if all(deviation.holds for deviation in comparison.compare(outputs).values()):
        return "every value holds for these feeds, the graph's outputs included"
    note = "the outputs leave their bounds only while nothing between modules is watched"
    if not comparison.subject.optimized:
        return note
    plain = Comparison(
        replace(comparison.subject, optimized=False),
        comparison.reference,
        comparison.own,
        comparison.feeds,
        comparison.measure,
    )
    holds = all(deviation.holds for deviation in plain.compare(outputs).values())
    return f"{note}: a fusion by the optimiser may be the cause; without it they {'hold' if holds else 'do, too'}"


def _report(comparison: Comparison, graph: str, case: str, module: str | None, note: str) -> BisectionReport:
    """The graph itself, if its outputs are at fault, goes by the name of its file."""
    notes = [note, *_differences(comparison)]
    return BisectionReport(
        graph,
        case,
        module or (None if module is None else graph),
        _crossing(comparison, module, "input"),
        _crossing(comparison, module, "output"),
        [] if module is None else comparison.subject.scopes.nodes(module)[:_LISTED],
        _layers(comparison),
        "; ".join(filter(None, notes)),
    )


def _layers(comparison: Comparison) -> list[ValueReport]:
    stages = comparison.stages()
    found = comparison.deviations(stages)
    return [_value(stage.module, comparison.shapes[stage], found[stage]) for stage in stages]


def _crossing(comparison: Comparison, module: str | None, end: End) -> list[ValueReport]:
    """What enters or leaves a module, as far as it can be compared; what the graph is fed is right."""
    if module is None:
        return []
    scopes, feeds = comparison.subject.scopes, comparison.feeds
    names = (scopes.entering if end == "input" else scopes.leaving).get(module, [])
    points = [Point(module, end, place) for place in range(len(names))]
    found = comparison.deviations(points)
    reports = []
    for point, name in zip(points, names, strict=True):
        if name in feeds:
            reports.append(_value(name, feeds[name].shape, Deviation.of(feeds[name], feeds[name], feeds[name])))
        elif point in found:
            reports.append(_value(_described(comparison, name), comparison.shapes[point], found[point]))
    return reports


def _differences(comparison: Comparison) -> list[str]:
    """Modules that only one side has."""
    if comparison.subject.length is not None:
        return []
    ours, theirs = ({point.module for point in shapes} for shapes in (comparison.shapes, comparison.others))
    sides = {"not in the graph": theirs - ours, "only in the graph": ours - theirs}
    return [f"{where}: {', '.join(sorted(modules))}" for where, modules in sides.items() if modules]


def _value(name: str, shape: tuple[int, ...], deviation: Deviation) -> ValueReport:
    found = deviation.error, deviation.own, deviation.scale, deviation.allowed, deviation.ratio
    return ValueReport(name, list(shape), *found, holds=deviation.holds)


def _described(comparison: Comparison, name: str) -> str:
    """A value by its name in the file, and where it is made."""
    maker = comparison.subject.scopes.makers[name]
    return f"{name} of {maker}" if maker else name


def _role(point: Point) -> str:
    return f"enter {point.module}" if point.end == "input" else f"leave {point.module or 'the graph'}"


def _within(module: str, stage: str) -> bool:
    return module == stage or module.startswith(f"{stage}.")
