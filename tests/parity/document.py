"""Write the tables of `docs/parity.md` from what tests find: `make parity`."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from parity import tables
from parity.grid import EVERY_BUNDLE
from recording import ROOT, recorded

DOCUMENT = ROOT / "docs" / "parity.md"
TESTS = ("tests/families/test_families.py", "tests/parity/test_faults.py")
SELECTED = "test_bundles_pass_verification or test_faults_are_caught"
Found = list[Mapping[str, Any]]


def written(found: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What stands at each place of the document."""
    found = list(found)
    faults: Found = [each for each in found if "fault" in each]
    bundles: Found = [each for each in found if "errors" in each]
    plain = [each for each in bundles if tables.column(each) == tables.COLUMNS[0]]
    families = tables.table(tables.FAMILY_HEADINGS, tables.family_rows(plain))
    return {
        "families": f"{families}\n\n{tables.distribution(plain)}",
        "grid": tables.table(tables.GRID_HEADINGS, tables.grid_rows(bundles)),
        "ratios": tables.table(tables.RATIO_HEADINGS, tables.ratio_rows(bundles)),
        "properties": tables.table(tables.PROPERTY_HEADINGS, tables.property_rows(bundles)),
        "near-ties": tables.table(tables.NEAR_TIE_HEADINGS, tables.near_tie_rows(bundles)),
        "faults": tables.table(tables.FAULT_HEADINGS, tables.fault_rows(faults)),
    }


def rows_between(marker: str) -> list[tuple[str, ...]]:
    """The rows of the table that is in the document."""
    lines = re.findall(r"^\| (.*) \|$", _place(marker).search(DOCUMENT.read_text(encoding="utf-8"))[2], re.MULTILINE)
    return [tuple(line.split(" | ")) for line in lines[1:]]


def markers() -> list[str]:
    """The places in the document that are written, in order."""
    return re.findall(r"^<!-- ([a-z-]+) -->$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)


def _place(marker: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {marker} -->\n)(.*?)(<!-- /{marker} -->)", re.DOTALL)


def main() -> int:
    os.environ[EVERY_BUNDLE] = "1"
    try:
        found = recorded(*TESTS, "-k", SELECTED)
    except subprocess.CalledProcessError as error:
        return error.returncode
    document = DOCUMENT.read_text(encoding="utf-8")
    for marker, text in written(found).items():
        document = _place(marker).sub(lambda place, text=text: f"{place[1]}{text}\n{place[3]}", document)
    DOCUMENT.write_text(document, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
