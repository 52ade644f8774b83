"""The executable, in a process of its own; and what cannot be done, told in one message."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tasks.checkpoints import BERT, bert_tokenizer, save
from tasks.command import Finished
from tasks.command import diptych as in_process
from tasks.texts import TEXTS
from transformers import BertConfig, BertForTokenClassification, BertModel, BertTokenizer

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint."""
    folder = tmp_path_factory.mktemp("command") / "tagger"
    tokenizer = bert_tokenizer()
    save(folder, BertForTokenClassification(BertConfig(vocab_size=len(tokenizer), **BERT, num_labels=3)), tokenizer)
    return folder


@pytest.fixture(scope="module")
def embedder(tagger: Path, diptych: Run) -> Path:
    """The checkpoint as a bundle for another task than it was made for."""
    finished = diptych("export", "tagger", "made/embedder", "--task", "embed", cwd=tagger.parent)
    assert (finished.returncode, finished.stderr) == (0, "")
    return tagger.parent / "made" / "embedder"


def test_the_executable_gives_what_transformers_gives(embedder: Path, tagger: Path, diptych: Run) -> None:
    (embedder.parent / "texts").write_text("".join(f"{text}\n" for text in TEXTS), encoding="utf-8")
    arguments = ["--json", "--no-normalize", "--input", "texts", "--output", "vectors", "--threads", "1"]
    finished = diptych("run", "embedder", *arguments, cwd=embedder.parent)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
    model, tokenizer = BertModel.from_pretrained(tagger).eval(), BertTokenizer.from_pretrained(tagger)
    lines = (embedder.parent / "vectors").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    for text, line in zip(TEXTS, lines, strict=True):
        with torch.no_grad():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        assert json.loads(line)["embedding"] == pytest.approx(states[0].mean(dim=0).tolist(), abs=1e-5)


def assert_told(finished: Finished, status: int, *parts: str) -> None:
    assert (finished.status, finished.lines) == (status, []), finished
    assert finished.stderr.count("Error:") == 1
    assert "Traceback" not in finished.stderr
    for part in parts:
        assert part in finished.stderr


@pytest.mark.parametrize("task", ["translate", "generate", "classify", "answer", "fill"])
def test_a_task_that_the_checkpoint_cannot_do(tagger: Path, tmp_path: Path, task: str) -> None:
    finished = in_process("export", tagger, tmp_path / "bundle", "--task", task)
    assert_told(finished, 1, task, "this checkpoint supports --task tag, embed")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--num-beams", "4"], ["--num-beams is an option of translate, summarise, generate", "made to embed"]),
        (["--aggregation", "max"], ["--aggregation is an option of tag", "made to embed"]),
        (["--target-lang", "fra"], ["--target-lang is an option of translate, summarise, generate", "made to embed"]),
        (["--pooling", "median"], ["pooling is 'median'; expected one of mean, cls, max, last"]),
        (["--colour", "red"], ["--colour"]),
        (["--provider", "abacus"], ["abacus"]),
    ],
    ids=" ".join,
)
def test_an_option_that_is_none_here(embedder: Path, arguments: list[str], parts: list[str]) -> None:
    assert_told(in_process("run", embedder, "Hello!", *arguments), 2, *parts)


def test_a_bundle_without_a_tokenizer(tagger: Path, tmp_path: Path) -> None:
    shutil.copytree(tagger, tmp_path / "checkpoint", ignore=shutil.ignore_patterns("tokenizer*"))
    assert in_process("export", tmp_path / "checkpoint", tmp_path / "bundle", "--no-verify").status == 0
    finished = in_process("run", tmp_path / "bundle", "Hello!")
    assert_told(finished, 1, "tokenizer.json: missing, so this bundle reads no text")
