"""`verification.json`: what was found when a bundle was compared with the checkpoint it came from."""

import json
from dataclasses import dataclass
from typing import Any

from diptych.runtime import ports
from diptych.runtime.bundle import Bundle, file_digest
from diptych.runtime.errors import BundleError

REPORT_VERSION = 1


@dataclass(frozen=True)
class Verdict:
    """verified: whether the bundle, as it is now, was found to compute what it was made from. told: that in words.

    report: all that is in the file, `None` if there is none.
    """

    verified: bool
    told: str
    report: dict[str, Any] | None = None


def read_verdict(bundle: Bundle) -> Verdict:
    """Raises BundleError if the file is damaged."""
    path = bundle.folder / ports.VERIFICATION_FILE
    if not path.is_file():
        return Verdict(verified=False, told="no: never compared with PyTorch")
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return _verdict(report, file_digest(bundle.folder / ports.MANIFEST_FILE))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BundleError(f"{path}: damaged; make it anew with diptych verify, or export the bundle again") from error


def _verdict(report: dict[str, Any], manifest: str) -> Verdict:
    if report["report_version"] != REPORT_VERSION:
        return Verdict(verified=False, told="no: compared by another version of diptych", report=report)
    if report["manifest"] != manifest:
        return Verdict(verified=False, told="no: the bundle was altered since it was compared", report=report)
    if not report["passed"]:
        first = report["failures"][0]
        return Verdict(verified=False, told=f"no, it FAILED: {first['level']}: {first['what']}", report=report)
    outputs = report["tensors"]["outputs"]
    worst = max(outputs, key=lambda output: output["ratio"])
    relative = worst["error"] / worst["scale"] if worst["scale"] else 0.0
    told = (
        f"yes, {report['level']}, on {report['provider']}: {len(outputs)} outputs, the worst {relative:.1e} from the "
        f"truth, {worst['ratio']:.2g}x what float32 explains (at most {report['multiple']:g}x)"
    )
    return Verdict(verified=True, told=told, report=report)
