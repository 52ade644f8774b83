"""The tables of docs/parity.md are whole; whether they are true, the tests tell that they are made from."""

import re
from typing import Any

from parity import tables
from parity.document import DOCUMENT, markers, rows_between, written
from parity.faults import FAULTS
from parity.grid import COLUMNS, GRID, MODELS

from diptych.export.parity.bounds import MULTIPLE


def test_every_place_is_written_and_has_its_table() -> None:
    """What the generator would write has these headings, and nothing else is between the markers."""
    assert set(markers()) == {"families", "grid", "ratios", "properties", "near-ties", "faults"}
    text = DOCUMENT.read_text(encoding="utf-8")
    for marker, made in written([bundle(), fault()]).items():
        (between,) = re.findall(rf"<!-- {marker} -->\n(.*?)\n<!-- /{marker} -->", text, re.DOTALL)
        assert between.splitlines()[:2] == made.splitlines()[:2], f"{marker}: run make parity"
        widths = {line.count(" | ") for line in between.splitlines()[2:] if line.startswith("|")}
        assert widths == {made.splitlines()[0].count(" | ")}


def test_every_fault_is_listed() -> None:
    """A new one needs `make parity`."""
    assert [row[:2] for row in rows_between("faults")] == [(fault.name, f"`{fault.model}`") for fault in FAULTS]


def test_every_exported_family_is_listed() -> None:
    rows = [dict(zip(tables.FAMILY_HEADINGS, row, strict=True)) for row in rows_between("families")]
    listed = {(row["family"].strip("`"), row["task"]) for row in rows}
    assert listed == {(case.family, case.task) for case in MODELS}
    assert all(float(row["largest ratio"]) <= float(row["bound"]) == MULTIPLE for row in rows)


def test_every_cell_of_the_grid_is_listed() -> None:
    """With a ratio within its bound, or as refused."""
    cells = {(cell.case.family, cell.case.task, cell.case.name, cell.target, cell.precision) for cell in GRID}
    listed = set()
    for family, task, configuration, *values in rows_between("grid"):
        for (target, precision), value in zip(COLUMNS, values, strict=True):
            if value != tables.REFUSED:
                listed.add((family.strip("`"), task, configuration, target, precision))
                assert all(float(ratio) <= MULTIPLE for ratio in value.split(" / "))
                assert len(value.split(" / ")) == (1 if precision == "fp32" else 2)
    assert listed == cells


def test_int8_is_proven_to_be_causal_and_the_same_in_any_batch() -> None:
    """On both targets, of every graph of which it is asked: nothing is exempt."""
    rows = {row[0]: dict(zip(tables.NAMES, row[1:], strict=True)) for row in rows_between("properties")}
    for name in ("portable int8", "cpu int8"):
        assert rows["causality"][name].isdecimal()
        assert rows["batch invariance"][name].isdecimal()
    assert rows["batch invariance"]["portable int8"] == rows["batch invariance"]["portable fp32"]


def test_near_ties_are_within_what_is_allowed() -> None:
    rows = [dict(zip(tables.NEAR_TIE_HEADINGS, row, strict=True)) for row in rows_between("near-ties")]
    assert [row["bundles"] for row in rows] == tables.NAMES
    assert all(float(row[tables.NEAR_TIE_HEADINGS[-2]]) <= 1 for row in rows)
    assert all(float(row[tables.NEAR_TIE_HEADINGS[-1]] or 0) <= 1 for row in rows)


def test_configurations_of_a_family_are_put_together() -> None:
    found = [bundle("", [0.5, 1.0, 1.5]), bundle("deep", [0.0, 2.0])]
    assert tables.family_rows(found) == [("`bert`", "fill", "2", "1.0e-07 / 1.0e-07", "1.0e-07 / 2.0e-07", "2.00", "4")]
    assert tables.distribution(found).startswith("Of 2 outputs, 5 cases in all: 50 % below 1.00")
    assert tables.distribution(found).endswith("none above 2.00.")


def test_what_was_not_made_is_refused() -> None:
    found = [bundle(), bundle(precision="int8", typical=[0.25, 0.5])]
    (row,) = tables.grid_rows(found)
    assert row == ("`bert`", "fill", "", "1.00", "refused", "refused", "1.00 / 0.50", *["refused"] * 3)
    assert [row[0] for row in tables.ratio_rows(found)] == ["portable fp32", "portable int8"]


def test_exempt_properties_are_counted_apart() -> None:
    properties = [("model.onnx", "causality", False), ("model.onnx", "padding invariance, left", True)]
    (causal, padded) = tables.property_rows([bundle(properties=properties), bundle("deep", properties=properties)])
    assert causal[:3] == ("causality", "2", "")
    assert padded[:3] == ("padding invariance, left", "(2 exempt)", "")


def test_near_ties_are_compared_with_pytorch_s_own() -> None:
    searches = [("greedy", 100, 0, 0), ("beam 4", 100, 6, 3)]
    (row,) = tables.near_tie_rows([bundle(precision="int8", searches=searches, apart=[0.2, 0.3])])
    assert row == ("portable int8", "2", "200", "6", "6.0%", "3", "3.0%", "0.50", "0.30")
    (row,) = tables.near_tie_rows([bundle(searches=searches[:1], apart=[])])
    assert row == ("portable fp32", "1", "100", "0", "0.0%", "0", "0.0%", "0.00", "")


def test_faults_without_a_module() -> None:
    found = [fault() | {"module": None}]
    assert tables.fault_rows(found) == [("a", "`bert`", "facts, text", "")]
    assert (
        tables.table(tables.FAULT_HEADINGS, tables.fault_rows(found)).splitlines()[-1]
        == "| a | `bert` | facts, text |  |"
    )


def fault() -> dict[str, Any]:
    return {"fault": "a", "model": "bert", "levels": ["facts", "text"], "module": "head"}


def bundle(configuration: str = "", ratios: tuple[float, ...] | list[float] = (1.0,), **others: Any) -> dict[str, Any]:
    errors = [(f"case {number}", 1e-7, ratio * 1e-7, ratio) for number, ratio in enumerate(ratios)]
    return {
        "family": "bert",
        "task": "fill",
        "configuration": configuration,
        "target": "portable",
        "precision": "fp32",
        "errors": {"model.onnx logits": errors},
        "typical": [],
        "properties": [],
        "searches": [("greedy", 100, 0, 0)],
        "apart": [],
    } | others
