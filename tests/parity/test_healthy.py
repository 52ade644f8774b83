"""Healthy bundles pass, whatever they are made for and in whatever precision."""

from pathlib import Path

import pytest
from families.twins import make_reference
from parity.fault import model

from diptych.export import export_checkpoint, verify_bundle
from diptych.export.parity.report import Report

# One of each kind: two panels, a decoder alone, an encoder alone.
MODELS = {
    "marian": model("marian, translate"),
    "gpt2": model("gpt2, generate"),
    "bert": model("bert, classify"),
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, case in MODELS.items():
        make_reference(case).save_pretrained(folder / name)
    return folder


def verified(checkpoint: Path, bundle: Path, target: str, precision: str) -> Report:
    export_checkpoint(checkpoint, bundle, target=target, precision=precision, verify=False)
    return verify_bundle(bundle, checkpoint=checkpoint, threads=1, bisect=True)


@pytest.mark.parametrize(
    ("name", "target", "precision"),
    [
        ("marian", "cpu", "fp32"),
        ("gpt2", "cpu", "fp32"),
        ("marian", "cpu", "int8"),
        ("gpt2", "portable", "int8"),
        ("bert", "portable", "int8"),
        ("gpt2", "portable", "int4"),
        ("bert", "portable", "fp16"),
    ],
)
def test_healthy_bundles_pass(checkpoints: Path, tmp_path: Path, name: str, target: str, precision: str) -> None:
    report = verified(checkpoints / name, tmp_path / "bundle", target, precision)
    assert report.passed, report.failures
    assert report.bisection is not None
    assert report.bisection.module is None
    assert report.precision.name == precision
    assert (report.quality is None) is (precision == "fp32")


def test_int8_is_held_to_what_float32_explains(checkpoints: Path, tmp_path: Path) -> None:
    """Half of all positions stray no further than rounding in float32; rows are the same in any batch."""
    report = verified(checkpoints / "gpt2", tmp_path / "bundle", "portable", "int8")
    assert report.tensors is not None
    assert all(output.typical is not None and output.typical < report.multiple for output in report.tensors.outputs)
    own = {output.output: output.own for output in report.tensors.outputs}
    assert own["logits"] > 1e-4  # What a step of 127 is worth.
    invariant = [each for each in report.properties or [] if each.name in ("batch invariance", "causality")]
    assert [each.holds for each in invariant] == [True, True]
    assert all(each.exempt is None for each in invariant)
