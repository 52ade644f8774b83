"""The runtime where torch, onnx and transformers cannot be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BLOCKED = ("torch", "onnx", "onnxscript", "onnx_ir", "transformers", "safetensors")

BLOCKER = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ImportError(f"{{name}} is blocked")
        return None

sys.meta_path.insert(0, Blocker())
"""


def python(code: str, *arguments: str, telemetry: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    if telemetry is not None:
        environment["ORT_DISABLE_TELEMETRY"] = telemetry
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        encoding="utf-8",
        env=environment | {"PYTHONUTF8": "1"},
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )


def diptych(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python(f"{BLOCKER}\nfrom diptych.runtime.command import main\nmain(sys.argv[1:])", *arguments)


@pytest.mark.parametrize("module", BLOCKED)
def test_the_blocker_blocks(module: str) -> None:
    result = python(f"{BLOCKER}\nimport {module}")
    assert result.returncode == 1
    assert f"{module} is blocked" in result.stderr


def test_run_translates(bundle: Path) -> None:
    result = diptych("run", str(bundle), "How are you?", "--threads", "1", "--num-beams", "2", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(json.loads(result.stdout)["ids"]) > 0


def test_info_describes(bundle: Path) -> None:
    result = diptych("info", str(bundle), "--json", "-")
    assert (result.returncode, result.stderr) == (0, "")
    facts = json.loads(result.stdout)
    assert facts["task"] == "translate"
    assert "encoder.onnx" in facts["graphs"]


def test_help_lists_the_commands() -> None:
    result = diptych("--help")
    assert result.returncode == 0
    assert {"run", "info"} <= set(result.stdout.split())


def test_export_says_what_it_lacks(tmp_path: Path) -> None:
    result = diptych("export", str(tmp_path), str(tmp_path / "bundle"))
    assert result.returncode == 1
    assert "diptych[export,cpu]" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "module",
    ["diptych.runtime", "diptych.runtime.command", "diptych.runtime.run_command", "diptych.runtime.info_command"],
)
def test_an_import_brings_none_of_them(module: str) -> None:
    result = python(f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))")
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    assert "diptych" in loaded
    assert not loaded & set(BLOCKED)


@pytest.mark.parametrize("package", ["diptych.model", "diptych.export"])
def test_the_runtime_does_not_import_the_other_packages(package: str) -> None:
    result = python(f"import sys, diptych.runtime, diptych.runtime.run_command; print({package!r} in sys.modules)")
    assert (result.returncode, result.stdout.strip()) == (0, "False")


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0"), ("1", "1")])
def test_telemetry_is_off_unless_the_user_says_otherwise(before: str | None, after: str) -> None:
    code = "import diptych.runtime, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    result = python(code, telemetry=before)
    assert (result.returncode, result.stdout.strip()) == (0, after)
