"""Options of decoding on the command line, with the example's trained model."""

import json
from pathlib import Path
from typing import Any

import pytest
from tasks.command import Finished, diptych, results

from diptych.runtime.generation.options import SAMPLING, GenerationOptions
from diptych.runtime.generation.refused import REFUSED

TEXTS = ["How are you?", "Thank you.", "I love you very much.", "Where is the station?", "Tom didn't answer."]
GREEDY = ("--num-beams", "1", "--threads", "1", "--max-new-tokens", "20")


def told(finished: Finished, status: int = 2) -> str:
    """One message, nothing on stdout."""
    assert (finished.status, finished.lines) == (status, []), finished
    assert "Traceback" not in finished.stderr
    assert finished.stderr.count("Error: ") == 1
    return finished.stderr


def values(bundle: Path, *arguments: str, stdin: str = "") -> list[dict[str, Any]]:
    return results(bundle, *GREEDY, *arguments, stdin=stdin)


def ids(bundle: Path, *arguments: str, stdin: str = "") -> list[list[int]]:
    return [one["ids"] for one in values(bundle, *arguments, stdin=stdin)]


def test_samples_depend_on_the_seed_and_on_nothing_else(bundle: Path) -> None:
    sampled = ("--do-sample", "--temperature", "1.3", "--top-k", "0")
    lines = "".join(f"{text}\n" for text in TEXTS * 20)
    first = ids(bundle, *sampled, stdin=lines)
    assert ids(bundle, *sampled, "--seed", "0", stdin=lines) == first
    assert ids(bundle, *sampled, "--batch-size", "7", stdin=lines) == first
    assert ids(bundle, *sampled, "--batch-tokens", "40", stdin=lines) == first
    assert ids(bundle, *sampled, *TEXTS) == first[: len(TEXTS)]
    assert ids(bundle, *sampled, "--seed", "9", stdin=lines) != first
    assert len({tuple(one) for one in first[:: len(TEXTS)]}) > 3, "the same text at another place is drawn anew"


@pytest.mark.parametrize("name", SAMPLING)
def test_an_option_of_sampling_needs_sampling(bundle: Path, name: str) -> None:
    option, value = f"--{name.replace('_', '-')}", "1" if name in ("seed", "top_k") else "0.5"
    message = told(diptych("run", bundle, *GREEDY, option, value, *TEXTS))
    assert f"{name} is for sampling; add do_sample" in message
    assert f"{name} is for sampling" in told(diptych("run", bundle, *GREEDY, "--no-do-sample", option, value))
    assert diptych("run", bundle, *GREEDY, "--do-sample", option, value, TEXTS[0]).status == 0


@pytest.mark.parametrize("name", sorted(set(REFUSED) - {"_from_model_config"}))
def test_a_refused_option_is_no_flag(bundle: Path, name: str) -> None:
    assert f"--{name.replace('_', '-')}" in told(diptych("run", bundle, f"--{name.replace('_', '-')}", "1", *TEXTS))


@pytest.mark.parametrize("option", ["--json-schema", "--grammar"])
def test_a_file_that_cannot_be_read_is_told(bundle: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "latin").write_bytes("é".encode("latin-1"))
    for name, reason in (("absent", "No such file"), (".", "Is a directory"), ("latin", "utf-8")):
        message = told(diptych("run", bundle, option, f"@{tmp_path / name}", *TEXTS))
        assert option in message
        assert str(tmp_path / name).removesuffix("/.") in message
        assert reason in message
    assert option in told(diptych("run", bundle, option, "@", *TEXTS))


@pytest.mark.parametrize("option", ["--regex", "--target-prefix"])
def test_other_texts_may_begin_as_files_do(bundle: Path, option: str) -> None:
    finished = diptych("run", bundle, *GREEDY, option, "@a", TEXTS[0])
    assert "cannot be read" not in finished.stderr


