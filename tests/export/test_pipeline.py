"""An export is all or nothing, says the truth in its manifest, and gives the same bytes everywhere.

Only the shared bundles are traced; elsewhere the graphs of one of them are taken instead of tracing again.
"""

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

from diptych.export import ExportError, ParityError, TargetExistsError, export_checkpoint, pipeline, weights_file
from diptych.export.graph_spec import GraphSpec
from diptych.export.source import Source
from diptych.model import CheckpointError, CheckpointNotFoundError
from diptych.runtime.bundle import Bundle
from diptych.runtime.manifest import Manifest

FILES = {
    "config.json",
    "decoder.onnx",
    "diptych.json",
    "encoder.onnx",
    "generation_config.json",
    "tokenizer.json",
    "verification.json",
    "weights.data",
}

Patch = pytest.MonkeyPatch
Failure = type[BaseException]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def raiser(failure: Failure) -> Callable[..., Any]:
    def fail(*arguments: object, **options: object) -> None:
        raise failure("on purpose")

    return fail


@pytest.fixture
def known_graphs(transformer_bundle: Path, monkeypatch: Patch) -> None:
    """Tracing gives what it gave for `transformer_bundle`."""

    def trace(spec: GraphSpec) -> ir.Model:
        return ir.load(transformer_bundle / spec.file)

    monkeypatch.setattr(pipeline, "trace", trace)


@pytest.fixture
def no_tracing(monkeypatch: Patch) -> None:
    monkeypatch.setattr(pipeline, "trace", raiser(AssertionError))


@pytest.fixture
def earlier(transformer_bundle: Path, tmp_path: Path) -> Path:
    """A bundle that stands where the new one should go; told apart by one more file."""
    bundle = tmp_path / "bundle"
    shutil.copytree(transformer_bundle, bundle)
    (bundle / "earlier.txt").write_text("mine", encoding="utf-8")
    return bundle


