"""The report as one page of HTML that needs nothing else: no script, no font, no picture from elsewhere."""

from collections.abc import Iterator, Sequence

from diptych.export.parity.display import cells
from diptych.export.parity.display.markup import Markup, tag
from diptych.export.parity.display.pictures import Figure, figures
from diptych.export.parity.display.style import STYLE
from diptych.export.parity.display.words import counted, findings, reason, reference_name, shape, times
from diptych.export.parity.report import (
    BisectionReport,
    PropertyReport,
    Report,
    TensorsReport,
    TextReport,
    TokensReport,
)

# What a page that shows a stranger's texts may do: look as it looks.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(report: Report, title: str) -> str:
    """The whole page; the same report gives the same page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{'Passed' if report.passed else 'Failed'}: {title}"),
        tag("style", Markup(STYLE)),
    )
    body = tag("body", tag("main", _header(report, title), *_sections(report)))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _sections(report: Report) -> Iterator[Markup]:
    own = reference_name(report)
    yield _section("Levels", _levels(report))
    if report.failures:
        yield _section("Failures", _failures(report))
    if report.bisection:
        yield _section("Where the error enters", *_bisection(report.bisection, own))
    if drawn := list(figures(report)):
        yield _section("Pictures", tag("div", *map(_figure, drawn), class_="figures"))
    if report.tensors:
        yield _section("Outputs", *_outputs(report.tensors, report.multiple, own))
    if report.weights and report.weights.differing:
        rows = [(cells.head(name), cells.text(how)) for name, how in report.weights.differing.items()]
        yield _section("Weights that differ", cells.table(("tensor", "how"), rows))
    if report.properties:
        yield _section("Properties", _properties(report.properties))
    if report.tokens:
        yield _section("Tokens", *_tokens(report.tokens))
    if report.text:
        yield _section("Answers", *_answers(report.text))


def _header(report: Report, title: str) -> Markup:
    kind, word = ("good", "✓ Passed") if report.passed else ("bad", "✗ Failed")
    why = [tag("span", reason(report), dir="auto")] if report.failures else []
    facts = {
        "task": report.task,
        "family": report.family,
        "verification": report.level,
        "compared with": "the checkpoint in PyTorch" if report.reference == "checkpoint" else "another bundle",
        "provider": report.provider,
        "bound": f"{report.multiple:g} times the error that float32 itself makes",
        "manifest": report.manifest,
        "tools": ", ".join(f"{name} {version}" for name, version in report.tools.items()),
    }
    listed = [part for name, fact in facts.items() for part in (tag("dt", name), tag("dd", fact, dir="auto"))]
    verdict = tag("p", tag("strong", word), *why, class_=f"verdict {kind}")
    return tag("header", tag("h1", title, dir="auto"), verdict, tag("dl", *listed))


def _levels(report: Report) -> Markup:
    rows = [
        (
            cells.head(found.level, "word"),
            cells.verdict(passed=found.passed),
            cells.sentence(found.told),
        )
        for found in findings(report)
    ]
    return cells.table(("level", "verdict", "what was found"), rows)


def _failures(report: Report) -> Markup:
    rows = [
        (cells.head(failure.level), cells.text(failure.what), cells.path(failure.module or "–"))
        for failure in report.failures
    ]
    return cells.table(("level", "what", "module"), rows)


def _bisection(bisection: BisectionReport, own: str) -> Iterator[Markup]:
    where = tag("strong", bisection.module) if bisection.module else "No tensor between modules leaves its bound"
    yield tag("p", where, f" in {bisection.graph}, {bisection.case}.", dir="auto")
    if bisection.note:
        yield tag("p", bisection.note, dir="auto")
    rows = [
        (
            cells.head(side, "word"),
            *(cells.path(value.name), cells.plain(shape(value.shape), "word")),
            *map(cells.number, (value.error, value.own, value.scale)),
            *(cells.plain(times(value.ratio), "number"), cells.verdict(passed=value.holds)),
        )
        for side, values in (("enters", bisection.inputs), ("leaves", bisection.outputs))
        for value in values
    ]
    if rows:
        yield cells.table(("", "tensor", "shape", "error#", f"{own}#", "largest value#", "ratio#", "verdict"), rows)
    if bisection.nodes:
        yield tag("p", "In the graph the module became:")
        yield tag("ul", *(tag("li", node, dir="auto") for node in bisection.nodes))


def _figure(figure: Figure) -> Markup:
    caption = tag("figcaption", tag("strong", figure.title), tag("span", figure.note))
    return tag("figure", caption, *([figure.picture] if figure.picture else []))


def _outputs(tensors: TensorsReport, multiple: float, own: str) -> Iterator[Markup]:
    yield tag(
        "p",
        "Every output in the case where it came closest to its bound. The ratio is the error in units of what rounding "
        f"explains; {multiple:g}x is the bound. Errors are absolute.",
        class_="soft",
    )
    if tensors.left_out:
        yield tag("p", f"Left out: {'; '.join(tensors.left_out)}.")
    for graph in dict.fromkeys(output.graph for output in tensors.outputs):
        outputs = [output for output in tensors.outputs if output.graph == graph]
        # Of bundles in fewer bits there are two ratios.
        usual = any(output.typical is not None for output in outputs)
        yield tag("h3", f"{graph}, {counted(max(output.cases for output in outputs), 'case')}")
        rows = [
            (
                cells.head(output.output, "word"),
                *map(cells.number, (output.error, output.own, output.allowed, output.scale)),
                *(
                    cells.plain(times(ratio), "number" if ratio <= multiple else "number bad")
                    for ratio in (output.ratio, *([output.typical or 0.0] if usual else []))
                ),
                cells.text(output.case),
            )
            for output in outputs
        ]
        ratios = ("ratio#", "at half of all positions#") if usual else ("ratio#",)
        yield cells.table(("output", "error#", f"{own}#", "bound#", "largest value#", *ratios, "worst case"), rows)


def _properties(properties: Sequence[PropertyReport]) -> Markup:
    rows = [
        (
            *(cells.head(item.name), cells.plain(item.graph, "word")),
            cells.plain("exempt", "word soft") if item.exempt else cells.verdict(passed=item.holds),
            *(cells.number(item.error), cells.text(item.exempt or item.detail)),
        )
        for item in properties
    ]
    return cells.table(("property", "graph", "verdict", "error (bound 1)#", "detail"), rows)


def _tokens(tokens: TokensReport) -> Iterator[Markup]:
    searches = [
        (
            cells.head(search.name),
            *(cells.plain(f"{count:,}", "number") for count in (search.texts, search.identical, search.near_ties)),
            cells.plain(f"{search.faults:,}", "number bad" if search.faults else "number"),
        )
        for search in tokens.searches
    ]
    yield cells.table(("search", "texts#", "identical#", "near-ties#", "wrong#"), searches)
    if not tokens.differences:
        yield tag("p", "No token differs.")
        return
    differences = [
        (
            cells.head(item.search),
            *(cells.plain(str(place), "number") for place in (item.text, item.place)),
            *(
                cells.plain("the end" if token is None else str(token), "number")
                for token in (item.ours, item.reference)
            ),
            *(cells.plain(" ".join(f"{logit:.6g}" for logit in item.logits), "number"), cells.number(item.apart)),
            cells.plain(item.kind, "word bad" if item.kind == "fault" else "word"),
        )
        for item in tokens.differences
    ]
    yield tag("h3", "Tokens that differ")
    yield cells.table(("search", "text#", "place#", "graph#", "reference#", "logits#", "apart#", "kind"), differences)


def _answers(text: TextReport) -> Iterator[Markup]:
    if text.differing:
        yield tag("p", "Texts that become other ids:")
        yield tag("ul", *(tag("li", each, dir="auto") for each in text.differing))
    if not text.answers:
        yield tag("p", "No answers were compared.")
        return
    # What differs is what one looks for.
    answers = sorted(text.answers, key=lambda answer: answer.same)
    rows = [
        (
            *(cells.text(answer.text), cells.text(answer.ours)),
            cells.plain("the same", "word soft") if answer.ours == answer.reference else cells.text(answer.reference),
            *(cells.verdict(passed=answer.same), cells.text(answer.note)),
        )
        for answer in answers
    ]
    yield cells.table(("text", "answer", "reference", "verdict", "note"), rows)


def _section(heading: str, *content: str) -> Markup:
    return tag("section", tag("h2", heading), *content)
