"""answer: spans equal those that a plain search finds in the logits of transformers' models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tasks.checkpoints import (
    BERT,
    DISTILBERT,
    ROBERTA,
    Published,
    bert_tokenizer,
    publish,
    roberta_tokenizer,
    word_pieces,
)
from tasks.command import diptych, results
from tasks.texts import LINES, TEXTS
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    RobertaConfig,
    RobertaForQuestionAnswering,
)

TOLERANCE = 1e-4
Spans = dict[tuple[int, int], float]  # Characters to scores.
POSITIONS, LONGEST_ANSWER, STRIDE = 64, 15, 128
PAIRS = [
    *(("Où est la gare?", text) for text in TEXTS),
    *((text, LINES[1]) for text in TEXTS),
    ("Who smiles  😀?", " ".join(LINES)),
    ("首都?", "  ".join([*TEXTS, *LINES])),
]


def bert(folder: Path) -> Published:
    """With the file that BERT's tokenizer came with."""
    vocabulary = word_pieces()
    (folder / "checkpoint").mkdir()
    (folder / "checkpoint" / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)))
    return publish(folder, BertForQuestionAnswering(BertConfig(vocab_size=len(vocabulary), **BERT)))


def roberta(folder: Path) -> Published:
    tokenizer = roberta_tokenizer()
    return publish(folder, RobertaForQuestionAnswering(RobertaConfig(vocab_size=len(tokenizer), **ROBERTA)), tokenizer)


def distilbert(folder: Path) -> Published:
    tokenizer = bert_tokenizer(lowercase=False)
    config = DistilBertConfig(vocab_size=len(tokenizer), **DISTILBERT)
    return publish(folder, DistilBertForQuestionAnswering(config), tokenizer)


@pytest.fixture(scope="module", params=[bert, roberta, distilbert])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return request.param(tmp_path_factory.mktemp("answer"))


def windows(encoding: Any, longest: int, stride: int) -> Iterator[np.ndarray[Any, Any]]:
    """Places of the question with so many tokens of the context as there is room for; the last ends where it does."""
    context = [place for place, part in enumerate(encoding.sequence_ids()) if part == 1]
    before, after = np.arange(context[0]), np.arange(context[-1] + 1, len(encoding.input_ids))
    room = longest - len(before) - len(after)
    starts = range(0, len(context) - room, room - min(stride, room // 2))
    for start in [*starts, max(len(context) - room, 0)]:
        yield np.concatenate([before, context[start : start + room], after])


def spans(
    made: Published, question: str, context: str, longest: int = POSITIONS, stride: int = STRIDE, whole: bool = True
) -> tuple[Spans, float]:
    """Scores of all answers, and the least score of there being none. whole: answers are of whole words."""
    encoding = made.tokenizer(question, context, return_offsets_mapping=True)
    rows = {name: np.array(values) for name, values in encoding.items()}
    offsets, words, parts = rows.pop("offset_mapping"), encoding.word_ids(), encoding.sequence_ids()
    scores: Spans = {}
    none = 1.0
    for places in windows(encoding, longest, stride):
        with torch.no_grad():
            found = made.model(**{name: torch.from_numpy(values[places])[None] for name, values in rows.items()})
        inside = [number for number, place in enumerate(places) if parts[place] == 1]
        begin, end = (
            dict(zip([0, *inside], logits[0, [0, *inside]].softmax(-1).tolist(), strict=True))
            for logits in (found.start_logits, found.end_logits)
        )
        none = min(none, begin[0] * end[0])
        word = {number: words[places[number]] if whole else number for number in inside}
        of_word = {number: [other for other in inside if word[other] == word[number]] for number in inside}
        for first in inside:
            for last in range(first, min(first + LONGEST_ANSWER, inside[-1] + 1)):
                start, stop = offsets[places[of_word[first][0]]][0], offsets[places[of_word[last][-1]]][1]
                if start < stop:
                    scores[start, stop] = max(scores.get((start, stop), 0.0), begin[first] * end[last])
    return scores, none


def lines(pairs: list[tuple[str, str]]) -> list[str]:
    return ["\t".join(pair) for pair in pairs]


def check(ours: dict[str, Any], context: str, span: tuple[int, int], score: float) -> None:
    assert (ours["start"], ours["end"]) == span
    assert ours["text"] == context[span[0] : span[1]]
    assert ours["score"] == pytest.approx(score, abs=TOLERANCE)


def best(scores: Spans, count: int = 1) -> list[tuple[tuple[int, int], float]]:
    return sorted(scores.items(), key=lambda item: -item[1])[:count]


def test_the_best_answers(made: Published) -> None:
    objects = results(made.bundle, "--batch-size", "4", "--top-k", "3", *lines(PAIRS))
    lengths = set()
    for (question, context), ours in zip(PAIRS, objects, strict=True):
        scores, _ = spans(made, question, context)
        found = ours.get("answers", [ours])
        for answer, (span, score) in zip(found, best(scores, 3), strict=True):
            check(answer, context, span, score)
        lengths.add(found[0]["end"] - found[0]["start"])
    assert len(lengths) > 5, "all answers are alike: nothing could be told apart"


@pytest.mark.parametrize(("longest", "stride"), [(40, 10), (50, 0), (1000, 1000)])
def test_windows_on_a_long_context(made: Published, longest: int, stride: int) -> None:
    pairs = PAIRS[-2:]
    objects = results(made.bundle, "--max-length", str(longest), "--stride", str(stride), *lines(pairs))
    for (question, context), ours in zip(pairs, objects, strict=True):
        scores, _ = spans(made, question, context, min(longest, POSITIONS), stride)
        check(ours, context, *best(scores)[0])


def test_no_answer_where_the_first_token_is_likelier(made: Published) -> None:
    objects = results(made.bundle, "--allow-no-answer", *lines(PAIRS))
    for (question, context), ours in zip(PAIRS, objects, strict=True):
        scores, none = spans(made, question, context)
        check(ours, context, *best(scores | {(0, 0): none})[0])
    if made.model.config.model_type == "bert":
        assert 0 < [it["text"] for it in objects].count("") < len(objects)


def test_parts_of_words(made: Published) -> None:
    objects = results(made.bundle, "--no-align-to-words", *lines(PAIRS))
    for (question, context), ours in zip(PAIRS, objects, strict=True):
        check(ours, context, *best(spans(made, question, context, whole=False)[0])[0])


def test_lines_are_the_answers(made: Published) -> None:
    finished = diptych("run", made.bundle, stdin="".join(f"{line}\n" for line in lines(PAIRS)))
    assert (finished.status, finished.stderr) == (0, "")
    assert finished.lines == [item["text"] for item in results(made.bundle, *lines(PAIRS))]
