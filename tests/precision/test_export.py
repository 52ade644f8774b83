"""Bundles in fewer bits, from the checkpoint to what they say. Tracing gives what it gave for the shared bundles."""

import hashlib
import json
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
from click.testing import CliRunner

import diptych.runtime as runtime
from diptych.export import ExportError, export_checkpoint, pipeline
from diptych.export.graph_spec import GraphSpec
from diptych.runtime import ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.info_command import command as info
from diptych.runtime.manifest import Manifest
from diptych.runtime.tables import tables

TEXTS = ["a cat sat.", "the dog\twas here.", "a long text, with more words in it."]


@pytest.fixture(autouse=True)
def known_graphs(transformer_bundle: Path, bart_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trace(spec: GraphSpec) -> ir.Model:
        wide = any(tuple(each.shape) == (32, 48) for each in spec.module.parameters())
        return ir.load((transformer_bundle if wide else bart_bundle) / spec.file)

    monkeypatch.setattr(pipeline, "trace", trace)


def export(checkpoint: Path, bundle: Path, precision: str, **options: Any) -> list[str]:
    stages: list[str] = []
    options = {"verify": False, "announce": stages.append, **options}
    export_checkpoint(checkpoint, bundle, precision=precision, **options)
    return stages


def digests(bundle: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in bundle.iterdir()}


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_a_bundle_that_says_something(
    precision: str, transformer_checkpoint: Path, transformer_bundle: Path, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle"
    stages = export(transformer_checkpoint, bundle, precision)
    assert f"reducing to {precision}" in stages
    opened = Bundle.open(bundle)
    opened.check_weights()
    assert opened.manifest.precision.name == precision
    for file in opened.graphs:
        found = tables((bundle / file).read_bytes(), ports.INPUT_IDS)
        assert {table.rows for table in found} == {opened.manifest.source_vocabulary}
        assert max(table.row for table in found) == {"fp16": 64, "int8": 32, "int4": 16}[precision]
    model = runtime.load(bundle)
    for beams in (1, 4):
        found = model(TEXTS[:1], num_beams=beams, max_new_tokens=5)
        assert len(found) == 1
    if precision == "fp16":
        assert found == runtime.load(transformer_bundle)(TEXTS[:1], num_beams=4, max_new_tokens=5)
        assert opened.manifest.precision.quality["agreement"] > 0.98
    assert list(tmp_path.iterdir()) == [bundle]


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_two_exports_are_the_same_bytes(precision: str, bart_checkpoint: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        export(bart_checkpoint, tmp_path / name, precision)
    assert digests(tmp_path / "one") == digests(tmp_path / "other")


def test_quality_is_kept_in_the_manifest(transformer_checkpoint: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    stages = export(transformer_checkpoint, bundle, "int8", quality=0.9, texts=TEXTS)
    precision = Manifest.read(bundle).precision
    assert precision.quality["agreement"] >= precision.quality["bound"] == 0.9
    assert {"divergence", "positions", "perplexity", "perplexity_fp32"} < precision.quality.keys()
    assert "encoder.layers.0.self_attention.query" in precision.layers
    assert any(stage.startswith("measured int8: agreement") for stage in stages)
    assert list(tmp_path.iterdir()) == [bundle]


def test_texts_that_cannot_be_read(transformer_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"none of the 1 texts can be read; the first:"):
        export(transformer_checkpoint, tmp_path / "bundle", "int8", quality=0.9, texts=["x" * 500])
    assert list(tmp_path.iterdir()) == []


def test_info_tells_the_precision(transformer_checkpoint: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    export(transformer_checkpoint, bundle, "int4", quality=0.9)
    kept = Manifest.read(bundle).precision.kept
    shown = CliRunner().invoke(info, [str(bundle)], env={"COLUMNS": "300"}).output
    assert "int4, agreement " in shown
    assert all(module in shown for module in kept)
    facts = json.loads(CliRunner().invoke(info, [str(bundle), "--json", "-"]).output)
    assert facts["precision"]["kept"] == kept


def test_parameters_are_counted_alike(transformer_checkpoint: Path, transformer_bundle: Path, tmp_path: Path) -> None:
    """Those in `weights.data`, whatever they take there; small ones lie in the graphs."""
    export(transformer_checkpoint, tmp_path / "bundle", "fp16")
    facts = [
        json.loads(CliRunner().invoke(info, [str(folder), "--json", "-"]).output)
        for folder in (tmp_path / "bundle", transformer_bundle)
    ]
    assert 0.9 < facts[0]["parameters"] / facts[1]["parameters"] <= 1
    assert [each["precision"]["name"] for each in facts] == ["fp16", "fp32"]
