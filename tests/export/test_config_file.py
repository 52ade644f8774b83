"""`--config FILE` stands for the folder's config.json: it is what is read, told in messages, and copied."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from own_models import WRITER, own_checkpoint
from torch import nn

from diptych.export import ExportError, export_checkpoint, pipeline
from diptych.model import CheckpointNotFoundError, make_network
from diptych.model import architecture as arch
from diptych.model.records import read

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def weights(tmp_path: Path, randomise: Callable[[nn.Module, int], None]) -> Path:
    """A folder without config.json, which lies beside it as mine.json."""
    network = make_network(read(arch.Architecture, WRITER, "here"))
    randomise(network, 5)
    folder = tmp_path / "weights"
    folder.mkdir()
    tensors = {f"mine.{name}": tensor for name, tensor in network.state_dict().items()}
    rules = [{"rename": ["^mine\\.", ""]}]
    own_checkpoint(folder, WRITER, tensors, linear_layout="in_out", rules=rules, eos_token_id=2)
    (folder / "config.json").rename(tmp_path / "mine.json")
    return folder


def test_a_folder_of_weights_alone(diptych: Run, weights: Path, tmp_path: Path) -> None:
    finished = diptych("export", "weights", "bundle", "--config", "mine.json", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "PASSED" in finished.stdout
    copied, manifest = (
        tmp_path / "bundle" / "config.json",
        json.loads((tmp_path / "bundle" / "diptych.json").read_bytes()),
    )
    content = (tmp_path / "mine.json").read_bytes()
    assert copied.read_bytes() == content
    assert manifest["files"]["config.json"] == hashlib.sha256(content).hexdigest()
    assert manifest["source"].keys() == {"mine.json", "model.safetensors"}
    assert (manifest["family"], manifest["task"]) == ("diptych", "generate")


def test_it_wins_over_the_folder_s_own(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise ExportError("it was read")

    monkeypatch.setattr(pipeline, "graphs", stop)
    (weights / "config.json").write_text("not JSON", encoding="utf-8")
    with pytest.raises(ExportError, match="it was read"):
        export_checkpoint(weights, tmp_path / "bundle", config=str(tmp_path / "mine.json"))


def test_no_such_file(diptych: Run, weights: Path, tmp_path: Path) -> None:
    finished = diptych("export", "weights", "bundle", "--config", "yours.json", cwd=tmp_path)
    assert finished.returncode == 2
    assert "yours.json: no such file" in finished.stderr
    with pytest.raises(CheckpointNotFoundError):
        export_checkpoint(weights, tmp_path / "bundle", config=tmp_path)
    assert not (tmp_path / "bundle").exists()


def test_a_mistake_in_it(diptych: Run, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"heads"', '"haeds"', 1), encoding="utf-8")
    finished = diptych("export", "weights", "bundle", "--config", "mine.json", cwd=tmp_path)
    assert finished.returncode == 1
    told = "mine.json: architecture.decoder.layers.of.attention: Attention has no field 'haeds' (did you mean 'heads'?)"
    assert told in " ".join(finished.stderr.split())
