"""What fewer bits cost: how often the graphs and the network in float32 find the same likeliest token or class."""

import math
from collections.abc import Sequence

from diptych.export.parity.report import QualityReport
from diptych.export.parity.sides import Engines
from diptych.export.precision.calibration import examples
from diptych.export.precision.quality import expected, quality
from diptych.runtime.bundle import Bundle

# Standard errors that a share may lack which was measured on other texts.
_ERRORS = 3


def compare_quality(bundle: Bundle, subject: Engines, whole: Engines, lines: Sequence[str] | None) -> QualityReport:
    """whole: the engines in float32. lines: texts as the task reads them, else those that come along."""
    measured = quality(expected(examples(bundle, whole, lines), whole), subject)
    return QualityReport(measured, bundle.manifest.precision.quality.get("bound"))


def failure(found: QualityReport) -> str | None:
    """Where the manifest promises a share of agreement: whether less was found than chance explains."""
    share, count = found.measured["agreement"], max(found.measured["positions"], 1.0)
    if not all(math.isfinite(value) for value in found.measured.values()):
        return "the graphs say what are no numbers"
    if found.bound is None:
        return None
    least = found.bound - _ERRORS * math.sqrt(found.bound * (1 - found.bound) / count)
    if share >= least:
        return None
    return f"{share:.2%} of {count:,.0f} predictions are float32's, expected {found.bound:.2%}, as the manifest says"
