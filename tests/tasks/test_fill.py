"""fill: candidates and texts equal those of transformers' fill-mask pipeline."""

from pathlib import Path
from typing import Any

import pytest
from tasks.checkpoints import BERT, ROBERTA, Published, bert_tokenizer, publish, roberta_tokenizer
from tasks.command import diptych, results
from tasks.texts import TEXTS
from transformers import BertConfig, BertForMaskedLM, RobertaConfig, RobertaForMaskedLM, pipeline

TOLERANCE = 1e-4


def bert(folder: Path) -> Published:
    tokenizer = bert_tokenizer()
    return publish(folder, BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **BERT)), tokenizer, strength=3.0)


def roberta(folder: Path) -> Published:
    tokenizer = roberta_tokenizer()
    model = RobertaForMaskedLM(RobertaConfig(vocab_size=len(tokenizer), **ROBERTA))
    return publish(folder, model, tokenizer, strength=3.0)


@pytest.fixture(scope="module", params=[bert, roberta])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return request.param(tmp_path_factory.mktemp("fill"))


def masked(mask: str) -> list[str]:
    """A mask before each text, glued to it or not, and after it; and several masks."""
    return [
        *(f"{mask} {text}" for text in TEXTS),
        *(f"{text}{mask}" for text in TEXTS),
        f"{mask}{mask} of  the {mask}.",
        mask,
    ]


@pytest.mark.parametrize("top_k", [1, 5, 300])
def test_candidates_and_texts(made: Published, top_k: int) -> None:
    lines = masked(made.tokenizer.mask_token)
    reference = pipeline("fill-mask", model=made.model, tokenizer=made.tokenizer, device="cpu")
    objects = results(made.bundle, "--batch-size", "5", "--top-k", str(top_k), *lines)
    best = set()
    for line, ours in zip(lines, objects, strict=True):
        theirs: list[Any] = reference(line, top_k=min(top_k, made.model.config.vocab_size))
        if line.count(made.tokenizer.mask_token) == 1:
            assert ours["text"] == theirs[0]["sequence"]
            theirs = [theirs]
        for mask, candidates in zip(ours["masks"], theirs, strict=True):
            assert [(one["id"], one["token"]) for one in mask] == [(it["token"], it["token_str"]) for it in candidates]
            assert [one["score"] for one in mask] == pytest.approx([it["score"] for it in candidates], abs=TOLERANCE)
            best.add(mask[0]["id"])
    assert len(best) > 5, "all masks are filled alike: nothing could be told apart"


def test_lines_are_the_texts(made: Published) -> None:
    lines = masked(made.tokenizer.mask_token)
    finished = diptych("run", made.bundle, *lines)
    assert (finished.status, finished.stderr) == (0, "")
    assert finished.lines == [item["text"] for item in results(made.bundle, *lines)]


def test_a_text_without_a_mask_keeps_its_place(made: Published) -> None:
    mask = made.tokenizer.mask_token
    finished = diptych("run", made.bundle, f"a {mask}", "Hello!", f"a {mask}")
    assert (finished.status, finished.lines[1]) == (1, "")
    assert finished.lines[0] == finished.lines[2] != ""
    assert f"line 2: nothing to fill: the text has no {mask}" in finished.stderr
