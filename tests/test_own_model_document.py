"""docs/your-own-model.md names every record, field, rule and tensor there is, and its JSON is a model."""

import inspect
import json
import re
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest
from own_models import EVERY

from diptych.model import architecture as arch
from diptych.model import make_network, soundness
from diptych.model.own_rules import KINDS
from diptych.model.records import describe, read

TEXT = (Path(__file__).parent.parent / "docs" / "your-own-model.md").read_text(encoding="utf-8")


def rows(section: str) -> list[list[str]]:
    """The cells of the last table under a heading."""
    under = TEXT.split(f"## {section}\n")[1].split("\n## ")[0]
    table = under.rsplit("|---", 1)[1].split("\n", 1)[1]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]


def test_the_records_are_those_of_the_code() -> None:
    told, record = set(), ""
    for name, field, value, default, _ in rows("Records"):
        record = name.strip("`") or record
        told.add((record, field.strip("`"), value, default.strip("`")))
    kinds = [kind for _, kind in inspect.getmembers(arch, is_dataclass)]
    assert told == {
        (
            kind.__name__,
            field.name,
            describe(get_type_hints(kind)[field.name]),
            "" if field.default is MISSING else json.dumps(field.default),
        )
        for kind in kinds
        for field in fields(kind)
    }


def test_the_rules_are_those_of_the_code() -> None:
    assert [re.findall(r'"(\w+)"', rule)[0] for rule, _ in rows("Rules")] == list(KINDS)


def test_every_tensor_has_its_name_in_the_table() -> None:
    patterns = [re.compile(pattern(names.strip("`"))) for names, _ in rows("Names")]
    parameters = {name for spec in EVERY for name, _ in make_network(spec).named_parameters(remove_duplicate=False)}
    for name in parameters:
        assert sum(bool(each.fullmatch(name)) for each in patterns) == 1, name
    assert not [each for each in patterns if not any(map(each.fullmatch, parameters))]


def pattern(names: str) -> str:
    """`{a,b}` is one of several, `{i}` a number."""
    text = re.escape(names).replace(r"\{i\}", r"\d+")
    return re.sub(r"\\{(.*?)\\}", lambda found: f"({found[1].replace(',', '|')})", text)


@pytest.mark.parametrize("block", re.findall(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
def test_what_is_shown_can_be_built(block: str) -> None:
    spec = read(arch.Architecture, json.loads(block)["architecture"], "here")
    soundness.check(spec, "here")
    assert make_network(spec)
