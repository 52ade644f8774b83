"""`diptych run` and `diptych info` with bundles that do not generate, as a shell sees them."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from readers import VOCABULARY, WIDTH, RowGraph, by_token, manifest, projected, states, word_pieces

from diptych.runtime import load, ports
from diptych.runtime.bundle import Bundle, file_digest
from diptych.runtime.command import main
from diptych.runtime.manifest import Labels, Manifest, Pooling
from diptych.runtime.tasks.embed import Embedder

TAGS = ("O", "B-LOC", "I-LOC")
LABELS = Labels(("good", "bad", "neither"))
AXES = (ports.SEQUENCE_LENGTH,)
QUESTION = "Who is old?\tThe Café is very old."


class Result(NamedTuple):
    status: int
    lines: list[str]
    stderr: str


def facts_and_graph(task: str) -> tuple[Manifest, RowGraph]:
    pooling = Pooling("mean", normalize=False)
    columns = projected(3)
    if task == "embed":
        return manifest(task, 20, pooling=pooling), RowGraph(by_token(ports.LAST_HIDDEN_STATE, states, WIDTH))
    if task == "classify":
        row = {ports.LOGITS: ((3,), lambda ids, types: columns(ids, types).mean(axis=0))}
        return manifest(task, 20, LABELS), RowGraph(row)
    if task == "tag":
        return manifest(task, 20, Labels(TAGS)), RowGraph(by_token(ports.LOGITS, columns, len(TAGS)))
    if task == "fill":
        size = len(VOCABULARY)
        return manifest(task, 20), RowGraph(by_token(ports.LOGITS, projected(size), size))
    ends = {
        ports.START_LOGITS: (AXES, lambda ids, types: columns(ids, types)[:, 0]),
        ports.END_LOGITS: (AXES, lambda ids, types: columns(ids, types)[:, 1]),
    }
    return manifest("answer", 20), RowGraph(ends)


def write_bundle(folder: Path, facts: Manifest, model: bytes | None = None) -> Path:
    """model: the ONNX file, if it has one."""
    folder.mkdir()
    digests = {ports.TOKENIZER_FILE: file_digest(word_pieces(folder))}
    if model is not None:
        (folder / ports.MODEL_FILE).write_bytes(model)
        digests[ports.MODEL_FILE] = file_digest(folder / ports.MODEL_FILE)
    (folder / ports.WEIGHTS_FILE).touch()
    replace(facts, files=digests).write(folder)
    return folder


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., Result]:
    """`diptych run` of a bundle made for a task, whose graph is in numpy."""

    def call(task: str, *arguments: str, stdin: bytes = b"") -> Result:
        folder = tmp_path / task
        facts, graph = facts_and_graph(task)
        monkeypatch.setattr(Bundle, "model", lambda self, settings: graph)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main(["run", str(folder if folder.exists() else write_bundle(folder, facts)), *arguments])
        captured = capsysbinary.readouterr()
        return Result(int(ended.value.code or 0), captured.out.decode().splitlines(), captured.err.decode())

    call.__dict__["folder"] = tmp_path
    return call


def opened(folder: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    facts, graph = facts_and_graph(task)
    monkeypatch.setattr(Bundle, "model", lambda self, settings: graph)
    return load(folder if folder.exists() else write_bundle(folder, facts))


EXAMPLES = {
    "embed": ["Paris is old", "who", "😀 the capital"],
    "classify": ["Paris is old", "who\tis old", "the capital"],
    "tag": ["Paris is the capital of France.", "old", "the  Café 😀 is, very old " * 6],
    "answer": [QUESTION, "where\tparis is the capital of france " * 1, "who is\t" + "the cafe is very old. " * 9],
    "fill": ["Paris is [MASK].", "[MASK] [MASK] old"],
}


@pytest.mark.parametrize("task", EXAMPLES)
def test_lines_and_objects_are_what_python_gives(
    run: Callable[..., Result], task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = EXAMPLES[task]
    of_python = opened(tmp_path / "other", task, monkeypatch)
    texts = [of_python.from_line(line) for line in lines]
    results = of_python(texts)
    text, objects = run(task, *lines), run(task, *lines, "--json")
    assert (text.status, text.stderr) == (objects.status, objects.stderr) == (0, "")
    assert text.lines == [of_python.to_line(result) for result in results]
    expected = [json.loads(json.dumps(of_python.to_json(result))) for result in results]
    assert [json.loads(line) for line in objects.lines] == expected
    assert run(task, stdin="".join(f"{line}\n" for line in lines).encode()).lines == text.lines


def test_a_vector_is_written_so_that_it_reads_as_it_was(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vector = opened(tmp_path / "other", "embed", monkeypatch)("Paris is old")
    (line,) = run("embed", "Paris is old").lines
    (text,) = run("embed", "Paris is old", "--json").lines
    np.testing.assert_array_equal(np.array(line.split(" "), dtype=np.float32), vector)
    np.testing.assert_array_equal(np.array(json.loads(text)["embedding"], dtype=np.float32), vector)
    assert len(text) < 20 * WIDTH


def test_similarity_compares_the_two_texts_of_a_line(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = opened(tmp_path / "other", "embed", monkeypatch)
    assert isinstance(embed, Embedder)
    result = run("embed", "--similarity", "who\twho", "who\tis old", "who", "a\tb\tc")
    assert result.status == 1
    assert float(result.lines[0]) == pytest.approx(1.0)
    assert float(result.lines[1]) == pytest.approx(float(embed.similarity(["who"], ["is old"])[0, 0]))
    assert result.lines[2:] == ["", ""]
    assert "line 3: expected text<TAB>text, found no tabs" in result.stderr
    (found,) = run("embed", "--similarity", "--json", "who\twho").lines
    assert json.loads(found).keys() == {"similarity"}


KEYS = {
    "embed": {"embedding"},
    "classify": {"label", "score", "scores"},
    "tag": {"entities"},
    "answer": {"text", "start", "end", "score"},
    "fill": {"text", "masks"},
}


@pytest.mark.parametrize("task", KEYS)
def test_bad_lines_keep_their_places(run: Callable[..., Result], task: str) -> None:
    good = EXAMPLES[task][0].encode()
    stdin = b"\n".join([good, b"", b"caf\xe9", good, b""])
    text, objects = run(task, stdin=stdin), run(task, "--json", stdin=stdin)
    assert text.status == objects.status == 1
    assert (text.lines[1:3], text.lines[0]) == (["", ""], text.lines[3])
    keys = [json.loads(line).keys() for line in objects.lines]
    assert keys == [KEYS[task], {"error"}, {"error"}, KEYS[task]]
    assert [line.split(":")[0] for line in text.stderr.splitlines()] == ["line 2", "line 3"]


@pytest.mark.parametrize("task", EXAMPLES)
def test_no_lines_give_no_lines(run: Callable[..., Result], task: str) -> None:
    assert run(task) == (0, [], "")


@pytest.mark.parametrize(
    ("task", "arguments", "lines"),
    [
        ("classify", ["old", "--top-k", "2"], 2),
        ("answer", [QUESTION, "--top-k", "3"], 3),
        ("tag", ["Paris is old", "--aggregation", "none"], None),
        ("embed", ["Paris", "--pooling", "cls", "--normalize"], None),
        ("embed", ["Paris", "--no-normalize"], None),
        ("answer", [QUESTION, "--allow-no-answer", "--no-align-to-words", "--stride", "2", "--max-length", "10"], None),
        ("classify", ["old", "--function-to-apply", "none", "--threshold", "0.1"], None),
        ("fill", ["[MASK] is", "--top-k", "2"], None),
    ],
)
def test_options_reach_the_task(run: Callable[..., Result], task: str, arguments: list[str], lines: int | None) -> None:
    result = run(task, *arguments)
    assert (result.status, result.stderr, len(result.lines)) == (0, "", 1)
    if lines:
        assert len(result.lines[0].split("\t")) == lines


@pytest.mark.parametrize(
    ("task", "arguments", "parts"),
    [
        ("classify", ["--num-beams", "4"], ["--num-beams", "translate", "classify"]),
        ("embed", ["--aggregation", "max"], ["--aggregation", "tag", "embed"]),
        ("tag", ["--similarity"], ["--similarity", "embed", "tag"]),
        ("fill", ["--normalize"], ["--normalize", "embed", "fill"]),
        ("tag", ["--top-k", "2"], ["--top-k", "classify, answer, fill", "tag"]),
        ("classify", ["--top-k", "0"], ["top_k"]),
        ("answer", ["--max-length", "many"], ["max_length"]),
        ("embed", ["--pooling", "median"], ["pooling", "median"]),
    ],
)
def test_a_wrong_option_is_told(run: Callable[..., Result], task: str, arguments: list[str], parts: list[str]) -> None:
    result = run(task, "old", *arguments)
    assert (result.status, result.lines) == (2, [])
    assert all(part in result.stderr for part in parts), result.stderr


def test_help_shows_options_by_task(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    shown = capsys.readouterr().out
    sections = {part.split(":")[0]: part for part in shown.split("Options")[2:]}
    assert "--num-beams" in sections[" of translate, summarise, generate"]
    assert "--similarity" in sections[" of embed"]
    for task, meaning in (("classify", "labels"), ("answer", "answers"), ("fill", "candidates")):
        assert "--top-k" in sections[f" of {task}"]
        assert meaning in sections[f" of {task}"].lower()
    assert "--top-k" not in sections[" of embed"]


def test_a_task_of_a_later_version_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_bundle(tmp_path / "bundle", manifest("sing"))
    with pytest.raises(SystemExit) as ended:
        main(["run", str(folder), "la"])
    assert ended.value.code == 1
    assert "made to sing" in capsys.readouterr().err


def test_a_bundle_of_one_graph_runs_in_onnx_runtime(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """Without the numpy graph: the file, the session, `info`."""
    onnx = pytest.importorskip("onnx")
    table = np.arange(len(VOCABULARY) * 3, dtype=np.float32).reshape(-1, 3)
    both = [ports.ROWS, ports.SEQUENCE_LENGTH]
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", ports.INPUT_IDS], ["rows"]),
            helper.make_node("ReduceMean", ["rows", "axes"], [ports.LOGITS], keepdims=0),
        ],
        "classify",
        [helper.make_tensor_value_info(name, kinds.INT64, both) for name in (ports.INPUT_IDS, ports.ATTENTION_MASK)],
        [helper.make_tensor_value_info(ports.LOGITS, kinds.FLOAT, [ports.ROWS, 3])],
        [onnx.numpy_helper.from_array(table, "table"), onnx.numpy_helper.from_array(np.array([1]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    folder = write_bundle(tmp_path / "bundle", manifest("classify", 20, LABELS), model.SerializeToString())
    assert load(folder)(["old", ("who", "is")])[0].label == "neither"
    for arguments in (
        ["run", str(folder), "old", "--threads", "1"],
        ["info", str(folder), "--json", "-"],
        ["info", str(folder)],
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code
    shown = capsysbinary.readouterr().out.decode()
    assert shown.startswith("neither\n")
    facts, _ = json.JSONDecoder().raw_decode(shown.removeprefix("neither\n"))
    assert facts["labels"] == {"names": list(LABELS.names), "function": "softmax"}
    assert facts["graphs"].keys() == {ports.MODEL_FILE}
    assert "good" in shown.rsplit("}", 1)[-1]
