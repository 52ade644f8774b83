"""Reports made by hand, for the faces that show them."""

from math import exp, inf, sin

from diptych.export.parity.report import (
    AnswerReport,
    BisectionReport,
    FactsReport,
    Failure,
    Histogram,
    OutputReport,
    PropertyReport,
    Report,
    SearchReport,
    Series,
    TensorsReport,
    TextReport,
    TokenDifference,
    TokensReport,
    ValueReport,
    WeightsReport,
)

HOSTILE = [
    '<script>alert("1")</script>',
    '"><img src=https://example.org/x onerror=alert(1)>',
    "</style></title><svg/onload=alert(1)>",
    "[bold red]not markup[/bold red] :smile: [/]",
    "\x1b[31mred\x1b[0m\x07 \x9b2J \udcff",
    "two\nlines\tand \u2028 another",
    "word " * 400,
    "w" * 3000,
    "مرحبا بالعالم، كيف حالك؟",
    "\u202egnp.exe",
    "👩‍👩‍👧‍👦 🏳️‍🌈 日本語 é\u0301",
    "&amp; &#60;b&#62; url(https://example.org/y)",
]
LAYERS = 6


def minimal() -> Report:
    """Nothing was asked for."""
    return Report("embed", "bert", "", "checkpoint", "CPUExecutionProvider", "quick", 4.0, {})


def quick() -> Report:
    """As every export makes it."""
    report = _named("quick")
    report.facts = FactsReport(10, {})
    report.weights = WeightsReport(62, 60, {})
    report.tensors = TensorsReport(_outputs(), Series(), Series(), Histogram())
    return report


def full() -> Report:
    """A healthy one, with everything in it."""
    report = _named("full")
    report.facts = FactsReport(10, {})
    report.weights = WeightsReport(62, 60, {})
    places = list(range(64))
    pasts = [0, 1, 2, 5, 17, 23, 30, 63, 511]
    edges = [10.0 ** (quarter / 4) for quarter in range(-44, -3)]
    report.tensors = TensorsReport(
        _outputs(),
        Series(places, [_wave(place, 1.6e-7) for place in places], [_wave(place + 3, 1.4e-7) for place in places]),
        Series(pasts, [_wave(past, 2e-7) for past in pasts], [_wave(past + 1, 1.8e-7) for past in pasts]),
        Histogram(edges, {"graph": _bell(edges, -7.4), "own": _bell(edges, -7.5)}),
        ["positions from 512 (the model has 1024)"],
    )
    report.properties = [
        PropertyReport("causality", "decoder.onnx", True, 0.0, "no logit changes with what follows it"),
        PropertyReport("cache", "decoder.onnx", True, 0.31, "steps give what a whole gives"),
        PropertyReport("padding", "decoder.onnx", True, 0.12, "no row changes with another's padding"),
        PropertyReport("permutation", "encoder.onnx", False, 4.2e4, "", "positions are learned"),
    ]
    margins = [10.0 ** (third / 3) for third in range(-15, 7)]
    report.tokens = TokensReport(
        [SearchReport("greedy", 102, 102, 0, 0), SearchReport("beam 4", 102, 101, 1, 0)],
        [TokenDifference("beam 4", 17, 5, 402, 1019, [-3.1402, -3.1402], 1.2e-6, "near-tie")],
        2.2e-6,
        3.1e-3,
        Histogram(margins, {"graph": [0, 0, 0, 0, 0, 0, 0, 0, 1, 4, 9, 21, 55, 130, 240, 410, 260, 80, 12, 0, 0]}),
    )
    same = [AnswerReport(f"Go {count} on.", f"Va {count}.", f"Va {count}.", True) for count in range(3)]
    report.text = TextReport(102, 100, 2, [], [*same, AnswerReport("Stop!", "Arrête !", "Arrêtez !", True, "near-tie")])
    return report


def failing() -> Report:
    """A graph that goes wrong in one module, found by bisection."""
    report = full()
    module = "decoder.layers.3.feedforward.down"
    assert report.tensors is not None
    report.tensors.outputs[:] = [
        OutputReport(each.graph, each.output, 3.2e-2, each.own, each.scale, each.allowed, 2.1e4, each.case, each.cases)
        if each.output == "logits" or each.output.startswith(("present.4", "present.5.decoder"))
        else each
        for each in report.tensors.outputs
    ]
    for each in [output for output in report.tensors.outputs if output.ratio > 4]:
        report.fail("tensors", f"{each.graph} {each.output} is {each.error} from the truth in {each.case}", module)
    for text in range(8):
        report.fail("tokens", f"greedy, text {text}: token 4 differs")
    assert report.tokens is not None
    report.tokens.searches[0] = SearchReport("greedy", 102, 94, 0, 8)
    report.tokens.differences.append(TokenDifference("greedy", 3, 4, None, 7, [1.5, 0.25], 1.25, "fault"))
    layers = [_value(f"decoder.layers.{layer}", 1e-6 * 1.5**layer, bad=layer > 2) for layer in range(LAYERS)]
    report.bisection = BisectionReport(
        "decoder.onnx",
        "3 of 9, padded ragged x 4 rows, past 5, 1 new",
        module,
        [_value("decoder.layers.3.feedforward.up", 1.1e-6, bad=False)],
        [_value(module, 1.7e-6, bad=True)],
        ["MatMul /decoder/layers.3/feedforward/down/MatMul", "Add /decoder/layers.3/feedforward/down/Add"],
        layers,
    )
    return report