def test_a_schema_may_come_from_a_file(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("llguidance")
    schema = '{"type": "array", "items": {"const": 3}, "minItems": 1, "maxItems": 2}'
    (tmp_path / "schema.json").write_text(schema + "\n", encoding="utf-8")
    (expected,) = values(bundle, "--json-schema", schema, TEXTS[0])
    (found,) = values(bundle, "--json-schema", f"@{tmp_path / 'schema.json'}", TEXTS[0])
    assert found == expected
    assert json.loads(found["text"]) in ([3], [3, 3])


def test_a_prefix_is_in_the_text_and_not_in_the_ids(bundle: Path) -> None:
    (plain,) = values(bundle, TEXTS[0])
    (found,) = values(bundle, "--target-prefix", "Comment", TEXTS[0])
    assert found["text"] == plain["text"]
    assert found["ids"] == plain["ids"][1:]
    assert "target_prefix: the text is empty" in told(diptych("run", bundle, "--target-prefix", " ", TEXTS[0]))
    assert "target_prefix is ''" in told(diptych("run", bundle, "--target-prefix", "", TEXTS[0]))


def test_rows_have_prefixes_of_their_own(bundle: Path, tmp_path: Path) -> None:
    rows = [
        {"text": TEXTS[0], "target_prefix": "Que"},
        {"text": TEXTS[0]},
        TEXTS[0],
        {"text": "", "target_prefix": "a"},
    ]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    finished = diptych("run", bundle, *GREEDY, "--input", source, "--target-prefix", "Comment")
    assert finished.status == 1
    assert [line.split(" ")[0] for line in finished.lines] == ["Que", "Comment", "Comment", ""]
    assert finished.stderr == "line 4: the text is empty; there is nothing to read\n"


@pytest.mark.parametrize("beams", ["1", "3"])
def test_alternatives_are_tabs_and_hypotheses(bundle: Path, beams: str) -> None:
    arguments = ("--alternatives", "3", "--num-beams", beams)
    objects = values(bundle, *arguments, "--output-scores", *TEXTS)
    for one in objects:
        found = one["hypotheses"]
        assert len(found) == len({other["ids"][0] for other in found}) == 3
        firsts = [other["token_scores"][0] for other in found]
        assert firsts == sorted(firsts, reverse=True)
    lines = diptych("run", bundle, *GREEDY, *arguments, *TEXTS).lines
    assert lines == ["\t".join(other["text"] for other in one["hypotheses"]) for one in objects]
    few = values(bundle, *arguments, "--min-alternative-expansion-prob", "1", *TEXTS)
    assert [one["text"] for one in few] == [one["text"] for one in objects]
    assert not any("hypotheses" in one for one in few)


def test_stop_strings(bundle: Path) -> None:
    (plain, stopped) = (values(bundle, *more, TEXTS[2])[0] for more in ((), ("--stop-strings", '["aim", "zzz"]')))
    assert stopped["text"] == plain["text"][: len(stopped["text"])]
    assert "aim" in stopped["text"]
    assert len(stopped["ids"]) < len(plain["ids"])
    assert values(bundle, "--stop-strings", "aim", TEXTS[2]) == [stopped], "one text needs no list"


def test_the_score_of_a_translation_is_that_of_its_target(bundle: Path) -> None:
    found = values(bundle, "--output-scores", *TEXTS)
    pairs = [f"{text}\t{one['text']}" for text, one in zip(TEXTS, found, strict=True)]
    scored = results(bundle, "--score", *pairs)
    for one, other in zip(found, scored, strict=True):
        if one["ids"] == other["ids"]:
            assert other["score"] == pytest.approx(one["score"], abs=1e-3)
            assert other["token_scores"] == pytest.approx(one["token_scores"], abs=1e-4)
    assert sum(one["ids"] == other["ids"] for one, other in zip(found, scored, strict=True)) > 2


def test_what_has_no_meaning_for_a_given_target_is_refused(bundle: Path) -> None:
    message = told(diptych("run", bundle, "--score", "--num-beams", "3", "a\tb"))
    assert "--num-beams has no meaning with --score" in message


@pytest.mark.parametrize("wrong", ["lots", "-1", "", "2XB"])
def test_a_limit_that_is_no_size(bundle: Path, wrong: str) -> None:
    message = told(diptych("run", bundle, f"--memory-limit={wrong}", *TEXTS))
    assert "expected a size, such as 2GB" in message


def test_a_limit_below_the_bundle(bundle: Path) -> None:
    message = told(diptych("run", bundle, "--memory-limit", "1MB", *TEXTS))
    assert "memory_limit is 1 MB, but the loaded bundle alone needs" in message


def test_a_limit_that_is_enough_changes_nothing(bundle: Path) -> None:
    assert values(bundle, "--memory-limit", "64GB", *TEXTS) == values(bundle, *TEXTS)


def test_what_a_bundle_without_attention_cannot(bundle: Path) -> None:
    for option in ("--output-attentions", "--replace-unknowns"):
        assert "export it with --with-attention" in told(diptych("run", bundle, option, *TEXTS))


def test_what_lines_have_no_place_for_needs_json(bundle: Path) -> None:
    message = told(diptych("run", bundle, "--output-scores", *TEXTS))
    assert "--output-scores is told in JSON; add --json" in message


def test_help_names_every_option_of_decoding() -> None:
    shown = "\n".join(diptych("run", "--help").lines)
    for name in GenerationOptions.__dataclass_fields__:
        assert f"--{name.replace('_', '-')}" in shown
    for option in ("--no-do-sample", "--score", "--json", "--provider", "--memory-limit"):
        assert option in shown
