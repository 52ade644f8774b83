"""Write `docs/families.md` from what the tests of this folder prove: `make families`."""

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = ROOT / "docs" / "families.md"
# The file to which tests write what they proved, a JSON object a line.
RECORD = "DIPTYCH_FAMILIES_RECORD"
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
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "proofs.jsonl"
        tests = [sys.executable, "-m", "pytest", "-q", str(Path(__file__).parent), "-k", "not listed"]
        outcome = subprocess.run(tests, cwd=ROOT, env=os.environ | {RECORD: str(record)}, check=False)
        if outcome.returncode:
            return outcome.returncode
        proofs = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    DOCUMENT.write_text(document(table(proofs), metadata.version("transformers")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
