"""`diptych bench` on a bundle that generates: what is measured, told, and refused. No figure is held to be right."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import bench_checks
import pytest
from bench_checks import QUICK, assert_generating, assert_plausible, bench, report_of
from shell import TEXTS
from test_without_torch import diptych as without_torch

from diptych.runtime import bench_command
from diptych.runtime.bench import generating, inputs, rates
from diptych.runtime.bundle import Bundle
from diptych.runtime.command import main
from diptych.runtime.providers import SessionSettings

TINY = (*QUICK, "--batch", "1,3", "--beams", "1,2", "--source-length", "5", "--new-tokens", "4")


@pytest.fixture(autouse=True)
def small_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no cache holds takes long to fill."""
    monkeypatch.setattr(rates, "BEYOND_CACHE", 8 << 20)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    return path


def test_every_part_of_a_report(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(capsys, bundle, *TINY, "--loads", "2")
    assert [(cell["batch"], cell["beams"]) for cell in report["cells"]] == [(1, 1), (1, 2), (3, 1), (3, 2)]
    for cell in report["cells"]:
        assert (cell["source_length"], cell["new_tokens"]) == (5, 4)
        assert_generating(cell)
    machine, load, told = report["machine"], report["load"], report["bundle"]
    assert (machine["threads"], machine["provider"]) == (1, "cpu")
    assert machine["cores"] >= 1
    assert all(one["gb_per_second"] > 0.1 for one in machine["read"])
    assert machine["multiplies_gflops"]["fp32"] > 0.1
    assert load["loads"] == 2
    assert_plausible(load["seconds"])
    assert load["process_seconds"]["median"] > load["seconds"]["median"]
    assert (report["rounds"], report["texts_file"]) == (2, None)
    manifest = Bundle.open(bundle).manifest
    assert (told["task"], told["family"], told["precision"]) == ("translate", manifest.family, "fp32")
    assert told["weights_bytes"] == manifest.weights_size < told["file_bytes"]


def test_the_work_of_the_graphs_is_that_of_their_weights(bundle: Path) -> None:
    """Of the demo model, whose sides share one matrix that is the decoder's output, too."""
    manifest = Bundle.open(bundle).manifest
    panels = generating.Panels.of(Bundle.open(bundle), manifest.source_vocabulary)
    assert panels is not None
    assert panels.encoder is not None
    width, vocabulary = 256, manifest.source_vocabulary
    matrices = {name: entry for name, entry in manifest.tensors.items() if len(entry.shape) == 2}
    shared = [name for name, entry in matrices.items() if vocabulary in entry.shape]
    assert len(shared) == 1
    assert panels.decoder.scored == {"fp32": vocabulary * width}
    assert not panels.encoder.scored
    each = sum(entry.length // 4 for name, entry in matrices.items() if name not in shared and "position" not in name)
    assert panels.encoder.each["fp32"] + panels.decoder.each["fp32"] == each
    # Scalars are in the graphs themselves.
    least = sum(entry.length for entry in manifest.tensors.values())
    assert panels.encoder.size + panels.decoder.size == pytest.approx(least, rel=0.01)


def test_the_table_and_a_file(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(bundle, *TINY, "--json", tmp_path / "speed.json") == 0
    out, err = capsys.readouterr()
    report = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    assert report.keys() == bench_checks.PARTS
    assert err == ""
    for word in ("processor", "GB/s", "GFLOP/s fp32", "translate", "fp32", "tokens/s", "5 random tokens in, 4 out"):
        assert word in out
    assert "length" not in out


def test_texts_go_the_whole_way(bundle: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of(capsys, bundle, *QUICK, "--batch", "2", "--beams", "1,2", "--texts", texts)
    assert report["texts_file"] == str(texts)
    assert (report["machine"]["read"], report["bundle"]["work"], report["load"]) == (None, {}, None)
    assert [cell["beams"] for cell in report["cells"]] == [1, 2]
    with pytest.raises(SystemExit):
        main(["run", str(bundle), *TEXTS, "--threads", "1", "--num-beams", "2", "--json"])
    found = [json.loads(line)["ids"] for line in capsys.readouterr().out.splitlines()]
    assert report["cells"][1]["generated_tokens"] == sum(map(len, found))
    for cell in report["cells"]:
        assert (cell["texts"], cell["floor"]) == (len(TEXTS), None)
        assert_plausible(cell["first_token_seconds"])
        assert cell["texts_per_second"]["median"] == pytest.approx(len(TEXTS) / cell["seconds"]["median"])


def test_new_tokens_bound_what_texts_become(bundle: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--batch", "4", "--beams", "1", "--texts", texts, "--new-tokens", "2")
    report = report_of(capsys, bundle, *QUICK, *given)
    assert report["cells"][0]["generated_tokens"] == 2 * len(TEXTS)


def test_one_new_token_has_no_step(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--batch", "2", "--beams", "2", "--source-length", "1", "--new-tokens", "1")
    (cell,) = report_of(capsys, bundle, *QUICK, *given)["cells"]
    assert cell["step_seconds"] is None
    assert cell["floor"]["seconds"] == cell["floor"]["first_token_seconds"]
    assert bench(bundle, *QUICK, *given) == 0
    assert "a step" not in capsys.readouterr().out


def test_it_needs_no_torch(bundle: Path) -> None:
    result = without_torch("bench", str(bundle), *TINY, "--loads", "1", "--json", "-")
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert report["load"]["loads"] == 1
    assert len(report["cells"]) == 4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--batch", "0"], "'0' is not whole numbers from 1"),
        (["--batch", "1,,2"], "'1,,2' is not whole numbers"),
        (["--beams", "four"], "'four' is not whole numbers"),
        (["--beams", "2000"], "num_beams is 2000"),
        (["--rounds", "0"], "--rounds"),
        (["--loads", "-1"], "--loads"),
        (["--length", "16"], "--length is for bundles that read whole texts; this one is made to translate"),
        (["--source-length", "100000"], "--source-length 100000 does not fit: the model reads 256"),
        (["--new-tokens", "256"], "--new-tokens 256 does not fit: 255 of the decoder's 256"),
        (["--texts", "nowhere.txt"], "nowhere.txt"),
        (["--texts", __file__, "--source-length", "3"], "--source-length is of random tokens"),
        (["--texts", __file__, "--target-lang", "fra"], "this bundle has no languages"),
        (["--target-lang", "fra"], "--target-lang is about texts; add --texts"),
        (["--json", "nowhere/speed.json"], "there is no folder nowhere"),
        (["--provider", "abacus"], "abacus"),
        (["--provider-option", "speed"], "KEY=VALUE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_asked_for(
    bundle: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench(bundle, "--loads", "0", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert "Traceback" not in err


def test_a_bundle_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(tmp_path / "none") == 2
    assert "no such bundle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no lines"),
        (b"Hello.\n\nThere.\n", "line 2: the text is empty"),
        (b"Hello.\nb\xff\n", "line 2: not UTF-8"),
        (b"I am here. " * 300, "line 1: too long"),
    ],
    ids=["empty", "an empty line", "no UTF-8", "too long"],
)
def test_texts_that_cannot_be_read(
    bundle: Path, texts: Path, content: bytes, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    texts.write_bytes(content)
    assert bench(bundle, *QUICK, "--batch", "2", "--beams", "1", "--texts", texts) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert str(texts) in err


def test_an_interruption_leaves_nothing(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_command, "measured", interrupted)
    assert bench(bundle, *TINY, "--json", tmp_path / "speed.json") == 130
    out, err = capsys.readouterr()
    assert (out, err) == ("", "Interrupted.\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_does_not_take_the_figures(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(bundle, *TINY, "--json", "/dev/full") == 1
    out, err = capsys.readouterr()
    assert "tokens/s" in out
    assert "No space left" in err


def test_random_ids_are_ordinary(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    rows = inputs.random_rows(opened, 64, 100)
    assert rows == inputs.random_rows(opened, 64, 100)
    assert rows[0] != rows[1]
    assert {len(row) for row in rows} == {100}
    drawn = {token for row in rows for token in row}
    tokens = opened.manifest.tokens
    assert not drawn & {tokens.pad, *tokens.eos, tokens.decoder_start, tokens.unknown}
    assert drawn < set(range(opened.manifest.source_vocabulary))
    assert len(drawn) > opened.manifest.source_vocabulary // 2


def test_cells_stand_apart_from_the_bundles_defaults(bundle: Path) -> None:
    """Whose ends would decide how long is measured, whose beams and filters what."""
    opened = Bundle.open(bundle)
    everything = list(range(opened.manifest.source_vocabulary))
    defaults = {
        "num_beams": 5,
        "max_length": 9,
        "forced_eos_token_id": 2,
        "eos_token_id": everything,
        "do_sample": True,
    }
    ending = replace(opened, manifest=replace(opened.manifest, generation=defaults))
    (cell,) = generating.generating_cells(ending, SessionSettings(threads=1), [2], [3], 4, 70)
    found = []
    decode = cell.generator.run
    with patch.object(cell.generator, "run", side_effect=lambda *a, **b: found.append(decode(*a, **b)) or found[-1]):
        cell.runs()["all"]()
    assert [len(hypotheses) for hypotheses in found[0].values()] == [1, 1]
    assert {len(hypotheses[0].ids) for hypotheses in found[0].values()} == {70}
