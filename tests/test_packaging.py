"""A forgotten subpackage works when editable and is missing in the wheel: what is in the repository is packaged."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_folder_is_listed() -> None:
    folders = {
        "diptych." + path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for package in ("model", "export", "runtime")
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert folders == set(PYPROJECT["tool"]["setuptools"]["packages"])


def test_every_package_is_marked_as_typed() -> None:
    assert all((ROOT / package / "py.typed").is_file() for package in ("model", "export", "runtime"))


def test_no_build_of_onnxruntime_is_a_base_dependency() -> None:
    assert not [name for name in PYPROJECT["project"]["dependencies"] if name.startswith("onnxruntime")]
    export = PYPROJECT["project"]["optional-dependencies"]["export"]
    assert not [name for name in export if name.startswith("onnxruntime")]


def test_every_dependency_is_bounded() -> None:
    optional = PYPROJECT["project"]["optional-dependencies"].values()
    for requirement in [*PYPROJECT["project"]["dependencies"], *(name for group in optional for name in group)]:
        assert ">=" in requirement, requirement
        assert "," in requirement, requirement
        assert "<" in requirement, requirement
