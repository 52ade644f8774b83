"""`diptych info` as a shell sees it."""

import json
from pathlib import Path

from shell import assert_works, diptych


def test_info_as_json_goes_to_stdout_or_a_file(bundle: Path, tmp_path: Path) -> None:
    result = diptych("info", bundle, "--json", "-")
    facts = json.loads("\n".join(assert_works(result)))
    assert_works(diptych("info", bundle, "--json", tmp_path / "facts.json"))
    assert json.loads((tmp_path / "facts.json").read_text(encoding="utf-8")) == facts
    manifest = json.loads((bundle / "diptych.json").read_text(encoding="utf-8"))
    assert {key: facts[key] for key in ("task", "family", "tokens", "generation")} == {
        key: manifest[key] for key in ("task", "family", "tokens", "generation")
    }
    assert facts["files"] == {path.name: path.stat().st_size for path in bundle.iterdir()}
    assert facts["graphs"].keys() == {"encoder.onnx", "decoder.onnx"}
    assert next(iter(facts["graphs"]["decoder.onnx"]["outputs"])) == "logits"
    assert facts["parameters"] * 4 <= facts["files"]["weights.data"]


def test_info_shows_the_facts_to_a_reader(bundle: Path) -> None:
    shown = "\n".join(assert_works(diptych("info", bundle)))
    for part in ("translate", "encoder.onnx", "decoder.onnx", "weights.data", "input_ids", "logits"):
        assert part in shown
