"""What tests found, for documents that list it: a file of JSON objects, one a line."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# The file to which tests write.
RECORD = "DIPTYCH_RECORD"


def keep(found: Iterable[Mapping[str, Any]]) -> None:
    """Write it down, each once, if somebody asked for it."""
    if os.environ.get(RECORD):
        lines = [json.dumps(each, ensure_ascii=False, sort_keys=True) for each in found]
        with Path(os.environ[RECORD]).open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in dict.fromkeys(lines)))


def recorded(*tests: str) -> list[dict[str, Any]]:
    """What these tests of pytest found. Raises CalledProcessError if one fails."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "found.jsonl"
        command = [sys.executable, "-m", "pytest", "-q", *tests]
        subprocess.run(command, cwd=ROOT, env=os.environ | {RECORD: str(record)}, check=True)
        return [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