def test_two_exports_are_the_same_bytes(
    transformer_bundle: Path, command_export: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    """From another folder, to another folder, in another process."""
    other, finished = command_export
    assert finished.returncode == 0, finished.stderr
    assert set(contents(transformer_bundle)) == FILES
    assert {n: digest(c) for n, c in contents(other).items()} == {
        n: digest(c) for n, c in contents(transformer_bundle).items()
    }


@pytest.mark.usefixtures("known_graphs")
def test_graphs_survive_being_read_and_written(
    transformer_checkpoint: Path, transformer_bundle: Path, tmp_path: Path
) -> None:
    """What the tests below rely on."""
    report = export_checkpoint(transformer_checkpoint, tmp_path / "new" / "bundle")
    assert report is not None
    assert report.passed
    assert contents(tmp_path / "new" / "bundle") == contents(transformer_bundle)


def test_manifest_is_true(transformer_checkpoint: Path, transformer_bundle: Path) -> None:
    manifest = json.loads((transformer_bundle / "diptych.json").read_text(encoding="utf-8"))
    assert manifest["format_version"] == 2
    assert manifest["task"] == "translate"
    assert manifest["family"] == "transformer"
    assert manifest["tokens"] == {"pad": 0, "eos": [2], "decoder_start": 1, "unknown": 3, "mask": None}
    assert manifest["generation"] == {"max_length": 40, "num_beams": 1}
    assert (manifest["source_positions"], manifest["target_positions"]) == (64, 64)
    assert manifest["tools"]["torch"] == torch.__version__
    assert set(manifest["source"]) == {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    for name, expected in manifest["source"].items():
        assert digest((transformer_checkpoint / name).read_bytes()) == expected
    assert set(manifest["files"]) == FILES - {"diptych.json", "weights.data", "verification.json"}
    for name, expected in manifest["files"].items():
        assert digest((transformer_bundle / name).read_bytes()) == expected


def test_digests_of_tensors_are_true(bart_bundle: Path) -> None:
    tensors = json.loads((bart_bundle / "diptych.json").read_text(encoding="utf-8"))["tensors"]
    weights = (bart_bundle / "weights.data").read_bytes()
    assert len(tensors) > 10
    for name, entry in tensors.items():
        assert digest(weights[entry["offset"] : entry["offset"] + entry["length"]]) == entry["sha256"], name
        assert entry["length"] == 4 * int(np.prod(entry["shape"])), name
        assert entry["offset"] % (4096 if entry["length"] >= 1 << 16 else 64) == 0, name
    assert max(entry["offset"] + entry["length"] for entry in tensors.values()) == len(weights)


def test_verification_is_kept(transformer_bundle: Path) -> None:
    verification = json.loads((transformer_bundle / "verification.json").read_text(encoding="utf-8"))
    assert verification["passed"] is True
    assert verification["failures"] == []
    assert verification["level"] == "quick"
    assert verification["manifest"] == digest((transformer_bundle / "diptych.json").read_bytes())
    assert verification["facts"]["differing"] == verification["weights"]["differing"] == {}
    assert [(search["name"], search["faults"]) for search in verification["tokens"]["searches"]] == [
        ("greedy", 0),
        ("beam 4", 0),
    ]
    assert (verification["properties"], verification["text"]) == (None, None)
    outputs = verification["tensors"]["outputs"]
    assert all(0 <= output["ratio"] <= verification["multiple"] for output in outputs)
    assert {output["output"] for output in outputs} == {
        "last_hidden_state",
        "logits",
        *(
            f"present.{i}.{panel}.{part}"
            for i in (0, 1)
            for panel in ("encoder", "decoder")
            for part in ("key", "value")
        ),
    }


@pytest.mark.usefixtures("known_graphs")
def test_without_verification(transformer_checkpoint: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(pipeline, "Gate", raiser(AssertionError))
    assert export_checkpoint(transformer_checkpoint, tmp_path / "bundle", verify=False) is None
    assert set(contents(tmp_path / "bundle")) == FILES - {"verification.json"}
    assert Bundle.open(tmp_path / "bundle").manifest.family == "transformer"


@pytest.mark.usefixtures("known_graphs")
def test_stages_are_announced_in_order(transformer_checkpoint: Path, tmp_path: Path) -> None:
    stages: list[str] = []
    export_checkpoint(transformer_checkpoint, tmp_path / "bundle", announce=stages.append)
    order = ["reading", "tracing encoder.onnx", "tracing decoder.onnx", "writing", "comparing"]
    assert [stage[: len(start)] for stage, start in zip(stages, order, strict=True)] == order


@pytest.mark.usefixtures("no_tracing")
@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_target_that_is_not_a_bundle(kind: str, force: bool, transformer_checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    if kind == "folder":
        target.mkdir()
        (target / "thesis.txt").write_text("years of work", encoding="utf-8")
    elif kind == "file":
        target.write_text("years of work", encoding="utf-8")
    else:
        target.symlink_to(tmp_path / "nowhere")
    before = everything(tmp_path)
    with pytest.raises(TargetExistsError, match="not a bundle") as caught:
        export_checkpoint(transformer_checkpoint, target, force=force)
    assert isinstance(caught.value, FileExistsError)
    assert str(target) in str(caught.value)
    assert everything(tmp_path) == before
    if kind != "dangling link":
        assert (target / "thesis.txt" if kind == "folder" else target).read_text(encoding="utf-8") == "years of work"


@pytest.mark.usefixtures("no_tracing")
def test_bundle_is_not_replaced_unasked(transformer_checkpoint: Path, earlier: Path) -> None:
    before = contents(earlier)
    with pytest.raises(TargetExistsError, match="--force"):
        export_checkpoint(transformer_checkpoint, earlier)
    assert contents(earlier) == before


@pytest.mark.usefixtures("known_graphs")
def test_bundle_is_replaced_by_force(transformer_checkpoint: Path, transformer_bundle: Path, earlier: Path) -> None:
    export_checkpoint(transformer_checkpoint, earlier, force=True)
    assert contents(earlier) == contents(transformer_bundle)
    assert [path.name for path in earlier.parent.iterdir()] == ["bundle"]


@pytest.mark.usefixtures("known_graphs")
def test_empty_folder_may_be_the_target(transformer_checkpoint: Path, transformer_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    export_checkpoint(transformer_checkpoint, tmp_path / "bundle", verify=False)
    assert (tmp_path / "bundle" / "weights.data").read_bytes() == (transformer_bundle / "weights.data").read_bytes()


@pytest.mark.usefixtures("known_graphs")
def test_bundle_behind_a_link_is_replaced_by_force(transformer_checkpoint: Path, earlier: Path) -> None:
    link = earlier.parent / "latest"
    link.symlink_to(earlier)
    export_checkpoint(transformer_checkpoint, link, force=True, verify=False)
    assert "earlier.txt" not in contents(link)
    assert {path.name for path in earlier.parent.iterdir()} == {"bundle", "latest"}


@pytest.mark.usefixtures("known_graphs")
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize(
    "stage", ["trace", "write_models", "facts_of", "Gate", "write_verification", "_move_into_place"]
)
def test_failure_leaves_everything_as_it_was(
    stage: str, failure: Failure, transformer_checkpoint: Path, earlier: Path, monkeypatch: Patch
) -> None:
    before = contents(earlier)
    monkeypatch.setattr(pipeline, stage, raiser(failure))
    with pytest.raises(failure, match="on purpose"):
        export_checkpoint(transformer_checkpoint, earlier, force=True)
    assert contents(earlier) == before
    assert [path.name for path in earlier.parent.iterdir()] == ["bundle"]


@pytest.mark.usefixtures("known_graphs")
@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt])
def test_failure_of_the_last_rename_brings_the_earlier_bundle_back(
    failure: Failure, transformer_checkpoint: Path, earlier: Path, monkeypatch: Patch
) -> None:
    rename = Path.rename

    def fail_for_the_new_one(path: Path, target: Path) -> Path:
        if path.suffix == ".partial" and target == earlier:
            raise failure("on purpose")
        return rename(path, target)

    before = contents(earlier)
    monkeypatch.setattr(Path, "rename", fail_for_the_new_one)
    with pytest.raises(failure, match="on purpose"):
        export_checkpoint(transformer_checkpoint, earlier, force=True, verify=False)
    assert contents(earlier) == before
    assert [path.name for path in earlier.parent.iterdir()] == ["bundle"]


def test_failure_leaves_no_new_parents(transformer_checkpoint: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(pipeline, "trace", raiser(RuntimeError))
    with pytest.raises(RuntimeError):
        export_checkpoint(transformer_checkpoint, tmp_path / "a" / "b" / "bundle")
    assert not everything(tmp_path)


@pytest.mark.usefixtures("known_graphs")
@pytest.mark.parametrize(
    "name", ["decoder.layers.1.feed_forward.up.weight", "encoder.layers.0.self_attention.value.weight"]
)
def test_altered_weight_is_a_parity_error(
    name: str, transformer_checkpoint: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    """One weight of a graph is a thousandth too large."""
    write_models = weights_file.write_models

    def alter_and_write(models: Sequence[tuple[str, ir.Model]], folder: Path) -> Any:
        altered = [model.graph.initializers[name] for _, model in models if name in model.graph.initializers]
        for value in altered:
            assert value.const_value is not None
            value.const_value = ir.Tensor(value.const_value.numpy() * np.float32(1.001), name=name)
        assert altered
        return write_models(models, folder)

    monkeypatch.setattr(pipeline, "write_models", alter_and_write)
    with pytest.raises(ParityError, match=f"weights: {name}") as caught:
        export_checkpoint(transformer_checkpoint, tmp_path / "bundle")
    assert isinstance(caught.value, ValueError)
    assert f"the first module at fault: {name.rpartition('.')[0]}" in str(caught.value)
    assert not everything(tmp_path)


@pytest.mark.usefixtures("known_graphs")
def test_altered_network_is_a_parity_error(transformer_checkpoint: Path, earlier: Path, monkeypatch: Patch) -> None:
    """PyTorch's side changes after its graphs were made; the earlier bundle stays."""
    before, verify = contents(earlier), pipeline._verify

    def alter_and_verify(staging: Path, source: Source, facts: Manifest) -> Any:
        source.loaded.network.get_parameter("decoder.layers.0.cross_attention.output.weight").mul_(1.01)
        return verify(staging, source, facts)

    monkeypatch.setattr(pipeline, "_verify", alter_and_verify)
    with pytest.raises(ParityError, match="logits") as caught:
        export_checkpoint(transformer_checkpoint, earlier, force=True)
    assert "the first module at fault: decoder.layers.0.cross_attention.output" in str(caught.value)
    assert contents(earlier) == before
    assert [path.name for path in earlier.parent.iterdir()] == ["bundle"]


@pytest.mark.usefixtures("known_graphs")
def test_weight_that_is_not_a_number_is_a_parity_error(
    transformer_checkpoint: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    write_models, name = weights_file.write_models, "decoder.layers.1.feed_forward.up.weight"

    def spoil_and_write(models: Sequence[tuple[str, ir.Model]], folder: Path) -> Any:
        value = dict(models)["decoder.onnx"].graph.initializers[name]
        assert value.const_value is not None
        value.const_value = ir.Tensor(value.const_value.numpy() * np.float32("nan"), name=name)
        return write_models(models, folder)

    monkeypatch.setattr(pipeline, "write_models", spoil_and_write)
    with pytest.raises(ParityError):
        export_checkpoint(transformer_checkpoint, tmp_path / "bundle")
    assert not everything(tmp_path)


@pytest.mark.usefixtures("no_tracing")
def test_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match="nowhere"):
        export_checkpoint(tmp_path / "nowhere", tmp_path / "bundle")
    assert not everything(tmp_path)


@pytest.mark.usefixtures("no_tracing")
def test_damaged_checkpoint(transformer_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(transformer_checkpoint, tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "model.safetensors").write_bytes(b"short")
    before = everything(tmp_path)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle")
    assert everything(tmp_path) == before


@pytest.mark.usefixtures("no_tracing")
def test_unknown_task(transformer_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="'paint' is not one of embed"):
        export_checkpoint(transformer_checkpoint, tmp_path / "bundle", task="paint")


@pytest.mark.usefixtures("no_tracing")
def test_parent_that_cannot_be_written(transformer_checkpoint: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    """Told before any work is done; permissions do not bind root, so the refusal is staged."""

    def refuse(**options: Any) -> str:
        raise PermissionError(13, "Permission denied", str(Path(options["dir"]) / "temporary"))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(PermissionError, match="Permission denied") as caught:
        export_checkpoint(transformer_checkpoint, tmp_path / "bundle")
    assert str(tmp_path) in str(caught.value)
    assert not everything(tmp_path)


@pytest.mark.usefixtures("no_tracing")
def test_parent_that_is_a_file(transformer_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text", encoding="utf-8")
    with pytest.raises(OSError, match="file"):
        export_checkpoint(transformer_checkpoint, tmp_path / "file" / "bundle")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "text"
