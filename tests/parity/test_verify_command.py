"""`diptych verify` as a person, or a script, meets it: exit status, what is printed, what is written."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parity.document import DOCUMENT
from parity.injection import Healthy, Planting
from recording import ROOT
from tasks.command import Finished, diptych

from diptych.export import verify_bundle
from diptych.export.parity import verify as verify_module
from diptych.runtime import ports
from diptych.runtime.bundle import Bundle

CHECKPOINT = ROOT / "examples" / "eng-fra" / "checkpoint"
WEIGHT = "encoder.layers.1.feed_forward.up.weight"
NUMBER = re.compile(r"\d\.\de-\d\d")


@pytest.fixture(scope="module")
def bert(healthy: Callable[[str], Healthy]) -> Healthy:
    return healthy("bert")


@pytest.fixture
def bundle(bert: Healthy, tmp_path: Path) -> Path:
    """A copy, to be spoilt."""
    return Path(shutil.copytree(bert.bundle, tmp_path / "bundle"))


@pytest.fixture
def plant(bert: Healthy, tmp_path: Path) -> Callable[[Callable[[Planting], None]], Path]:
    """A bundle with a fault, of which every digest is true."""

    def planted(change: Callable[[Planting], None]) -> Path:
        planting = Planting(bert)
        change(planting)
        return planting.write(tmp_path / "planted")

    return planted


def assert_error(finished: Finished, status: int, *texts: str) -> None:
    """One clear message, and nothing else."""
    assert finished.status == status, finished
    assert finished.lines == []
    assert "Traceback" not in finished.stderr
    assert finished.stderr.count("Error:") == 1
    for text in texts:
        assert text in finished.stderr


def levels(finished: Finished) -> dict[str, str]:
    """The mark of each level."""
    marks = [line.split() for line in finished.lines if re.match(r"(ok|FAIL|-) ", line)]
    return {words[1]: words[0] for words in marks}


def wrong(planting: Planting) -> None:
    planting.change_weight(WEIGHT, lambda weight: weight * np.float32(1.001))


def no_numbers(planting: Planting) -> None:
    planting.change_weight(WEIGHT, lambda weight: weight * np.float32("nan"))


def test_the_example_passes_with_numbers(demo_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(demo_bundle, tmp_path / "bundle")
    finished = diptych("verify", bundle, "--checkpoint", CHECKPOINT)
    assert finished.status == 0, finished
    assert levels(finished) == dict.fromkeys(("facts", "weights", "tensors", "properties", "tokens", "text"), "ok")
    assert finished.lines[-1].startswith("PASSED")
    (tensors,) = (line for line in finished.lines if line.startswith("ok    tensors"))
    assert NUMBER.search(tensors)
    (tokens,) = (line for line in finished.lines if line.startswith("ok    tokens"))
    assert re.search(r"greedy: \d{3} of \d{3} identical; beam 4: \d{3} of \d{3} identical", tokens)
    verification = json.loads((bundle / "verification.json").read_text(encoding="utf-8"))
    assert (verification["level"], verification["passed"]) == ("full", True)
    assert diptych("info", bundle).status == 0


def test_one_byte_of_a_weight(bert: Healthy, bundle: Path) -> None:
    """Digests tell before anything is compared; what was known of the bundle before stays."""
    before = (bundle / "diptych.json").read_bytes()
    entry = Bundle.open(bundle).manifest.tensors[WEIGHT]
    weights = bytearray((bundle / ports.WEIGHTS_FILE).read_bytes())
    weights[entry.offset + 5] ^= 1
    (bundle / ports.WEIGHTS_FILE).write_bytes(weights)
    finished = diptych("verify", bundle, "--checkpoint", bert.checkpoint)
    assert_error(finished, 1, str(bundle / ports.WEIGHTS_FILE), WEIGHT)
    assert (bundle / "diptych.json").read_bytes() == before
    assert not (bundle / "verification.json").exists()


def test_weights_that_end_too_early(bert: Healthy, bundle: Path) -> None:
    weights = (bundle / ports.WEIGHTS_FILE).read_bytes()
    (bundle / ports.WEIGHTS_FILE).write_bytes(weights[:-100])
    finished = diptych("verify", bundle, "--checkpoint", bert.checkpoint)
    assert_error(finished, 1, str(bundle / ports.WEIGHTS_FILE))


def test_a_graph_that_was_altered(bert: Healthy, bundle: Path) -> None:
    graph = bytearray((bundle / ports.MODEL_FILE).read_bytes())
    graph[len(graph) // 2] ^= 1
    (bundle / ports.MODEL_FILE).write_bytes(graph)
    assert_error(diptych("verify", bundle, "--checkpoint", bert.checkpoint), 1, str(bundle / ports.MODEL_FILE))


@pytest.mark.parametrize("bisect", [[], ["--bisect"]], ids=["plain", "bisected"])
def test_a_weight_that_was_changed_with_its_digest(
    bert: Healthy, plant: Callable[..., Path], bisect: list[str]
) -> None:
    finished = diptych("verify", plant(wrong), "--checkpoint", bert.checkpoint, *bisect)
    assert finished.status == 1
    assert finished.stderr == ""
    assert levels(finished)["weights"] == levels(finished)["tensors"] == "FAIL"
    module = WEIGHT.rpartition(".")[0]
    assert finished.lines[-1].startswith("FAILED")
    assert module in finished.lines[-1]
    named = [line for line in finished.lines if f"{module} is where the error enters" in line]
    assert len(named) == len(bisect)


def test_against_itself(bert: Healthy) -> None:
    before = {path.name: path.read_bytes() for path in bert.bundle.iterdir()}
    finished = diptych("verify", bert.bundle, "--against", bert.bundle)
    assert finished.status == 0, finished
    assert set(levels(finished).values()) <= {"ok", "-"}
    assert {path.name: path.read_bytes() for path in bert.bundle.iterdir()} == before


def test_against_other_weights(bert: Healthy, plant: Callable[..., Path]) -> None:
    finished = diptych("verify", plant(wrong), "--against", bert.bundle, "--bisect")
    assert finished.status == 1
    module = WEIGHT.rpartition(".")[0]
    assert any(f"{module} is where the error enters" in line for line in finished.lines), finished
    assert module in finished.lines[-1]


def test_against_another_task(bert: Healthy, healthy: Callable[[str], Healthy]) -> None:
    finished = diptych("verify", bert.bundle, "--against", healthy("gpt2").bundle)
    assert_error(finished, 1, "classify", "generate", "nothing to compare")


def report_of(bundle: Path, *arguments: str | Path, status: int = 0) -> dict[str, Any]:
    """As `--json` writes it, read as strictly as other languages read it."""
    path = bundle.parent / "report.json"
    finished = diptych("verify", bundle, *arguments, "--json", path)
    assert finished.status == status, finished
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_texts_of_ones_own(bert: Healthy, bundle: Path, tmp_path: Path) -> None:
    texts = tmp_path / "mine.txt"
    texts.write_text("how are you\n\nI smile\u2028today\r\n", encoding="utf-8")
    text = report_of(bundle, "--checkpoint", bert.checkpoint, "--texts", texts)["text"]
    assert text["texts"] == 2
    assert [answer["text"].strip() for answer in text["answers"]] == ["how are you", "I smile\u2028today"]
    assert all(answer["same"] for answer in text["answers"])


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no text"), (b"\n \n", "no text"), (b"fine\n\xff\xfe", "not UTF-8 at byte 6")],
    ids=["empty", "blank", "not UTF-8"],
)
def test_texts_that_are_none(bert: Healthy, bundle: Path, tmp_path: Path, content: bytes, message: str) -> None:
    texts = tmp_path / "mine.txt"
    texts.write_bytes(content)
    finished = diptych("verify", bundle, "--checkpoint", bert.checkpoint, "--texts", texts)
    assert_error(finished, 1, str(texts), message)


def test_texts_that_cannot_be_read(healthy: Callable[[str], Healthy], tmp_path: Path) -> None:
    """Lines are pairs where the task is to answer; a line that is none is told, and if all are it is a failure."""
    made = healthy("distilbert")
    bundle = shutil.copytree(made.bundle, tmp_path / "bundle")
    texts = tmp_path / "mine.txt"
    texts.write_text("Who smiles?\tShe smiles.\nno pair\n", encoding="utf-8")
    text = report_of(bundle, "--checkpoint", made.checkpoint, "--texts", texts)["text"]
    assert (text["texts"], text["unreadable"]) == (2, 1)
    assert [answer["note"] for answer in text["answers"]] == ["", "unreadable"]
    texts.write_text("no pair\nno pair either\n", encoding="utf-8")
    failures = report_of(bundle, "--checkpoint", made.checkpoint, "--texts", texts, status=1)["failures"]
    assert [failure["level"] for failure in failures] == ["text"]
    assert "none of the 2 texts" in failures[0]["what"]


def test_infinite_errors_are_json_and_a_page(bert: Healthy, plant: Callable[..., Path]) -> None:
    bundle = plant(no_numbers)
    html = bundle.parent / "report.html"
    report = report_of(bundle, "--checkpoint", bert.checkpoint, "--bisect", "--html", html, status=1)
    assert report["passed"] is False
    assert report["tensors"]["outputs"][0]["ratio"] == "infinite"
    assert all(spent > 0 for spent in report.pop("seconds").values())
    assert report == json.loads((bundle / "verification.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert "infinite" in html.read_text(encoding="utf-8")


def documented() -> Iterator[str]:
    """The fields of the report, dotted, as docs/parity.md names them."""
    chapter = DOCUMENT.read_text(encoding="utf-8").partition("## The report")[2]
    cells = re.findall(r"^\| (`[a-z_`., ]+`) \|", chapter, re.MULTILINE)
    for cell in cells:
        names = re.findall(r"`([^`]+)`", cell)
        parent = names[0].rpartition(".")[0]
        yield from (f"{parent}{name}" if name.startswith(".") else name for name in names)


def test_the_report_is_what_the_document_says(
    bert: Healthy, bundle: Path, healthy: Callable[[str], Healthy], tmp_path: Path
) -> None:
    reads = report_of(bundle, "--checkpoint", bert.checkpoint, "--bisect")
    made = healthy("gpt2")
    writes = report_of(shutil.copytree(made.bundle, tmp_path / "gpt2"), "--checkpoint", made.checkpoint)
    names = list(documented())
    assert len(names) > 20
    assert {name.partition(".")[0] for name in names} == set(reads) == set(writes)
    assert (reads["tokens"], writes["text"], writes["bisection"]) == (None, None, None)
    for name in names:
        level, _, part = name.partition(".")
        assert not part or part in (writes if level == "tokens" else reads)[level], name
    for level, parts in [*reads.items(), *writes.items()]:
        if isinstance(parts, dict) and any(name.startswith(f"{level}.") for name in names):
            assert {f"{level}.{part}" for part in parts} <= set(names)


def test_what_was_found_is_kept_and_told(bert: Healthy, plant: Callable[..., Path]) -> None:
    """Also when it failed: a bundle that is known to be wrong says so wherever it is used."""
    bundle = plant(wrong)
    assert "never compared" in info(bundle)
    assert diptych("verify", bundle, "--checkpoint", bert.checkpoint).status == 1
    assert re.search(r"no, it FAILED: weights: .*up\.weight", info(bundle))
    ran = diptych("run", bundle, "a text")
    assert ran.status == 0
    assert "is not verified" in ran.stderr
    assert "FAILED" in ran.stderr


def test_what_was_found_before_is_replaced(bert: Healthy, bundle: Path) -> None:
    """And says nothing of a bundle that was altered since."""
    (bundle / "verification.json").write_text("{}", encoding="utf-8")
    assert diptych("verify", bundle, "--checkpoint", bert.checkpoint).status == 0
    assert "yes, full" in info(bundle)
    assert diptych("run", bundle, "a text").stderr == ""
    manifest = bundle / "diptych.json"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"bert"', '"bart"'), encoding="utf-8")
    assert "altered since" in info(bundle)


def test_against_another_bundle_nothing_is_kept(bert: Healthy, plant: Callable[..., Path]) -> None:
    bundle = plant(wrong)
    assert diptych("verify", bundle, "--against", bert.bundle).status == 1
    assert not (bundle / "verification.json").exists()


def info(bundle: Path) -> str:
    """What `diptych info` says of the verification, in one line."""
    finished = diptych("info", bundle, "--json", "-")
    assert finished.status == 0, finished
    return json.loads("\n".join(finished.lines))["verdict"]


def test_a_bundle_that_cannot_be_written_to(bert: Healthy, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is what counts; that it is not kept is told. Permissions do not bind root."""

    def refuse(path: Path, *arguments: object, **options: object) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "write_text", refuse)
    finished = diptych("verify", bundle, "--checkpoint", bert.checkpoint)
    assert finished.status == 0, finished
    assert finished.lines[-1].startswith("PASSED")
    assert finished.stderr.count("\n") == 1
    assert "not kept" in finished.stderr
    assert "Permission denied" in finished.stderr
    assert not (bundle / "verification.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--checkpoint or --against"),
        (("--checkpoint", "CHECKPOINT", "--against", "BUNDLE"), "--checkpoint or --against"),
        (("--checkpoint", "nowhere"), "nowhere"),
        (("--against", "nowhere"), "nowhere"),
        (("--checkpoint", "CHECKPOINT", "--texts", "nowhere"), "nowhere"),
        (("--checkpoint", "CHECKPOINT", "--json", "nowhere/report.json"), "nowhere"),
        (("--checkpoint", "CHECKPOINT", "--provider", "abacus"), "abacus"),
        (("--checkpoint", "CHECKPOINT", "--threads", "-1"), "--threads"),
    ],
    ids=str,
)
def test_what_was_not_asked_for_properly(arguments: tuple[str, ...], message: str, bert: Healthy) -> None:
    known = {"CHECKPOINT": bert.checkpoint, "BUNDLE": bert.bundle}
    finished = diptych("verify", bert.bundle, *(known.get(each, each) for each in arguments))
    assert_error(finished, 2, message)


