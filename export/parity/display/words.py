"""A report in words: what the terminal and the page both say of it."""

import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from diptych.export.parity.report import (
    UNREADABLE,
    FactsReport,
    PropertyReport,
    QualityReport,
    Report,
    SearchReport,
    TensorsReport,
    TextReport,
    TokensReport,
    WeightsReport,
)

LEVELS = ("facts", "weights", "tensors", "properties", "tokens", "text", "quality")
NOT_CHECKED = "not checked"
# Emoji and Persian words need these two; other invisible characters may reorder or hide what stands around them.
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class Finding:
    """What was found at one level; passed is `None` where nothing was."""

    level: str
    passed: bool | None
    told: str


def visible(text: str) -> str:
    """Text as one line in which nothing hides: controls, line breaks and half characters become escapes."""
    return "".join(character if _shows(character) else _escaped(character) for character in text)


def number(value: float) -> str:
    return "infinite" if not math.isfinite(value) else f"{value:.1e}" if value else "0"


def times(ratio: float) -> str:
    return f"{ratio:.1f}x" if ratio < 1000 else f"{number(ratio)}x" if math.isfinite(ratio) else "infinite"


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def shape(sizes: Iterable[int]) -> str:
    return f"[{', '.join(map(str, sizes))}]"


def reference_name(report: Report) -> str:
    """Whose errors `own` are: of another bundle, its graphs' without ONNX Runtime's optimiser."""
    return "PyTorch" if report.reference == "checkpoint" else "unoptimised"


def subject(report: Report) -> str:
    """What was verified, how far, and against what."""
    against = "the checkpoint in PyTorch" if report.reference == "checkpoint" else "another bundle"
    precision = "" if report.precision.name == "fp32" else f" in {report.precision.name}"
    level = f"{report.level} verification on {report.provider}"
    return f"{report.task}, {report.family}{precision}: {level} against {against}"


def reason(report: Report) -> str:
    """The first failure, and how many more there are; empty if there is none."""
    if report.passed:
        return ""
    first, more = report.failures[0], len(report.failures) - 1
    place = f" (module {first.module})" if first.module else ""
    return f"{first.level}: {first.what}{place}" + (f"; {counted(more, 'more failure')}" if more else "")


def findings(report: Report) -> list[Finding]:
    """One for each level, in order."""
    failed = {failure.level for failure in report.failures}
    told = {
        "facts": _facts(report.facts) if report.facts else None,
        "weights": _weights(report.weights, report) if report.weights else None,
        "tensors": _tensors(report.tensors, report) if report.tensors else None,
        "properties": _properties(report.properties) if report.properties is not None else None,
        "tokens": _tokens(report.tokens) if report.tokens else None,
        "text": _text(report.text) if report.text else None,
        "quality": _quality(report.quality, report) if report.quality else None,
    }
    return [
        Finding(level, level not in failed if told[level] or level in failed else None, told[level] or NOT_CHECKED)
        for level in LEVELS
        if level != "quality" or report.precision.name != "fp32"
    ]


def _facts(facts: FactsReport) -> str:
    result = f"{', '.join(facts.differing)} differ" if facts.differing else "all equal"
    others = f"; exported from another {', '.join(facts.other_files)}" if facts.other_files else ""
    return f"{counted(facts.compared, 'field')} of the manifest: {result}{others}"


def _weights(weights: WeightsReport, report: Report) -> str:
    equal = "all equal" if report.precision.name == "fp32" else "all equal, or as near as their bits allow"
    result = f"{len(weights.differing):,} differ" if weights.differing else equal
    return f"{counted(weights.tensors, 'tensor')} stored, {weights.compared:,} compared: {result}"


def _tensors(tensors: TensorsReport, report: Report) -> str:
    # Outputs of one graph share their cases; graphs do not.
    cases = sum({output.graph: output.cases for output in tensors.outputs}.values())
    told = f"{counted(len(tensors.outputs), 'output')} in {counted(cases, 'case')}"
    worst = report.worst
    if worst is not None:
        size = "infinite"
        if math.isfinite(worst.ratio):
            size = f"{number(worst.error)}, {times(worst.ratio)} {_rounding(report)}"
        told += f": worst error {size} (bound {report.multiple:g}x): {worst.graph} {worst.output}, {worst.case}"
    return told + (f"; left out: {', '.join(tensors.left_out)}" if tensors.left_out else "")


def _rounding(report: Report) -> str:
    return "float32's own" if report.precision.name == "fp32" else f"that of rounding in {report.precision.name}"


def _quality(quality: QualityReport, report: Report) -> str:
    found, kept = quality.measured, report.precision.kept
    parts = [f"agreement with float32 {found['agreement']:.2%} on {counted(int(found['positions']), 'position')}"]
    parts += [f"{quality.bound:.2%} promised"] if quality.bound is not None else []
    parts += [f"divergence {number(found['divergence'])} nats"] if "divergence" in found else []
    parts += [f"{counted(len(kept), 'module')} in more bits"] if kept else []
    return ", ".join(parts)


def _properties(properties: list[PropertyReport]) -> str:
    exempt = [f"{item.name}: {item.exempt}" for item in properties if item.exempt]
    failing = [f"{item.name} in {item.graph}" for item in properties if not item.holds and not item.exempt]
    holding = len(properties) - len(exempt) - len(failing)
    return ", ".join(
        [
            *([f"{len(failing)} broken ({'; '.join(failing)})"] if failing else []),
            f"{holding} hold",
            *([f"{len(exempt)} exempt ({'; '.join(_once(exempt))})"] if exempt else []),
        ]
    )


def _tokens(tokens: TokensReport) -> str:
    least = [] if tokens.least_margin is None else [f"least margin {number(tokens.least_margin)}"]
    distances = ", ".join([*least, f"logit error {number(tokens.logit_error)}"])
    return "; ".join([*map(_search, tokens.searches), distances])


def _search(search: SearchReport) -> str:
    parts = [f"{search.identical:,} of {search.texts:,} identical"]
    parts += [counted(search.near_ties, "near-tie")] if search.near_ties else []
    parts += [f"{search.faults:,} wrong"] if search.faults else []
    return f"{search.name}: {', '.join(parts)}"


def _text(text: TextReport) -> str:
    parts = [f"{text.round_trips:,} of {counted(text.texts, 'text')} survive a round trip"]
    parts += [f"{text.unreadable:,} not readable"] if text.unreadable else []
    parts += [f"{len(text.differing):,} with other ids"] if text.differing else []
    answers = [answer for answer in text.answers if answer.note != UNREADABLE]
    if answers:
        parts.append(f"{sum(answer.same for answer in answers):,} of {counted(len(answers), 'answer')} equal")
    return ", ".join(parts)


def _once(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))


def _shows(character: str) -> bool:
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
