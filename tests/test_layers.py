"""Who may import whom: `model` and `runtime` are leaves, `export` is the bridge, and a device needs no PyTorch."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "model": {"diptych.model", "torch"},
    "export": {"diptych.model", "diptych.export", "diptych.runtime", "torch", "onnx", "onnx_ir", "onnxscript"},
    "runtime": {"diptych.runtime", "onnxruntime"},
}
LIBRARIES = {
    "model": {"numpy", "safetensors"},
    "export": {"numpy", "click", "rich", "tokenizers", "sentencepiece"},
    "runtime": {"numpy", "tokenizers", "click", "rich", "llguidance"},
}
FILES = sorted(path for package in ALLOWED for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Every module a file imports, wherever in it: the package for ours, the top-level name for others."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("__import__", "import_module"):
            names |= {
                text.value for text in ast.walk(node) if isinstance(text, ast.Constant) and "diptych" in str(text.value)
            }
    return {".".join(name.split(".")[:2]) if name.startswith("diptych") else name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_package_may(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    known = sys.stdlib_module_names
    foreign = {name for name in imported(path) if name not in known}
    assert foreign <= ALLOWED[package] | LIBRARIES[package]


def test_only_the_engine_imports_onnxruntime() -> None:
    importers = {path.relative_to(ROOT).as_posix() for path in FILES if "onnxruntime" in imported(path)}
    assert importers == {"runtime/engine.py"}


def test_a_violation_would_be_seen(tmp_path: Path) -> None:
    lazy = tmp_path / "lazy.py"
    lazy.write_text("def f():\n    import torch.nn\n    from diptych.model.linear import Linear\n")
    assert imported(lazy) == {"torch", "diptych.model"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_too_long_to_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