def infinite() -> Report:
    """Errors that are no numbers, and errors that are 0."""
    report = failing()
    assert report.tensors is not None
    assert report.bisection is not None
    report.tensors.outputs[0] = OutputReport("encoder.onnx", "last_hidden_state", inf, 0.0, 0.0, 0.0, inf, "1 of 1", 9)
    report.tensors.by_position.error[5:8] = [inf, 0.0, inf]
    report.tensors.by_past.error[:] = [0.0] * len(report.tensors.by_past.places)
    report.tensors.by_past.own[:] = [0.0] * len(report.tensors.by_past.places)
    report.bisection.layers[3:] = [ValueReport("decoder", [1], inf, 0.0, 1.0, 1e-6, inf, False)] * 3
    report.fail("tensors", "an output is not finite")
    return report


def hostile() -> Report:
    """Every text that may come from a user is one that would harm."""
    report = failing()
    first = HOSTILE[0]
    report.task = report.family = report.provider = report.manifest = first
    report.tools = dict.fromkeys(HOSTILE[:3], first)
    report.facts = FactsReport(1, {text: text for text in HOSTILE})
    report.weights = WeightsReport(1, 1, {text: text for text in HOSTILE})
    report.failures[:0] = [Failure(text, text, text) for text in HOSTILE]
    report.properties = [PropertyReport(text, text, False, 1.0, text, text) for text in HOSTILE]
    report.text = TextReport(1, 1, 1, HOSTILE, [AnswerReport(text, text, text, False, text) for text in HOSTILE])
    report.bisection = BisectionReport(
        *(first, first, first), [_value(first, 1.0, bad=True)], [], HOSTILE, [_value(first, 1.0, bad=True)] * 2, first
    )
    assert report.tensors is not None
    report.tensors.outputs.append(OutputReport(first, f"present.0.{first}", 1.0, 1.0, 1.0, 1.0, 1.0, first, 1))
    report.tensors.left_out.extend(HOSTILE)
    return report


EVERY = (minimal, quick, full, failing, infinite, hostile)


def _named(level: str) -> Report:
    tools = {"diptych": "0.1.0", "torch": "2.13.0", "onnxruntime": "1.31.0"}
    manifest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    report = Report("translate", "marian", manifest, "checkpoint", "CPUExecutionProvider", level, 4.0, tools)  # type: ignore[arg-type]
    report.seconds = {"weights": 0.4, "tensors": 12.1, "properties": 3.2}
    return report


def _outputs() -> list[OutputReport]:
    names = [("encoder.onnx", "last_hidden_state"), ("decoder.onnx", "logits")]
    for layer in range(LAYERS):
        names += [("encoder.onnx", f"present.{layer}.encoder.{part}") for part in ("key", "value")]
        names += [("decoder.onnx", f"present.{layer}.decoder.{part}") for part in ("key", "value")]
    return [_output(graph, name, index) for index, (graph, name) in enumerate(sorted(names, reverse=True))]


def _output(graph: str, name: str, index: int) -> OutputReport:
    scale = 4.0 + index % 5
    own = _wave(index, 4e-7) * scale
    error = own * (0.7 + index % 4 * 0.3)
    cases = 9 if graph == "encoder.onnx" else 14
    return OutputReport(
        graph, name, error, own, scale, 4 * own, error / own, "3 of 9, padded ragged, past 5, 1 new", cases
    )


def _value(name: str, own: float, *, bad: bool) -> ValueReport:
    ratio = 31000.0 if bad else 1.2
    return ValueReport(name, [12, 1, 512], own * ratio, own, 8.0, 4 * own, ratio, not bad)


def _wave(place: int, size: float) -> float:
    return size * (1.3 + sin(place * 1.7) * 0.5 + sin(place * 0.31) * 0.4 + place * 0.004)


def _bell(edges: list[float], middle: float) -> list[int]:
    places = [-11 + quarter / 4 for quarter in range(len(edges) - 1)]
    return [round(4e5 * exp(-((place - middle) ** 2) / (0.7 if place < middle else 0.12))) for place in places]
