"""Write `docs/families.md` from what the tests of this folder prove: `make families`."""

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from recording import ROOT, recorded

DOCUMENT = ROOT / "docs" / "families.md"
# Likeliest first; what comes first stands first where several are in one cell.
FIRST = ("≤ 1e-5", "≤ 1e-4", "greedy", "4 beams", "safetensors")
ENGINES = ("PyTorch", "ONNX")
HEADINGS = ("family", "task", "configurations", "layouts", *ENGINES)
TEXT = """# Families

What `make families` proved when it wrote this page: relative errors to `transformers` {transformers} (of `transformer`
to `torch.nn.Transformer`), padded on either side or not, and generated ids that are the same to the last.

{table}
"""

Row = tuple[str, ...]


def table(proofs: Iterable[Mapping[str, str]]) -> list[Row]:
    """A row for each family and task, and for what was proven of it in the same way."""
    found: dict[Row, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for proof in proofs:
        model = tuple(proof[column] for column in ("family", "task", "configuration", "layout"))
        found[model][proof["engine"]].add(proof["proof"])
    rows = [(*model, *(_cell(engines[engine], ", ") for engine in ENGINES)) for model, engines in found.items()]
    for column in (HEADINGS.index("layouts"), HEADINGS.index("configurations")):
        rows = _merged(rows, column)
    return sorted(rows, key=lambda row: (row[:2], -len(row[-1]), row))


def _merged(rows: Iterable[Row], column: int) -> list[Row]:
    """One row of those that differ in a column only."""
    groups: dict[Row, set[str]] = defaultdict(set)
    for row in rows:
        groups[row[:column] + row[column + 1 :]].add(row[column] or "usual")
    return [(*row[:column], _cell(values, "; "), *row[column:]) for row, values in groups.items()]


def _cell(values: Iterable[str], between: str) -> str:
    order = {value: place for place, value in enumerate(("usual", *FIRST))}
    return between.join(sorted(values, key=lambda value: (order.get(value, len(order)), value)))


def document(rows: Iterable[Row], transformers: str) -> str:
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    lines += [f"| `{family}` | {' | '.join(cells)} |" for family, *cells in rows]
    return TEXT.format(transformers=transformers, table="\n".join(lines))


def main() -> int:
    try:
        found = recorded(str(Path(__file__).parent), "-k", "not listed")
    except subprocess.CalledProcessError as error:
        return error.returncode
    proofs = [each for each in found if "proof" in each]
    DOCUMENT.write_text(document(table(proofs), metadata.version("transformers")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
