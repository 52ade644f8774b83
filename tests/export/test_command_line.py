"""`diptych export` as a person, or a script, meets it: exit status, one message, what is printed."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Finished = subprocess.CompletedProcess[str]
Run = Callable[..., Finished]


def assert_fails(finished: Finished, status: int, *texts: str) -> None:
    assert finished.returncode == status, finished.stderr
    assert finished.stdout == ""
    assert "Traceback" not in finished.stderr
    assert finished.stderr.count("Error:") == 1
    for text in texts:
        assert text in finished.stderr


def test_success_prints_files_and_parity(command_export: tuple[Path, Finished]) -> None:
    bundle, finished = command_export
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    lines = finished.stdout.splitlines()
    assert any(re.match(r"ok    tensors .* worst error \d\.\de-\d\d", line) for line in lines)
    assert any(
        line.startswith("ok    tokens") and "greedy: 102 of 102 identical; beam 4: 102 of" in line for line in lines
    )
    assert lines[-1].startswith("PASSED")
    listed = {line.split("│")[1].strip(): line.split("│")[2].strip() for line in lines if "│" in line}
    sizes = {path.name: f"{path.stat().st_size:,}" for path in bundle.iterdir()}
    assert {name: listed.get(name) for name in sizes} == sizes


def test_no_checkpoint(diptych: Run, tmp_path: Path) -> None:
    assert_fails(diptych("export", "nowhere", "bundle", cwd=tmp_path), 2, "nowhere: no such folder")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["plain", "forced"])
def test_target_that_is_not_a_bundle(
    force: list[str], diptych: Run, transformer_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    finished = diptych("export", transformer_checkpoint, "photos", *force, cwd=tmp_path)
    assert_fails(finished, 2, "photos exists and is not a bundle")
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"


def test_target_that_is_a_bundle(diptych: Run, transformer_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "diptych.json").write_text("{}", encoding="utf-8")
    finished = diptych("export", transformer_checkpoint, "bundle", cwd=tmp_path)
    assert_fails(finished, 2, "bundle is a bundle already", "--force")
    assert (tmp_path / "bundle" / "diptych.json").read_text(encoding="utf-8") == "{}"


@pytest.fixture
def damaged(transformer_checkpoint: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "damaged"
    shutil.copytree(transformer_checkpoint, folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])
    return folder


def test_damaged_checkpoint(diptych: Run, damaged: Path, tmp_path: Path) -> None:
    finished = diptych("export", damaged, "bundle", cwd=tmp_path)
    assert_fails(finished, 1, "model.safetensors: not a whole safetensors file")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


def test_debug_shows_the_traceback(diptych: Run, damaged: Path, tmp_path: Path) -> None:
    finished = diptych("export", damaged, "bundle", "--debug", cwd=tmp_path)
    assert finished.returncode == 1
    assert "Traceback (most recent call last)" in finished.stderr
    assert "not a whole safetensors file" in finished.stderr


def test_unknown_configuration_key(diptych: Run, transformer_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(transformer_checkpoint, tmp_path / "checkpoint")
    path = tmp_path / "checkpoint" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"novelty": 1}), encoding="utf-8")
    finished = diptych("export", "checkpoint", "bundle", cwd=tmp_path)
    assert_fails(finished, 1, "unknown keys: novelty", "--ignore-config-key novelty")


@pytest.mark.parametrize("arguments", [["--task", "paint"], ["--colour"], ["surplus"]], ids=" ".join)
def test_wrong_arguments(arguments: list[str], diptych: Run, transformer_checkpoint: Path, tmp_path: Path) -> None:
    finished = diptych("export", transformer_checkpoint, "bundle", *arguments, cwd=tmp_path)
    assert_fails(finished, 2, arguments[-1])


def test_parent_that_is_a_file(diptych: Run, transformer_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text", encoding="utf-8")
    finished = diptych("export", transformer_checkpoint, "file/bundle", cwd=tmp_path)
    assert finished.returncode in (1, 2)
    assert_fails(finished, finished.returncode, "file")
