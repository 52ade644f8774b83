"""The table of families is whole."""

from families.cases import CASES
from families.matrix import DOCUMENT, document, table

from diptych.model.families import FAMILIES


def test_every_family_is_compared_and_listed() -> None:
    """A new one needs a case in `cases.py`, and `make families`."""
    compared = {case.family for case in CASES} | {"diptych"}
    assert compared == set(FAMILIES)
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    assert {line.split("`")[1] for line in lines if line.startswith("| `")} == set(FAMILIES)


def test_rows_that_say_the_same_are_one() -> None:
    def proof(configuration: str, layout: str, engine: str, proof: str) -> dict[str, str]:
        model = {"family": "bert", "task": "fill", "configuration": configuration, "layout": layout}
        return {**model, "engine": engine, "proof": proof}

    proofs = [
        proof("", "sharded", "PyTorch", "≤ 1e-5"),
        proof("", "bin", "PyTorch", "≤ 1e-5"),
        proof("", "safetensors", "ONNX", "4 beams"),
        proof("", "safetensors", "ONNX", "greedy"),
        proof("deep", "safetensors", "ONNX", "greedy"),
        proof("deep", "safetensors", "ONNX", "4 beams"),
    ]
    rows = [
        ("bert", "fill", "usual; deep", "safetensors", "", "greedy, 4 beams"),
        ("bert", "fill", "usual", "bin; sharded", "≤ 1e-5", ""),
    ]
    assert table(proofs) == table(reversed(proofs)) == rows
    assert "| `bert` | fill | usual | bin; sharded | ≤ 1e-5 |  |" in document(rows, "5")
