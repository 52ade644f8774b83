"""Write the tables of `docs/parity.md` from what tests find: `make parity`."""

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from recording import ROOT, recorded

from diptych.export.parity.bounds import MULTIPLE

DOCUMENT = ROOT / "docs" / "parity.md"
FAULT_HEADINGS = ("fault", "model", "caught at", "module")
FAMILY_HEADINGS = ("family", "task", "outputs", "PyTorch's own error", "the graph's error", "largest ratio", "bound")
TESTS = ("tests/families/test_families.py", "tests/parity/test_faults.py")
SELECTED = "test_exported_bundles or test_faults_are_caught"
Row = tuple[str, ...]


def fault_rows(found: Iterable[Mapping[str, Any]]) -> list[Row]:
    return [
        (
            each["fault"],
            f"`{each['model']}`",
            ", ".join(each["levels"]),
            f"`{each['module']}`" if each["module"] else "",
        )
        for each in found
    ]


def family_rows(found: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Of a family's configurations for one task, the outputs of all are put together."""
    groups: dict[tuple[str, str], dict[str, list[tuple[float, float, float]]]] = defaultdict(dict)
    for each in found:
        outputs = groups[each["family"], each["task"]]
        for output, errors in each["errors"].items():
            outputs[f"{each['configuration']} {output}"] = errors
    rows = []
    for (family, task), outputs in sorted(groups.items()):
        own, graph, ratio = numbers(outputs.values())
        cells = [f"{np.median(errors):.1e} / {errors.max():.1e}" for errors in (own, graph)]
        rows.append((f"`{family}`", task, str(len(outputs)), *cells, f"{ratio.max():.2f}", f"{MULTIPLE:g}"))
    return rows


def numbers(outputs: Iterable[Iterable[Sequence[Any]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every output in every case: PyTorch's own error, the graph's, and their ratio."""
    own, graph, ratio = np.array([errors[1:] for output in outputs for errors in output]).T
    return own, graph, ratio


def distribution(found: Iterable[Mapping[str, Any]]) -> str:
    """Of the ratios of all."""
    outputs = [errors for each in found for errors in each["errors"].values()]
    _, _, ratio = numbers(outputs)
    shares = ", ".join(f"{share} % below {np.quantile(ratio, share / 100):.2f}" for share in (50, 90, 99))
    return f"Of {len(outputs)} outputs, {len(ratio):,} cases in all: {shares}, and none above {ratio.max():.2f}."


def table(headings: Row, rows: Iterable[Row]) -> str:
    return "\n".join(
        [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|", *(f"| {' | '.join(r)} |" for r in rows)]
    )


def rows_between(marker: str) -> list[Row]:
    """The rows of the table that is in the document."""
    lines = re.findall(r"^\| (.*) \|$", _place(marker).search(DOCUMENT.read_text(encoding="utf-8"))[2], re.MULTILINE)
    return [tuple(line.split(" | ")) for line in lines[1:]]


def _place(marker: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {marker} -->\n)(.*?)(<!-- /{marker} -->)", re.DOTALL)


def main() -> int:
    try:
        found = recorded(*TESTS, "-k", SELECTED)
    except subprocess.CalledProcessError as error:
        return error.returncode
    families = [each for each in found if "errors" in each]
    texts = {
        "faults": table(FAULT_HEADINGS, fault_rows(each for each in found if "fault" in each)),
        "families": f"{table(FAMILY_HEADINGS, family_rows(families))}\n\n{distribution(families)}",
    }
    document = DOCUMENT.read_text(encoding="utf-8")
    for marker, text in texts.items():
        document = _place(marker).sub(lambda place, text=text: f"{place[1]}{text}\n{place[3]}", document)
    DOCUMENT.write_text(document, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
