"""What a verification found, as plain records: the terminal, JSON and HTML all tell these.

docs/parity.md describes the JSON, which is these records field by field.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from diptych.runtime.verification import REPORT_VERSION


@dataclass(frozen=True)
class Failure:
    """level: the name of the level, in the words of `Report`. module: where it comes from, if that is known."""

    level: str
    what: str
    module: str | None = None


@dataclass(frozen=True)
class FactsReport:
    """compared: fields of the manifest that the other side has, too. differing: how, by name.

    other_files: those of the checkpoint that are not the ones the bundle was exported from, which is no fault.
    """

    compared: int
    differing: dict[str, str]
    other_files: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class WeightsReport:
    """tensors: how many the bundle stores. compared: those that the network knows by name. differing: how, by name."""

    tensors: int
    compared: int
    differing: dict[str, str]


@dataclass(frozen=True)
class OutputReport:
    """One output of one graph, in its worst case of `cases`.

    error, own: largest absolute distances from the truth, of the graph and of what it is compared with. scale: the
    largest truth. allowed: the bound on `error`. ratio: the error in units of what rounding explains; the bound is
    `Report.multiple`. typical: the same of the error at half
    of all positions in all cases, where activations are rounded to steps.
    """

    graph: str
    output: str
    error: float
    own: float
    scale: float
    allowed: float
    ratio: float
    case: str
    cases: int
    typical: float | None = None


@dataclass(frozen=True)
class Series:
    """Relative errors of the graph's logits (or first output) against something counted, such as the past's length."""

    places: list[int] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Histogram:
    """counts[name][i] values lie from edges[i] up to edges[i + 1]; the first and last bin take what lies outside."""

    edges: list[float] = field(default_factory=list)
    counts: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class TensorsReport:
    """by_position, by_past, histogram: of relative errors, the graph's and its reference's own."""

    outputs: list[OutputReport]
    by_position: Series
    by_past: Series
    histogram: Histogram
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PropertyReport:
    """One property of the architecture in one graph.

    error: the largest change where there must be none, in units of what may change by rounding: 1 is the bound; of a
    property that demands a change, what is demanded over what was seen. exempt: why it need not hold, if so. module:
    which breaks it, if that is known.
    """

    name: str
    graph: str
    holds: bool
    error: float
    detail: str
    exempt: str | None = None
    module: str | None = None


@dataclass(frozen=True)
class TokenDifference:
    """Where two searches part. ours, reference: ids, `None` past the end. logits: what the reference says of them.

    apart: the largest difference between the engines' logits where both are told the same, all through the search.
    """

    search: str
    text: int
    place: int
    ours: int | None
    reference: int | None
    logits: list[float]
    apart: float
    kind: Literal["near-tie", "fault"]


@dataclass(frozen=True)
class SearchReport:
    name: str
    texts: int
    identical: int
    near_ties: int
    faults: int


@dataclass(frozen=True)
class TokensReport:
    """logit_error: the largest between the two engines. margins: between the best two logits at each greedy step."""

    searches: list[SearchReport]
    differences: list[TokenDifference]
    logit_error: float
    least_margin: float | None
    margins: Histogram


# The note of an answer to a text that the task cannot read.
UNREADABLE = "unreadable"


@dataclass(frozen=True)
class AnswerReport:
    """What a task said of a text, as `diptych run` writes it. note: why both are the same nevertheless, or are none."""

    text: str
    ours: str
    reference: str
    same: bool
    note: str = ""


@dataclass(frozen=True)
class TextReport:
    """round_trips: texts whose ids decode and encode to themselves. unreadable: texts that the task does not take."""

    texts: int
    round_trips: int
    unreadable: int
    differing: list[str]
    answers: list[AnswerReport]


@dataclass(frozen=True)
class QualityReport:
    """Of graphs in fewer bits, beside the network in float32: what `export.precision.quality` measures.

    bound: the share of agreement that the manifest promises, if it does.
    """

    measured: dict[str, float]
    bound: float | None = None


@dataclass(frozen=True)
class PrecisionReport:
    """name: int8, say. kept: modules in another, and in which, as the manifest has them."""

    name: str
    kept: dict[str, str]


@dataclass(frozen=True)
class ValueReport:
    """A tensor between modules: what it is, and how far it is from the truth; ratio as in `OutputReport`."""

    name: str
    shape: list[int]
    error: float
    own: float
    scale: float
    allowed: float
    ratio: float
    holds: bool


@dataclass(frozen=True)
class BisectionReport:
    """The first module whose output leaves its bound while what enters it does not.

    module: `None` if no tensor between modules leaves its bound. nodes: what the module became, "op name". layers: the
    state after each layer, in order.
    """

    graph: str
    case: str
    module: str | None
    inputs: list[ValueReport]
    outputs: list[ValueReport]
    nodes: list[str]
    layers: list[ValueReport]
    note: str = ""


@dataclass
class Report:
    """Everything that was found; a level that was not asked for, or could not be run, is `None`.

    manifest: SHA-256 of the bundle's `diptych.json`: what was verified. reference: a checkpoint in PyTorch, or another
    bundle. level: quick, as every export, or full. precision: of the bundle. seconds: that each level took.
    """

    task: str
    family: str
    manifest: str
    reference: Literal["checkpoint", "bundle"]
    provider: str
    level: Literal["quick", "full"]
    multiple: float
    tools: dict[str, str]
    precision: PrecisionReport = PrecisionReport("fp32", {})
    facts: FactsReport | None = None
    weights: WeightsReport | None = None
    tensors: TensorsReport | None = None
    properties: list[PropertyReport] | None = None
    tokens: TokensReport | None = None
    text: TextReport | None = None
    quality: QualityReport | None = None
    bisection: BisectionReport | None = None
    failures: list[Failure] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    report_version: int = REPORT_VERSION

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def worst(self) -> OutputReport | None:
        """The output that comes closest to its bound."""
        return max(self.tensors.outputs, key=lambda output: output.ratio) if self.tensors else None

    def fail(self, level: str, what: str, module: str | None = None) -> None:
        self.failures.append(Failure(level, what, module))

    def as_json(self, *, timed: bool = True) -> dict[str, Any]:
        """What is not finite becomes a text, for JSON has no word for it. timed: with `seconds`."""
        values: dict[str, Any] = _finite(asdict(self))
        if not timed:
            del values["seconds"]
        return values | {"passed": self.passed}


def told(report: Report, most: int = 10) -> str:
    """The failures, a line for each, and the module that bisection found."""
    lines = [f"  {failure.level}: {failure.what}" for failure in report.failures[:most]]
    if len(report.failures) > most:
        lines.append(f"  and {len(report.failures) - most} more")
    if report.bisection is not None:
        lines.append(f"  the first module at fault: {report.bisection.module or report.bisection.note}")
    return "\n".join(lines)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not -float("inf") < value < float("inf"):
        return "infinite" if value else value
    return value
