"""Rename rules as JSON: read as they are meant, and told where they cannot be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load_file, save_file

from diptych.model import CheckpointError, load_checkpoint
from diptych.model.own_rules import KINDS, read_rules
from diptych.model.rules import Copy, Ignore, Rename, Rule, Spare, Split, Squeeze, Transpose, Zeros

SPLIT = Split(r"\.qkv\.(weight|bias)$", (r".query.\1", r".key.\1", r".value.\1"), axis=-1)

WRITTEN: list[tuple[dict[str, Any], Rule]] = [
    ({"rename": ["^src_embed\\.", "encoder.embedding.tokens."]}, Rename(r"^src_embed\.", "encoder.embedding.tokens.")),
    ({"rename": {"replacement": "b", "pattern": "a"}}, Rename("a", "b")),
    ({"split": [SPLIT.pattern, list(SPLIT.replacements), -1]}, SPLIT),
    ({"split": ["a", ["b", "c"]]}, Split("a", ("b", "c"))),
    ({"split": {"pattern": "a", "replacements": ["b", "c"], "axis": 0}}, Split("a", ("b", "c"))),
    ({"transpose": "a"}, Transpose("a")),
    ({"squeeze": ["a"]}, Squeeze("a")),
    ({"ignore": {"pattern": "a"}}, Ignore("a")),
    ({"zeros": ["head.bias", 7]}, Zeros("head.bias", 7)),
    ({"copy": ["head.weight", "a"]}, Copy("head.weight", "a")),
    ({"spare": ["head.bias", "a"]}, Spare("head.bias", "a")),
]

MISTAKES: list[tuple[Any, str]] = [
    ("ignore", 'rules[0]: expected an object with one key, the rule, as in {"ignore": "^dropout"}'),
    ({}, "rules[0]: expected an object with one key"),
    ({"ignore": "a", "transpose": "b"}, "rules[0]: expected an object with one key"),
    ({"renames": ["a", "b"]}, "rules[0]: no rule 'renames' (did you mean 'rename'?); rules are rename, spl"),
    ({"rename": "a"}, "rules[0].rename: a field of Rename is missing; expected 'replacement' (a text)"),
    ({"rename": ["a", "b", "c"]}, "rules[0].rename: 3 values, expected at most 2: pattern, replacement"),
    ({"rename": ["a", 1]}, "rules[0].rename.replacement: found 1, expected a text"),
    ({"rename": {"patern": "a", "replacement": ""}}, "Rename has no field 'patern' (did you mean 'pattern'?)"),
    ({"rename": ["(a", "b"]}, "rules[0].rename: '(a' is not a regular expression (missing ), unterminated subpattern"),
    ({"rename": ["a{99999999999999}", "b"]}, "is not a regular expression"),
    ({"rename": ["(a)", r"\2"]}, r"rules[0].rename: '\\2' cannot replace '(a)' (invalid group reference 2"),
    ({"rename": ["(a)", r"\g<name>"]}, "cannot replace '(a)' (unknown group name 'name')"),
    ({"rename": ["(a)", r"\e"]}, "cannot replace '(a)' (bad escape"),
    ({"split": ["(a)", ["b", r"\2"]]}, r"rules[0].split: '\\2' cannot replace '(a)'"),
    ({"split": ["a", []]}, "rules[0].split.replacements: 0, expected at least 2"),
    ({"split": ["a", "b"]}, 'rules[0].split.replacements: found "b", expected a list, each a text'),
    ({"split": ["a", ["b", "c"], 1]}, "rules[0].split.axis: found 1, expected 0 or -1"),
    ({"split": ["a", ["b", "c"], False]}, "rules[0].split.axis: found false, expected 0 or -1"),
    ({"ignore": "["}, "rules[0].ignore: '[' is not a regular expression"),
    ({"zeros": ["a", 0]}, "rules[0].zeros.length: found 0, expected at least 1"),
]


@pytest.mark.parametrize(
    ("written", "rule"), WRITTEN, ids=lambda value: json.dumps(value) if isinstance(value, dict) else ""
)
def test_a_rule_is_read(written: dict[str, Any], rule: Rule) -> None:
    assert read_rules([written], "here") == (rule,)


def test_every_rule_can_be_written() -> None:
    assert {type(rule) for _, rule in WRITTEN} == {*get_args(Rule)} == {*KINDS.values()}


@pytest.mark.parametrize(("written", "message"), MISTAKES)
def test_a_mistake_is_told_where_it_is(written: Any, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_rules([written], "config.json: rules")
    assert str(caught.value).startswith("config.json: rules[0]")
    assert message in str(caught.value)


def test_a_known_family_under_foreign_names(
    bart_checkpoint: Path, tmp_path: Path, configured: Callable[..., Path]
) -> None:
    """The user's rules come first, even before the tensors tell what the checkpoint can do."""
    tensors = load_file(bart_checkpoint / "model.safetensors")
    foreign = {name.replace("model.", "net:").replace("coder.", "coder!"): value for name, value in tensors.items()}
    foreign["step"] = torch.tensor(7)
    save_file(foreign, tmp_path / "model.safetensors")
    config = json.loads((bart_checkpoint / "config.json").read_text(encoding="utf-8"))
    rules = [{"ignore": "^step$"}, {"rename": ["^net:", "model."]}, {"rename": ["(en|de)coder!", r"\1coder."]}]
    own = configured(tmp_path / "own.json", config, rules=rules)
    expected = load_checkpoint(bart_checkpoint).network.state_dict()
    found = load_checkpoint(tmp_path, config=own)
    assert found.family == "bart"
    assert all(torch.equal(value, expected[name]) for name, value in found.network.state_dict().items())
    with pytest.raises(CheckpointError, match="step"):
        load_checkpoint(tmp_path, config=configured(tmp_path / "own.json", config, rules=rules[1:]))


def test_two_tensors_that_a_rule_gives_one_name(
    bart_checkpoint: Path, tmp_path: Path, configured: Callable[..., Path]
) -> None:
    config = json.loads((bart_checkpoint / "config.json").read_text(encoding="utf-8"))
    own = configured(tmp_path / "own.json", config, rules=[{"rename": ["q_proj", "k_proj"]}])
    with pytest.raises(CheckpointError, match=r"q_proj.* are both .*k_proj.*, and differ"):
        load_checkpoint(bart_checkpoint, config=own)


@pytest.fixture
def configured() -> Callable[..., Path]:
    def write(path: Path, config: dict[str, Any], **keys: Any) -> Path:
        path.write_text(json.dumps(config | keys), encoding="utf-8")
        return path

    return write
