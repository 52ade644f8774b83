"""Which pictures a report has."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from diptych.export.parity.display import svg
from diptych.export.parity.display.markup import Markup
from diptych.export.parity.display.words import number, reference_name
from diptych.export.parity.report import Histogram, OutputReport, Report, Series, TokensReport, ValueReport

_PRESENT = re.compile(r"present\.(\d+)\.")
_ERROR = "relative error"


@dataclass(frozen=True)
class Figure:
    """picture: `None` where there is nothing to draw; note: what one should know to read it."""

    title: str
    picture: Markup | None
    note: str


def figures(report: Report) -> Iterator[Figure]:
    """In the order of the page; of what was not measured there is none."""
    own = reference_name(report)
    yield from _by_layer(report, own)
    if report.tensors:
        yield from _over("Error by position", "position of the token", report.tensors.by_position, own)
        yield from _over("Error by length of the past", "tokens in the past", report.tensors.by_past, own)
        yield from _histogram(report.tensors.histogram, own)
    if report.tokens:
        yield from _margins(report.tokens)


def _by_layer(report: Report, own: str) -> Iterator[Figure]:
    if report.bisection and report.bisection.layers:
        note = f"The state after each layer in {report.bisection.graph}, {report.bisection.case}."
        yield _layers(f"Error by layer: {report.bisection.graph}", report.bisection.layers, own, note)
    elif report.tensors:
        for graph in dict.fromkeys(output.graph for output in report.tensors.outputs):
            worst = _worst_of_layers([output for output in report.tensors.outputs if output.graph == graph])
            if worst:
                note = "The keys or values that each layer leaves to the cache, whichever are closer to their bound."
                yield _layers(f"Error by layer: {graph}", worst, own, note)


def _worst_of_layers(outputs: Sequence[OutputReport]) -> list[OutputReport]:
    layers: dict[int, OutputReport] = {}
    for output in outputs:
        if found := _PRESENT.match(output.output):
            layer = int(found[1])
            layers[layer] = max(layers.get(layer, output), output, key=lambda one: one.ratio)
    return [layers[layer] for layer in sorted(layers)]


def _layers(title: str, values: Sequence[OutputReport | ValueReport], own: str, note: str) -> Figure:
    scales = [value.scale or 1.0 for value in values]
    bounds = [value.allowed for value in values]
    series = [
        svg.Series("graph", "graph", [value.error / scale for value, scale in zip(values, scales, strict=True)]),
        svg.Series(own, "own", [value.own / scale for value, scale in zip(values, scales, strict=True)]),
        svg.Series("bound", "bound", [bound / scale for bound, scale in zip(bounds, scales, strict=True)]),
    ]
    return _lines(title, "layer", list(range(len(values))), series, note)


def _over(title: str, place: str, errors: Series, own: str) -> Iterator[Figure]:
    if errors.places:
        series = [svg.Series("graph", "graph", errors.error), svg.Series(own, "own", errors.own)]
        yield _lines(title, place, errors.places, series, "")


def _lines(title: str, place: str, places: Sequence[int], series: list[svg.Series], note: str) -> Figure:
    values = [value for one in series for value in one.values]
    picture = svg.lines(title, (place, _ERROR), places, series)
    if picture is None:
        return Figure(title, None, "Every error is 0." if not any(values) else "Every error is 0 or infinite.")
    edges = ["0" for value in values if not value][:1] + ["infinite" for value in values if not isfinite(value)][:1]
    beyond = f"A triangle at the edge stands for an error that is {' or '.join(edges)}." if edges else ""
    return Figure(title, picture, f"{note} {beyond}".strip())


def _histogram(histogram: Histogram, own: str) -> Iterator[Figure]:
    names = {"own": own}
    series = [svg.Series(names.get(name, name), name, counts) for name, counts in histogram.counts.items()]
    title = "Errors of all values"
    if picture := svg.bars(title, (_ERROR, "values"), histogram.edges, series):
        yield Figure(title, picture, "The first and the last bin take what lies outside.")


def _margins(tokens: TokensReport) -> Iterator[Figure]:
    title = "Margins of greedy decisions"
    series = [svg.Series(name, "graph", counts) for name, counts in tokens.margins.counts.items()]
    mark = (tokens.logit_error, f"logit error {number(tokens.logit_error)}")
    axes = ("logit of the chosen token above that of the next best", "steps")
    if picture := svg.bars(title, axes, tokens.margins.edges, series, mark):
        note = "A decision can turn only where its margin is about as small as the logits' error."
        yield Figure(title, picture, note)