def test_no_bundle(bert: Healthy, tmp_path: Path) -> None:
    assert_error(diptych("verify", tmp_path / "nowhere", "--checkpoint", bert.checkpoint), 2, "nowhere")
    assert_error(diptych("verify", bert.checkpoint, "--checkpoint", bert.checkpoint), 1, "not a bundle")


def test_another_checkpoint(bert: Healthy, healthy: Callable[[str], Healthy]) -> None:
    """Of another family: nothing of it is like the bundle, and that is told, not a crash."""
    finished = diptych("verify", bert.bundle, "--checkpoint", healthy("gpt2").checkpoint)
    assert finished.status == 1
    assert "Traceback" not in finished.stderr
    assert "KeyError" not in finished.stderr
    assert "debug shows where" not in finished.stderr


def test_texts_from_python(bert: Healthy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function that the command calls; nobody else's report is in its way."""
    monkeypatch.setattr(verify_module, "write_verification", lambda folder, report: None)
    stages: list[str] = []
    report = verify_bundle(
        str(bert.bundle), checkpoint=str(bert.checkpoint), texts=["one text"], announce=stages.append
    )
    assert report.passed
    assert report.text is not None
    assert [answer.text for answer in report.text.answers] == ["one text"]
    assert stages[:2] == ["checking digests", "reading the checkpoint"]
    assert [stage.removeprefix("comparing ") for stage in stages[2:]] == list(report.seconds)
    assert all(spent >= 0 for spent in report.seconds.values())


def test_one_side_to_compare_with(bert: Healthy) -> None:
    for sides in ({}, {"checkpoint": bert.checkpoint, "against": bert.bundle}):
        with pytest.raises(ValueError, match="give one of them"):
            verify_bundle(bert.bundle, **sides)
