"""`diptych run` and `diptych info` as a shell sees them."""

import json
import subprocess
from pathlib import Path

import pytest
from shell import PROGRAM, QUICK, TEXTS, as_input, assert_fails, assert_works, diptych, lines, run

TOO_LONG = "the station " * 2000
EMPTY_LINE = ""


@pytest.fixture(scope="module")
def translations(bundle: Path) -> list[str]:
    found = assert_works(run(bundle, *TEXTS))
    assert len(found) == len(set(found)) == len(TEXTS)
    assert all(found)
    return found


def test_arguments_a_file_and_stdin_give_the_same_lines(bundle: Path, translations: list[str], tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_bytes(as_input(TEXTS))
    assert assert_works(run(bundle, "--input", source)) == translations
    assert assert_works(run(bundle, stdin=as_input(TEXTS))) == translations


def test_a_last_line_without_an_end_is_read(bundle: Path, translations: list[str]) -> None:
    assert assert_works(run(bundle, stdin=as_input(TEXTS)[:-1])) == translations


def test_lines_may_end_as_on_windows(bundle: Path, translations: list[str], tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    source.write_bytes(as_input(TEXTS).replace(b"\n", b"\r\n"))
    assert assert_works(run(bundle, "--input", source)) == translations


def test_batches_do_not_change_the_order(bundle: Path, translations: list[str]) -> None:
    assert assert_works(run(bundle, *TEXTS, "--batch-size", "1")) == translations


def test_more_lines_than_are_read_at_once_keep_their_order(bundle: Path, translations: list[str]) -> None:
    found = assert_works(run(bundle, "--max-new-tokens", "3", stdin=as_input(TEXTS * 80)))
    assert found == assert_works(run(bundle, "--max-new-tokens", "3", *TEXTS)) * 80


def test_output_goes_to_a_file(bundle: Path, translations: list[str], tmp_path: Path) -> None:
    target = tmp_path / "target.txt"
    assert assert_works(run(bundle, *TEXTS, "--output", target)) == []
    assert target.read_bytes() == as_input(translations)


def test_json_has_text_ids_and_score(bundle: Path, translations: list[str]) -> None:
    objects = [json.loads(line) for line in assert_works(run(bundle, *TEXTS, "--json"))]
    assert [item["text"] for item in objects] == translations
    for item in objects:
        assert item.keys() == {"text", "ids", "score"}
        assert item["ids"]
        assert all(type(token) is int for token in item["ids"])
        assert len(item["ids"]) <= 12
        assert type(item["score"]) is float
        assert item["score"] < 0


def test_json_has_all_hypotheses_best_first(bundle: Path) -> None:
    several = ("--num-beams", "4", "--num-return-sequences", "3")
    objects = [json.loads(line) for line in assert_works(run(bundle, *TEXTS, "--json", *several))]
    assert len(objects) == len(TEXTS)
    for item in objects:
        assert item.keys() == {"text", "ids", "score", "hypotheses"}
        found = item["hypotheses"]
        assert len(found) == 3
        assert found[0] == {key: item[key] for key in ("text", "ids", "score")}
        assert [other["score"] for other in found] == sorted((other["score"] for other in found), reverse=True)
        assert len({tuple(other["ids"]) for other in found}) == 3
    rows = [line.split("\t") for line in assert_works(run(bundle, *TEXTS, *several))]
    assert rows == [[other["text"] for other in item["hypotheses"]] for item in objects]


def test_options_reach_the_search(bundle: Path) -> None:
    (long,) = (json.loads(line) for line in assert_works(run(bundle, TEXTS[2], "--json", "--min-new-tokens", "12")))
    assert len(long["ids"]) == 12
    first = long["ids"][0]
    (other,) = (
        json.loads(line) for line in assert_works(run(bundle, TEXTS[2], "--json", "--suppress-tokens", f"[{first}]"))
    )
    assert first not in other["ids"]
    (forced,) = (
        json.loads(line) for line in assert_works(run(bundle, TEXTS[2], "--json", "--forced-bos-token-id", "9"))
    )
    assert forced["ids"][0] == 9


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_empty_input_gives_empty_output(bundle: Path, as_json: tuple[str, ...], tmp_path: Path) -> None:
    assert assert_works(run(bundle, *as_json)) == []
    (tmp_path / "empty.txt").touch()
    assert assert_works(run(bundle, *as_json, "--input", tmp_path / "empty.txt")) == []


BAD_LINES = [
    (b"", "empty"),
    (b"   \t ", "empty"),
    (b"caf\xe9 ol\xe9", "UTF-8"),
    (b"\xff\xfe", "UTF-8"),
    (TOO_LONG.encode(), "too long"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES)
def test_a_bad_line_keeps_its_place(bundle: Path, translations: list[str], bad: bytes, reason: str) -> None:
    first, second = (text.encode() for text in TEXTS[:2])
    result = run(bundle, stdin=b"\n".join([first, bad, second, b""]))
    assert result.returncode == 1
    assert lines(result) == [translations[0], EMPTY_LINE, translations[1]]
    (message,) = result.stderr.decode().splitlines()
    assert message.startswith("line 2: ")
    assert reason in message


def test_every_bad_line_is_told_by_its_number(bundle: Path, translations: list[str], tmp_path: Path) -> None:
    source = tmp_path / "source.txt"
    rows = [row for bad, _ in BAD_LINES for row in (bad, TEXTS[0].encode())]
    source.write_bytes(b"\n".join(rows) + b"\n")
    result = run(bundle, "--input", source)
    assert result.returncode == 1
    assert lines(result) == [EMPTY_LINE, translations[0]] * len(BAD_LINES)
    told = result.stderr.decode().splitlines()
    assert [message.split(": ")[0] for message in told] == [f"line {number}" for number in (1, 3, 5, 7, 9)]
    assert "Traceback" not in result.stderr.decode()


def test_a_bad_argument_keeps_its_place(bundle: Path, translations: list[str]) -> None:
    result = run(bundle, TEXTS[0], "", TEXTS[1])
    assert result.returncode == 1
    assert lines(result) == [translations[0], EMPTY_LINE, translations[1]]
    assert result.stderr.startswith(b"line 2: ")


def test_a_bad_line_is_an_object_with_an_error(bundle: Path, translations: list[str]) -> None:
    result = run(bundle, "--json", stdin=b"\n" + TEXTS[0].encode() + b"\n\xff\n")
    assert result.returncode == 1
    empty, good, broken = (json.loads(line) for line in lines(result))
    assert empty.keys() == broken.keys() == {"error"}
    assert "UTF-8" in broken["error"]
    assert good["text"] == translations[0]


def test_all_lines_bad_is_still_one_line_each(bundle: Path) -> None:
    result = run(bundle, stdin=b"\n\n\xff\n")
    assert (result.returncode, result.stdout) == (1, b"\n\n\n")


def test_any_script_works(bundle: Path) -> None:
    texts = ["😀 👩‍👩‍👧‍👦", "你好，世界。", "Привет, мир!", "مرحبا", "naïve café", "\ufeffHow are you?", "a\u2028b"]
    found = assert_works(run(bundle, stdin=as_input(texts)))
    assert len(found) == len(texts)
    assert assert_works(run(bundle, *texts)) == found


def test_results_are_utf8_whatever_the_locale(bundle: Path) -> None:
    found = run(bundle, *TEXTS, "--num-beams", "4", "--json").stdout.decode("utf-8")
    assert any(ord(character) > 127 for character in found)


def test_an_unknown_provider_lists_those_there_are(bundle: Path) -> None:
    assert_fails(run(bundle, "Hello.", "--provider", "quantum"), 2, "quantum", "available", "cpu")


@pytest.mark.parametrize("name", ["cpu", "CPU", "CPUExecutionProvider"])
def test_a_provider_has_a_short_and_a_full_name(bundle: Path, translations: list[str], name: str) -> None:
    assert assert_works(run(bundle, *TEXTS, "--provider", name)) == translations


@pytest.mark.parametrize("command", ["run", "info"])
def test_a_missing_bundle_is_told(tmp_path: Path, command: str) -> None:
    assert_fails(diptych(command, tmp_path / "absent"), 2, str(tmp_path / "absent"), "no such bundle")


@pytest.mark.parametrize("command", ["run", "info"])
def test_a_folder_or_file_that_is_no_bundle_is_told(tmp_path: Path, command: str) -> None:
    (tmp_path / "note.txt").write_text("hello", encoding="utf-8")
    assert_fails(diptych(command, tmp_path), 1, str(tmp_path), "diptych.json")
    assert_fails(diptych(command, tmp_path / "note.txt"), 1, "note.txt", "not a bundle")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("num-beams", "0"),
        ("num-beams", "two"),
        ("num-beams", "1.5"),
        ("num-return-sequences", "2"),
        ("length-penalty", "much"),
        ("early-stopping", "sometimes"),
        ("max-new-tokens", "0"),
        ("bad-words-ids", "[1, 2]"),
        ("suppress-tokens", "three"),
        ("forced-eos-token-id", "[-1]"),
        ("forced-eos-token-id", "2.5"),
        ("repetition-penalty", "0"),
    ],
)
def test_a_bad_option_is_told_by_its_name(bundle: Path, option: str, value: str) -> None:
    message = assert_fails(run(bundle, "Hello.", f"--{option}", value), 2).replace("_", "-")
    assert option in message


@pytest.mark.parametrize(
    ("option", "value"),
    [("suppress-tokens", "[999999]"), ("max-new-tokens", "99999"), ("forced-bos-token-id", "999999")],
)
def test_an_option_that_does_not_fit_the_model_is_told_by_its_name(bundle: Path, option: str, value: str) -> None:
    message = assert_fails(run(bundle, "Hello.", f"--{option}", value), 2).replace("_", "-")
    assert option in message


def test_bad_options_are_told_even_without_texts(bundle: Path) -> None:
    assert_fails(run(bundle, "--num-beams", "0"), 2, "num_beams")


def test_an_unknown_flag_suggests_the_nearest(bundle: Path) -> None:
    assert_fails(run(bundle, "--num-beam", "2"), 2, "--num-beam", "--num-beams")


def test_texts_and_a_file_exclude_each_other(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "source.txt").touch()
    assert_fails(run(bundle, "Hello.", "--input", tmp_path / "source.txt"), 2, "--input")


def test_a_missing_input_file_is_told(bundle: Path, tmp_path: Path) -> None:
    assert_fails(run(bundle, "--input", tmp_path / "absent.txt"), 2, "absent.txt")


def test_an_output_that_cannot_be_written_is_told(bundle: Path, tmp_path: Path) -> None:
    message = assert_fails(run(bundle, "Hello.", "--output", tmp_path / "absent" / "target.txt"), 2)
    assert "absent" in message


@pytest.mark.parametrize("arguments", [("run",), ("run", "--json"), ("info", "--json", "-"), ("info",)])
def test_a_reader_that_leaves_early_causes_no_complaint(bundle: Path, arguments: tuple[str, ...]) -> None:
    command, *options = arguments
    quick = QUICK if command == "run" else ()
    process = subprocess.Popen(
        [PROGRAM, command, str(bundle), *quick, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    try:
        process.stdin.write(as_input(TEXTS))
        process.stdin.close()
    except BrokenPipeError:
        pass
    stderr = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=120) in (0, 1)
    assert stderr == b""


@pytest.mark.parametrize(
    "arguments", [("--debug", "run"), ("run", "--debug"), ("--debug", "info"), ("info", "--debug")]
)
def test_debug_shows_the_traceback(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = diptych(*arguments, tmp_path / "absent")
    assert result.returncode != 0
    assert b"Traceback" in result.stderr
    assert b"no such bundle" in result.stderr


def test_version_is_told() -> None:
    from importlib.metadata import version

    assert diptych("--version").stdout.decode().strip() == f"diptych {version('diptych')}"
