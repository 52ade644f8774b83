"""`diptych bench` on bundles of every task, and what it reads in graphs that others write."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bench_checks import QUICK, assert_generating, assert_plausible, assert_reading, bench, report_of
from onnx import TensorProto, helper, numpy_helper
from tasks.checkpoints import BERT, bert_tokenizer, byte_pairs, publish
from tasks.texts import TEXTS
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
)

from diptych.runtime.bench import rates
from diptych.runtime.bench.work import Work, work_of

READERS: dict[str, Any] = {
    "embed": BertModel,
    "classify": BertForSequenceClassification,
    "tag": BertForTokenClassification,
    "answer": BertForQuestionAnswering,
    "fill": BertForMaskedLM,
}


@pytest.fixture(autouse=True)
def small_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "BEYOND_CACHE", 8 << 20)


@pytest.fixture(scope="module", params=READERS)
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A task, and a bundle for it."""
    tokenizer = bert_tokenizer()
    model = READERS[request.param](BertConfig(vocab_size=len(tokenizer), **BERT))
    return request.param, publish(tmp_path_factory.mktemp("bench"), model, tokenizer, "--no-verify").bundle


def test_bundles_that_read(reader: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, bundle = reader
    report = report_of(capsys, bundle, *QUICK, "--batch", "1,3", "--length", "1,7")
    assert report["bundle"]["task"] == task
    assert [(cell["batch"], cell["length"]) for cell in report["cells"]] == [(1, 1), (1, 7), (3, 1), (3, 7)]
    for cell in report["cells"]:
        assert_reading(cell)
    assert report["bundle"]["work"]["model"]["multiply_adds"]["fp32"] >= 4 * 32 * 32 + 2 * 32 * 48

    line = {"answer": "Who?\t{}", "fill": "{} [MASK]"}.get(task, "{}")
    (tmp_path / "texts").write_text("".join(f"{line.format(text)}\n" for text in TEXTS), encoding="utf-8")
    (cell,) = report_of(capsys, bundle, *QUICK, "--batch", "4", "--texts", tmp_path / "texts")["cells"]
    assert (cell["texts"], cell["floor"]) == (len(TEXTS), None)
    assert_plausible(cell["texts_per_second"])
    assert not cell.keys() & {"beams", "tokens_per_second", "first_token_seconds"}

    assert bench(bundle, *QUICK, "--batch", "2") == 0
    out = capsys.readouterr().out
    assert "texts/s" in out
    assert "64" in out, "the model's positions bound the usual length"
    for arguments, told in (
        (["--beams", "4"], f"--beams is for bundles that generate; this one is made to {task}"),
        (["--new-tokens", "4"], "--new-tokens is for bundles that generate"),
        (["--length", "65"], "--length 65 does not fit: the model reads 64 tokens"),
    ):
        assert bench(bundle, *QUICK, *arguments) == 2
        assert told in capsys.readouterr().err


def test_a_language_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vocabulary, merges = byte_pairs(["<|endoftext|>"])
    config = GPT2Config(
        vocab_size=len(vocabulary), n_embd=32, n_layer=1, n_head=2, n_positions=40, bos_token_id=0, eos_token_id=0
    )
    model = GPT2LMHeadModel(config)
    model.generation_config.do_sample = True
    model.generation_config.eos_token_id = list(range(400))
    bundle = publish(tmp_path, model, GPT2Tokenizer(vocab=vocabulary, merges=merges), "--no-verify").bundle
    capsys.readouterr()  # What transformers tells when it saves.
    report = report_of(capsys, bundle, *QUICK, "--batch", "1,3", "--beams", "1,2")
    assert report["bundle"]["work"]["decoder"]["scoring"] == {"fp32": len(vocabulary) * 32}
    for cell in report["cells"]:
        assert (cell["source_length"], cell["new_tokens"]) == (20, 20)
        assert_generating(cell)
    assert bench(bundle, *QUICK, "--source-length", "38", "--new-tokens", "3") == 2
    assert "--new-tokens 3 does not fit: 2 of the decoder's 40 positions" in capsys.readouterr().err


def graph(path: Path, nodes: list[Any], tensors: dict[str, Any]) -> Path:
    """A graph of these nodes over these weights."""
    weights = [
        value if isinstance(value, TensorProto) else numpy_helper.from_array(value, name)
        for name, value in tensors.items()
    ]
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    onnx.save(helper.make_model(helper.make_graph(nodes, "graph", [port], [port], weights)), path)
    return path


def array(*shape: int, dtype: Any = np.float32) -> Any:
    return np.zeros(shape, dtype=dtype)


node = helper.make_node
WORKS: dict[str, tuple[list[Any], dict[str, Any], Work]] = {
    "a matrix, and a vector": (
        [node("MatMul", ["x", "w"], ["y"]), node("Add", ["y", "b"], ["z"])],
        {"w": array(4, 6), "b": array(6)},
        Work(30 * 4, {"fp32": 24}, {}),
    ),
    "a table": ([node("Gather", ["t", "x"], ["y"])], {"t": array(10, 4)}, Work(0, {}, {})),
    "a table that is the output, too": (
        [node("Gather", ["t", "x"], ["y"]), node("Transpose", ["t"], ["u"]), node("MatMul", ["y", "u"], ["z"])],
        {"t": array(10, 4)},
        Work(160, {}, {"fp32": 40}),
    ),
    "half precision": (
        [node("MatMul", ["x", "w"], ["y"])],
        {"w": array(4, 6, dtype=np.float16)},
        Work(48, {"fp32": 24}, {}),
    ),
    "eight bits, a scale for each channel": (
        [node("MatMulInteger", ["x", "w"], ["y"]), node("Mul", ["y", "s"], ["z"])],
        {"w": array(4, 6, dtype=np.int8), "s": array(1, 6)},
        Work(24 + 24, {"int8": 24}, {}),
    ),
    "four bits in blocks, the output": (
        [node("MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=32, N=10, bits=4, block_size=16)],
        {"w": array(10, 2, 8, dtype=np.uint8), "s": array(10, 2)},
        Work(160 + 80, {}, {"int8": 320}),
    ),
    "whole numbers are no weights": (
        [node("Add", ["x", "n"], ["y"])],
        {"n": array(3, 3, dtype=np.int64)},
        Work(0, {}, {}),
    ),
}


@pytest.mark.parametrize("case", WORKS)
def test_what_a_graph_must_do(case: str, tmp_path: Path) -> None:
    nodes, tensors, expected = WORKS[case]
    found = work_of(graph(tmp_path / "model.onnx", nodes, tensors), vocabulary=10)
    assert (found.size, dict(found.each), dict(found.scored)) == (expected.size, expected.each, expected.scored)
