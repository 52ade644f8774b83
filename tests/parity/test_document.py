"""The tables of docs/parity.md are whole; whether they are true, the tests tell that they are made from."""

from families.cases import CASES
from parity.document import FAMILY_HEADINGS, FAULT_HEADINGS, distribution, family_rows, fault_rows, rows_between, table
from parity.faults import FAULTS

from diptych.export.parity.bounds import MULTIPLE


def test_every_fault_is_listed() -> None:
    """A new one needs `make parity`."""
    assert [row[:2] for row in rows_between("faults")] == [(fault.name, f"`{fault.model}`") for fault in FAULTS]


def test_every_exported_family_is_listed() -> None:
    rows = [dict(zip(FAMILY_HEADINGS, row, strict=True)) for row in rows_between("families")]
    listed = {(row["family"].strip("`"), row["task"]) for row in rows}
    assert listed == {(case.family, case.task) for case in CASES if case.exported}
    assert all(float(row["largest ratio"]) <= float(row["bound"]) == MULTIPLE for row in rows)


def test_configurations_of_a_family_are_put_together() -> None:
    def verified(configuration: str, ratios: list[float]) -> dict[str, object]:
        errors = [(f"case {number}", 1e-7, ratio * 1e-7, ratio) for number, ratio in enumerate(ratios)]
        return {
            "family": "bert",
            "task": "fill",
            "configuration": configuration,
            "errors": {"model.onnx logits": errors},
        }

    found = [verified("", [0.5, 1.0, 1.5]), verified("deep", [0.0, 2.0])]
    assert family_rows(found) == [("`bert`", "fill", "2", "1.0e-07 / 1.0e-07", "1.0e-07 / 2.0e-07", "2.00", "4")]
    assert distribution(found).startswith("Of 2 outputs, 5 cases in all: 50 % below 1.00")
    assert distribution(found).endswith("none above 2.00.")


def test_faults_without_a_module() -> None:
    found = [{"fault": "a", "model": "bert", "levels": ["facts", "text"], "module": None}]
    assert fault_rows(found) == [("a", "`bert`", "facts, text", "")]
    assert table(FAULT_HEADINGS, fault_rows(found)).splitlines()[-1] == "| a | `bert` | facts, text |  |"
