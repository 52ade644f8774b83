"""The code blocks of README and docs run as they stand, top to bottom, in one folder per document."""

import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from diptych.runtime.generation.refused import REFUSED
from diptych.runtime.tasks.generate import TextOptions

ROOT = Path(__file__).parent.parent
DOCUMENTS = (
    "README.md",
    "docs/checkpoints.md",
    "docs/your-own-model.md",
    "docs/tasks.md",
    "docs/decoding.md",
    "docs/constrained.md",
    "docs/corpora.md",
    "docs/bench.md",
    "docs/faster.md",
    "docs/providers.md",
    "docs/bundle.md",
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DIPTYCH = str(Path(sys.executable).parent / "diptych")
# Installing and testing are what runs this test; the demo has a target of its own.
ELSEWHERE = ("make ", "pip ")


def blocks(document: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))


def commands(block: str) -> list[str]:
    lines = [line.removeprefix("$ ") for line in block.splitlines()]
    return [line for line in lines if not line.startswith(ELSEWHERE)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_of_code_runs(document: str, demo_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    if document != "README.md":
        (tmp_path / "bundle").symlink_to(demo_bundle)
    ran = 0
    for language, code in blocks(document):
        if language == "python":
            run([sys.executable, "-c", code], tmp_path)
            ran += 1
        for command in commands(code) if language == "console" else []:
            run(["bash", "-c", re.sub(r"\bdiptych ", f"{shlex.quote(DIPTYCH)} ", command)], tmp_path)
            ran += 1
    assert ran


def test_every_link_leads_somewhere() -> None:
    for document in [*DOCUMENTS, "CONTRIBUTING.md"]:
        path = ROOT / document
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{document}: {target}"


def test_every_option_of_decoding_is_told() -> None:
    told = (ROOT / "docs" / "decoding.md").read_text(encoding="utf-8")
    for option in fields(TextOptions):
        assert f"`{option.name}`" in told
    for name in set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE)) - REFUSED.keys():
        assert name in TextOptions.__dataclass_fields__


def run(command: list[str], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
