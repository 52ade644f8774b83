"""What is read out of measurements: ratios, agreement, tables, the document."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import click
import document
import pytest
from harness import charts, tables
from harness.comparison import chosen
from harness.measure import Measured, Settings
from harness.results import Ratio, Results, agreement, geometric_mean, of_cell, ratio
from harness.system import Cell, System

OURS = System("diptych cpu", "a:B")
PEER = System("peer", "a:B")
PEER8 = System("peer int8", "a:B", "int8")


def results(tmp_path: Path) -> dict[str, Any]:
    kept = Results(tmp_path / "results" / "seq2seq.json", "seq2seq", [OURS, PEER, PEER8], Settings())
    for size, peer in (("small", [2.0, 3.0, 8.0]), ("base", [4.0, 4.0, 4.0])):
        found = {
            "diptych cpu": Measured([1.0, 2.0, 2.0], [0.0, 0.0, 0.0], result=[[1, 2], [3, 4]], peak=2_000_000),
            "peer": Measured(peer, [0.0, 0.4, 0.0], result=[[1, 2], [3, 5]], peak=9_000_000, versions={"peer": "7"}),
        }
        failed = {"peer int8": "peer int8: no int8 here"}
        one = Cell(f"{size}, batch 2", size, [[1], [2]], 4, 2)
        kept.add(of_cell(one, [OURS, PEER, PEER8], found, failed, lambda result: {"count": len(result)}))
    return json.loads(kept.path.read_text(encoding="utf-8"))


def test_ratios_are_of_rounds_not_of_medians() -> None:
    assert ratio([2.0, 3.0, 8.0], [1.0, 2.0, 2.0]) == Ratio(2.0, 1.5, 4.0)
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


def test_geometric_mean_of_ratios_and_their_inverses_is_one() -> None:
    assert geometric_mean([4.0, 0.25, 2.0, 0.5]) == pytest.approx(1.0)


def test_agreement_counts_rows_and_what_comes_before_they_part() -> None:
    told = agreement([[1, 2], [3, 9], [5], [6, 7, 8]], [[1, 2], [3, 4], [5, 6], [6, 7]])
    assert told == {"equal": 1, "rows": 4, "alike": 2 + 1 + 1 + 2, "of": 8}
    assert agreement([[0, 4]], [[3, 4]])["alike"] == 0
    assert agreement(["même"], ["même"])["equal"] == 1
    assert agreement([[3.0, 4.0]], [[3.0, 4.5]])["error"] == pytest.approx(0.5 / (9 + 4.5**2) ** 0.5)


def test_tables_compare_systems_of_one_precision(tmp_path: Path) -> None:
    told = results(tmp_path)
    assert tables.pairs(told) == [("diptych cpu", "peer")]
    ratios = tables.ratios(told)
    assert "| small, batch 2 | 2.00 (1.50–4.00) |" in ratios
    assert "| geometric mean | **2.00** |" in ratios
    times = tables.times(told)
    assert "| small, batch 2 | 2,000 | 3,000 † | – |" in times
    assert "| base, batch 2 | 2 | 9 | – |" in tables.memory(told)
    assert "| peer | 2 of 4 | 75.0% |" in tables.agreements(told)
    assert tables.failures(told) == "* peer int8: no int8 here\n"
    assert told["cells"][0]["systems"]["peer"]["count"] == 2


def test_the_document_keeps_what_people_wrote(tmp_path: Path) -> None:
    text = "# Title\n\n<!-- seq2seq -->\nold\n<!-- end of seq2seq -->\n\nA word.\n"
    part = document.part(results(tmp_path), tmp_path / "images")
    made = document.with_part(text, "seq2seq", part)
    assert made.startswith("# Title\n\n<!-- seq2seq -->\n")
    assert made.endswith("<!-- end of seq2seq -->\n\nA word.\n")
    assert "old" not in made
    assert "peer 7" in made
    assert document.with_part(made, "seq2seq", part) == made
    ET.fromstring((tmp_path / "images" / "seq2seq.svg").read_text(encoding="utf-8"))
    with pytest.raises(ValueError, match="between which results go"):
        document.with_part(text, "real_text", part)


def test_the_page_has_a_place_for_each_benchmark() -> None:
    text = document.DOCUMENT.read_text(encoding="utf-8")
    for name in document.TITLES:
        assert document.with_part(text, name, "") != ""


def test_a_picture_without_ratios_is_still_one() -> None:
    assert "1×" in ET.tostring(ET.fromstring(charts.ratios("None <yet>", ["a & b"], [("x", [None])])), "unicode")


def test_systems_are_chosen_by_name_or_part_of_it(tmp_path: Path) -> None:
    known = [OURS, PEER, PEER8]
    assert chosen(known, "peer", [], "a:B") == [PEER]
    assert chosen(known, "int8,cpu", [], "a:B") == [PEER8, OURS]
    assert chosen(known, None, [], "a:B") == known
    (extra,) = chosen([OURS], "cpu", [f"my int8={tmp_path}"], "a:B")[1:]
    assert (extra.name, extra.precision, extra.bundle) == ("diptych my int8", "int8", tmp_path)
    for wrong in (lambda: chosen(known, "pear", [], "a:B"), lambda: chosen(known, None, ["x=/nowhere"], "a:B")):
        with pytest.raises(click.BadParameter):
            wrong()
