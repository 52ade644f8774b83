"""Which bundles are verified, and which cannot be made. They are verified beside the tests that export them, too."""

from pathlib import Path

import pytest
from families.cases import CASES
from families.twins import make_reference
from parity.grid import COLUMNS, GRID, MODELS, chosen

from diptych.export import ExportError, export_checkpoint
from diptych.model.families import FAMILIES
from diptych.runtime.errors import OptionError

HALF = "fp16 is for GPUs and browsers: a CPU has no kernels for it; choose int8, or no target"
WIDTH = "--target cpu: layer 0 has heads 10 wide, expected a multiple of 8; export the decoder without --target cpu"
REFUSED = [
    *((name, "fp16", OptionError, HALF) for name in ("bert, classify", "gpt2, generate", "bart, generate")),
    *(("llama, generate", precision, ExportError, WIDTH) for precision in ("fp32", "int8", "int4")),
]


@pytest.mark.parametrize(("name", "precision", "kind", "message"), REFUSED)
def test_what_has_no_graphs_is_refused_in_one_sentence(
    name: str, precision: str, kind: type[ValueError], message: str, tmp_path: Path
) -> None:
    (case,) = (case for case in CASES if str(case) == name)
    make_reference(case).save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(kind) as error:
        export_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", target="cpu", precision=precision)
    assert str(error.value) == message
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_every_family_is_verified_for_each_target_and_in_each_precision() -> None:
    for cells in (chosen(), GRID):
        assert {cell.case.family for cell in cells} == FAMILIES.keys()
        for family in FAMILIES:
            found = {(cell.target, cell.precision) for cell in cells if cell.case.family == family}
            assert {target for target, _ in found} == {"portable", "cpu"}
            assert {precision for _, precision in found} == {"fp32", "fp16", "int8", "int4"}
            assert {("portable", "int8"), ("cpu", "int8")} <= found


def test_nothing_else_is_left_out() -> None:
    missing = {(str(case), *column) for case in MODELS for column in COLUMNS}
    missing -= {(str(cell.case), cell.target, cell.precision) for cell in GRID}
    name = "llama, generate, dynamic positions, longer than trained"
    assert missing == {(name, "cpu", precision) for precision in ("fp32", "int8", "int4")}


def test_what_must_be_proven_is_known() -> None:
    def proven(name: str, target: str, precision: str) -> set[str]:
        cells = (cell for cell in GRID if (cell.target, cell.precision) == (target, precision))
        return next(cell.proven for cell in cells if str(cell.case) == name)

    assert {"causality", "batch invariance", "ranking"} <= proven("gpt2, generate", "cpu", "int8")
    assert {"bidirectionality", "causality", "cross-attention"} <= proven("bart, generate", "portable", "int8")
    assert proven("gpt2, embed", "cpu", "int8") == {"causality", "batch invariance", "determinism"}
    assert proven("t5, embed", "cpu", "int8") == {"bidirectionality", "batch invariance", "determinism"}
    assert "range of float16" in proven("bert, tag", "portable", "fp16")
