"""What cannot be asked for, and how a manifest tells what was."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from click.testing import CliRunner

from diptych.export import export_checkpoint
from diptych.export.command import export, with_shares
from diptych.export.precision.apply import Wanted
from diptych.runtime.errors import BundleError, OptionError
from diptych.runtime.manifest import Manifest, Precision

TEXTS = ["a text"]


@pytest.mark.parametrize(
    ("wanted", "target", "told"),
    [
        (Wanted("int16"), "portable", "precision 'int16' is not one of fp32, fp16, int8, int4"),
        (Wanted("fp16"), "cpu", "fp16 is for GPUs and browsers"),
        (Wanted("int8", 0.0), "portable", "quality is 0, expected a share"),
        (Wanted("int8", 1.01), "portable", "quality is 1.01, expected a share"),
        (Wanted("int8", float("nan")), "portable", "quality is nan, expected a share"),
        (Wanted("fp32", 0.9), "portable", "quality is for int8 and int4; in fp32"),
        (Wanted("fp16", 0.9), "portable", "quality is for int8 and int4; in fp16"),
        (Wanted("int4", None, TEXTS), "portable", "give a quality, too"),
        (Wanted("fp32", None, TEXTS), "portable", "give a quality, too"),
        (Wanted("int8", 0.9, []), "portable", "expected one at least"),
    ],
)
def test_mistakes(wanted: Wanted, target: str, told: str) -> None:
    with pytest.raises(OptionError, match=told.replace("(", r"\(")):
        wanted.check(target)


@pytest.mark.parametrize(
    "wanted", [Wanted(), Wanted("int8"), Wanted("int4", 1.0), Wanted("int8", 0.5, TEXTS), Wanted("fp16", None, TEXTS)]
)
def test_what_can_be_asked_for(wanted: Wanted) -> None:
    wanted.check("portable")


def test_mistakes_are_told_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="precision 'fp8'"):
        export_checkpoint(tmp_path / "nowhere", tmp_path / "bundle", precision="fp8")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--precision", "int16"], "'int16' is not one of 'fp32', 'fp16', 'int8', 'int4'"),
        (["--precision", "int8", "--quality=most"], "'most' is not a valid float"),
        (["--precision", "int8", "--quality=2"], "quality is 2, expected a share of predictions"),
        (["--precision", "int8", "--quality=0.9", "--texts", "nowhere.txt"], "'nowhere.txt' does not exist"),
        (["--quality"], "quality is for int8 and int4; in fp32"),
        (["--precision", "int8", "--quality", "0,95"], "'0,95' is not a valid float"),
    ],
)
def test_mistakes_on_the_command_line(
    arguments: list[str],
    told: str,
    transformer_checkpoint: Path,
    tmp_path: Path,
    diptych: Callable[..., CompletedProcess[str]],
) -> None:
    finished = diptych("export", transformer_checkpoint, "bundle", *arguments, cwd=tmp_path)
    assert finished.returncode == 2
    assert told in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--quality", "in", "out"], ["--quality=0.98", "in", "out"]),
        (["in", "--quality", "./out"], ["in", "--quality=0.98", "./out"]),
        (["in", "out", "--quality"], ["in", "out", "--quality=0.98"]),
        (["--quality", "--force", "in", "out"], ["--quality=0.98", "--force", "in", "out"]),
        (["--quality", "0.9", "in", "out"], ["--quality", "0.9", "in", "out"]),
        (["--quality", ".9", "in", "out"], ["--quality", ".9", "in", "out"]),
        (["--quality=0.9", "in", "out"], ["--quality=0.9", "in", "out"]),
        (["--", "--quality", "out"], ["--", "--quality", "out"]),
        ([], []),
    ],
)
def test_a_path_after_quality_is_no_share(given: list[str], expected: list[str]) -> None:
    assert list(with_shares(given)) == expected


def test_a_checkpoint_after_quality(tmp_path: Path) -> None:
    """It is read as a path, not as a number."""
    arguments = ["--precision", "int8", "--quality", str(tmp_path / "nowhere"), str(tmp_path / "bundle")]
    found = CliRunner().invoke(export, arguments)
    assert "nowhere" in str(found.exception or found.output)
    assert "float" not in found.output


KEPT = Precision("int4", {"head": "int8"}, {"agreement": 0.5}, {"head": 21.5})


@pytest.fixture
def manifest(transformer_bundle: Path, tmp_path: Path) -> dict[str, Any]:
    shutil.copyfile(transformer_bundle / "diptych.json", tmp_path / "diptych.json")
    values: dict[str, Any] = json.loads((tmp_path / "diptych.json").read_text(encoding="utf-8"))
    return values


def read(values: dict[str, Any], folder: Path) -> Manifest:
    (folder / "diptych.json").write_text(json.dumps(values), encoding="utf-8")
    return Manifest.read(folder)


def test_a_manifest_from_before_there_were_precisions(manifest: dict[str, Any], tmp_path: Path) -> None:
    assert manifest.pop("precision") == asdict(Precision())
    assert read(manifest, tmp_path).precision == Precision("fp32")


def test_a_precision_is_read_as_it_is_written(manifest: dict[str, Any], tmp_path: Path) -> None:
    read(manifest | {"precision": asdict(KEPT)}, tmp_path).write(tmp_path)
    assert Manifest.read(tmp_path).precision == KEPT


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "int7"},
        {"name": None},
        {"kept": ["head"]},
        {"kept": {"head": 8}},
        {"quality": {"agreement": "high"}},
        {"layers": {"head": True}},
        {"more": 1},
    ],
)
def test_a_precision_that_makes_no_sense(wrong: dict[str, Any], manifest: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not as diptych writes it"):
        read(manifest | {"precision": asdict(KEPT) | wrong}, tmp_path)
