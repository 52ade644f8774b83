"""tag: entities equal those of transformers' token-classification pipeline."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tasks.checkpoints import BERT, ROBERTA, Published, bert_tokenizer, publish, roberta_tokenizer, sentence_pieces
from tasks.command import diptych, results
from tasks.texts import LINES, TEXTS
from transformers import (
    BertConfig,
    BertForTokenClassification,
    RobertaConfig,
    RobertaForTokenClassification,
    XLMRobertaConfig,
    XLMRobertaForTokenClassification,
    pipeline,
)

TOLERANCE = 1e-4
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]
NAMES = {"id2label": dict(enumerate(TAGS)), "label2id": {name: number for number, name in enumerate(TAGS)}}
AGGREGATIONS = ["none", "simple", "first", "average", "max"]


def bert(folder: Path) -> Published:
    tokenizer = bert_tokenizer(lowercase=False)
    config = BertConfig(vocab_size=len(tokenizer), **BERT, **NAMES)
    return publish(folder, BertForTokenClassification(config), tokenizer)


def roberta(folder: Path) -> Published:
    tokenizer = roberta_tokenizer()
    config = RobertaConfig(vocab_size=len(tokenizer), **ROBERTA, **NAMES)
    return publish(folder, RobertaForTokenClassification(config), tokenizer)


def xlm_roberta(folder: Path) -> Published:
    """With the file that its tokenizer came with."""
    pieces = sentence_pieces(folder / "checkpoint" / "sentencepiece.bpe.model")
    # One more at the beginning, and a mask at the end.
    config = XLMRobertaConfig(vocab_size=len(pieces) + 2, **ROBERTA, **NAMES)
    return publish(folder, XLMRobertaForTokenClassification(config))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return bert(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="module", params=[roberta, xlm_roberta])
def spaced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return request.param(tmp_path_factory.mktemp("spaced"))


def reference(made: Published, aggregation: str) -> Any:
    return pipeline(
        "token-classification",
        model=made.model,
        tokenizer=made.tokenizer,
        aggregation_strategy=aggregation,
        device="cpu",
    )


def check(made: Published, lines: list[str], aggregation: str) -> None:
    objects = results(made.bundle, "--batch-size", "4", "--aggregation", aggregation, *lines)
    tag, key = reference(made, aggregation), "entity" if aggregation == "none" else "entity_group"
    told = set()
    for line, ours in zip(lines, objects, strict=True):
        theirs = [(it[key], *visible(line, it["start"], it["end"]), it["score"]) for it in tag(line)]
        # Tokens of nothing but a space are entities there; nobody could see them.
        theirs = [(label, start, end, score) for label, start, end, score in theirs if start < end]
        found = [(it["label"], it["start"], it["end"]) for it in ours["entities"]]
        assert found == [entity[:3] for entity in theirs], line
        assert [it["score"] for it in ours["entities"]] == pytest.approx([it[3] for it in theirs], abs=TOLERANCE)
        assert [it["text"] for it in ours["entities"]] == [line[start:end] for _, start, end in found]
        told |= {(it["label"], round(it["score"], 2)) for it in ours["entities"]}
    assert len(told) > 10, "all tokens are alike: nothing could be told apart"


def visible(line: str, start: int, end: int) -> tuple[int, int]:
    """Without white space around it."""
    text = line[start:end]
    return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_entities_of_words_in_pieces(words: Published, aggregation: str) -> None:
    check(words, [*TEXTS, *LINES], aggregation)


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_entities_of_words_that_spaces_part(spaced: Published, aggregation: str) -> None:
    check(spaced, [*TEXTS, *LINES], aggregation)


def test_lines_are_labels_and_words(words: Published) -> None:
    finished = diptych("run", words.bundle, *TEXTS)
    assert (finished.status, finished.stderr) == (0, "")
    tag = reference(words, "simple")
    for text, line in zip(TEXTS, finished.lines, strict=True):
        theirs = [(it["entity_group"], text[it["start"] : it["end"]]) for it in tag(text)]
        assert line == "\t".join(f"{label}:{word}" for label, word in theirs)


def test_a_text_longer_than_the_positions(words: Published) -> None:
    """Each token has the label of the window, of those that share a quarter, whose middle is nearest."""
    longest = BERT["max_position_embeddings"]
    text = " ".join(LINES)
    ids = words.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    room, total = longest - 2, len(ids.input_ids)
    starts = [*range(0, total - room, room - longest // 4), total - room]
    middles = [start + room / 2 for start in starts]
    scores = np.stack([window_scores(words, ids.input_ids[start : start + room]) for start in starts])
    entities = []
    for place, (start, end) in enumerate(ids.offset_mapping):
        # Between two, the later one.
        nearest = min(reversed(range(len(starts))), key=lambda number: abs(place + 0.5 - middles[number]))
        row = scores[nearest, place - starts[nearest]]
        if row.argmax():
            entities.append((TAGS[row.argmax()], start, end, row.max()))
    (ours,) = results(words.bundle, "--aggregation", "none", text)
    assert [(it["label"], it["start"], it["end"]) for it in ours["entities"]] == [entity[:3] for entity in entities]
    assert [it["score"] for it in ours["entities"]] == pytest.approx([it[3] for it in entities], abs=TOLERANCE)
    assert len(starts) > 3


def window_scores(made: Published, content: list[int]) -> np.ndarray[Any, Any]:
    first, last = made.tokenizer("").input_ids
    with torch.no_grad():
        logits = made.model(torch.tensor([[first, *content, last]])).logits
    return logits[0, 1:-1].softmax(-1).numpy()
