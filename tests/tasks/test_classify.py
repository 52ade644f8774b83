"""classify: labels and scores equal those of transformers' text-classification pipeline."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tasks.checkpoints import BERT, DISTILBERT, ROBERTA, Published, bert_tokenizer, publish, roberta_tokenizer
from tasks.command import diptych, results
from tasks.texts import TEXTS
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    pipeline,
)

TOLERANCE = 1e-4
MOODS = {"id2label": {0: "sad", 1: "so, so", 2: "très gai"}, "label2id": {"sad": 0, "so, so": 1, "très gai": 2}}
LINES = [*TEXTS, *(f"{first}\t{second}" for first, second in zip(TEXTS, TEXTS[3:], strict=False))]


def bert(folder: Path, **settings: Any) -> Published:
    tokenizer = bert_tokenizer()
    model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **BERT, **settings))
    return publish(folder, model, tokenizer, strength=2.0)


def roberta(folder: Path, **settings: Any) -> Published:
    tokenizer = roberta_tokenizer()
    config = RobertaConfig(vocab_size=len(tokenizer), **ROBERTA, **settings)
    return publish(folder, RobertaForSequenceClassification(config), tokenizer, strength=2.0)


def distilbert(folder: Path, **settings: Any) -> Published:
    tokenizer = bert_tokenizer()
    config = DistilBertConfig(vocab_size=len(tokenizer), **DISTILBERT, **settings)
    return publish(folder, DistilBertForSequenceClassification(config), tokenizer, strength=2.0)


CASES: list[tuple[Callable[..., Published], dict[str, Any]]] = [
    (bert, MOODS),
    (roberta, MOODS | {"problem_type": "multi_label_classification"}),
    (distilbert, {"num_labels": 2, "problem_type": "single_label_classification"}),
    (distilbert, {"num_labels": 1, "problem_type": "regression"}),
    (bert, {"num_labels": 1}),
]


@pytest.fixture(scope="module", params=CASES, ids=["bert", "several at once", "distilbert", "regression", "one label"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    make, settings = request.param
    return make(tmp_path_factory.mktemp("classify"), **settings)


def expected(made: Published, **options: Any) -> list[dict[str, float]]:
    """For each line its labels with their scores, best first."""
    classify = pipeline("text-classification", model=made.model, tokenizer=made.tokenizer, device="cpu")
    inputs = [dict(zip(("text", "text_pair"), line.split("\t"), strict=False)) for line in LINES]
    return [{item["label"]: item["score"] for item in classify(text, top_k=None, **options)} for text in inputs]


def test_labels_and_scores(made: Published) -> None:
    objects, theirs = results(made.bundle, "--batch-size", "4", *LINES), expected(made)
    for ours, scores in zip(objects, theirs, strict=True):
        assert list(ours["scores"]) == list(scores)
        assert ours["scores"] == pytest.approx(scores, abs=TOLERANCE)
        assert (ours["label"], ours["score"]) == next(iter(ours["scores"].items()))
    spread = {round(score, 2) for scores in theirs for score in scores.values()}
    assert len(spread) > 8, "the texts are all alike: nothing could be told apart"


def test_lines_tell_the_best_label_or_all_that_hold(made: Published) -> None:
    finished = diptych("run", made.bundle, stdin="".join(f"{line}\n" for line in LINES))
    assert (finished.status, finished.stderr) == (0, "")
    several = made.model.config.problem_type == "multi_label_classification"
    for line, scores in zip(finished.lines, expected(made), strict=True):
        holding = [label for label, score in scores.items() if score >= 0.5] if several else list(scores)[:1]
        assert line == "\t".join(holding)


@pytest.mark.parametrize("function", ["sigmoid", "softmax", "none"])
def test_scores_as_the_call_says(made: Published, function: str) -> None:
    objects = results(made.bundle, "--function-to-apply", function, *LINES)
    for ours, scores in zip(objects, expected(made, function_to_apply=function), strict=True):
        assert ours["scores"] == pytest.approx(scores, abs=TOLERANCE)


def test_lines_that_cannot_be_read_keep_their_places(made: Published) -> None:
    lines = ["Hello!", "", "one\ttwo\tthree", "one\t", " ".join(TEXTS), "Hello!"]
    stdin = "".join(f"{line}\n" for line in lines)
    finished = diptych("run", made.bundle, stdin=stdin)
    assert finished.status == 1
    assert finished.lines == [finished.lines[0], "", "", "", "", finished.lines[0]]
    told = finished.stderr.splitlines()
    assert [line.split(":")[0] for line in told] == ["line 2", "line 3", "line 4", "line 5"]
    assert "the text is empty" in told[0]
    assert "expected text<TAB>text, found 2 tabs" in told[1]
    assert "the second text is empty" in told[2]
    assert "too long" in told[3]
    assert "the model reads 64" in told[3]
    objects = [json.loads(line) for line in diptych("run", made.bundle, "--json", stdin=stdin).lines]
    assert [list(item) for item in objects[1:5]] == [["error"]] * 4
    assert objects[0] == objects[5] == results(made.bundle, "Hello!")[0]
