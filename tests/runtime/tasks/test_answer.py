"""Answers are parts of the context: of short ones, of long ones, of none."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from readers import VOCABULARY, RowGraph, manifest, parts, projected

from diptych.runtime import ports
from diptych.runtime.errors import InputError, OptionError
from diptych.runtime.graph import Array
from diptych.runtime.tasks.answer import Answerer

QUESTION = "Who is old?"
CONTEXT = "The Café  is the capitals 😀 of France, very old."


def make(folder: Path, row: Any = None, positions: int | None = None) -> Answerer:
    both = row or projected(2)
    outputs = {
        name: ((ports.SEQUENCE_LENGTH,), lambda ids, types, column=column: both(ids, types)[:, column])
        for column, name in enumerate((ports.START_LOGITS, ports.END_LOGITS))
    }
    return Answerer(*parts(folder, RowGraph(outputs), manifest("answer", positions)))


def at(*marks: tuple[str, int, float]) -> Any:
    """Logits (start and end) that are raised for some pieces of the context, and for [CLS]."""

    def row(ids: Array, types: Array) -> Array:
        logits = np.zeros((len(ids), 2))
        for piece, column, value in marks:
            logits[(ids == VOCABULARY[piece]) & ((types == 1) | (piece == "[CLS]")), column] = value
        return logits

    return row


def test_the_answer_is_a_part_of_the_context(tmp_path: Path) -> None:
    found = make(tmp_path, at(("cafe", 0, 9.0), ("cap", 1, 9.0)))(QUESTION, CONTEXT)
    assert found.text == "Café  is the capitals" == CONTEXT[found.start : found.end]
    assert 0.9 < found.score <= 1
    assert (type(found.start), type(found.end), type(found.score)) == (int, int, float)


def test_words_may_be_left_broken(tmp_path: Path) -> None:
    answer = make(tmp_path, at(("##ital", 0, 9.0), ("##ital", 1, 9.0)))
    assert answer(QUESTION, CONTEXT).text == "capitals"
    assert answer(QUESTION, CONTEXT, align_to_words=False).text == "ital"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("longest", [1, 3, 15])
def test_the_score_is_the_likeliest_start_and_end(seed: int, longest: int, tmp_path: Path) -> None:
    values = np.random.default_rng(seed).normal(0, 2, (100, 2))
    answer = make(tmp_path, lambda ids, types: values[: len(ids)])
    tokens = answer.tokenizer.read(QUESTION, CONTEXT)
    context = [place for place, part in enumerate(tokens.parts) if part == 1]
    logits = values[: len(tokens.ids)][[0, *context]]
    starts, ends = (np.exp(logits) / np.exp(logits).sum(axis=0)).T
    expected = {
        (tokens.offsets[context[i]][0], tokens.offsets[context[j]][1]): starts[i + 1] * ends[j + 1]
        for i, j in product(range(len(context)), repeat=2)
        if i <= j < i + longest
    }
    ranked = sorted(expected.items(), key=lambda item: -item[1])
    found = answer(QUESTION, CONTEXT, top_k=4, max_answer_tokens=longest, align_to_words=False)
    assert [(span.start, span.end) for span in found.answers] == [span for span, _ in ranked[:4]]
    assert [span.score for span in found.answers] == pytest.approx([score for _, score in ranked[:4]])
    assert (found.text, found.score) == (found.answers[0].text, found.answers[0].score)
    none = answer(QUESTION, CONTEXT, top_k=1000, allow_no_answer=True, align_to_words=False).answers
    assert [span.score for span in none if span.text == ""] == pytest.approx([starts[0] * ends[0]])


def test_no_answer_wins_only_where_it_may(tmp_path: Path) -> None:
    answer = make(tmp_path, at(("[CLS]", 0, 9.0), ("[CLS]", 1, 9.0), ("cafe", 0, 2.0), ("cafe", 1, 2.0)))
    assert answer(QUESTION, CONTEXT).text == "Café"
    found = answer(QUESTION, CONTEXT, allow_no_answer=True)
    assert (found.text, found.start, found.end) == ("", 0, 0)
    assert found.score > 0.9


def words(count: int, where: int) -> str:
    """A long context with one word unlike the others."""
    return " ".join(["old"] * where + ["Paris"] + ["very"] * (count - where - 1))


@pytest.mark.parametrize("where", [0, 17, 18, 19, 100, 180, 199])
@pytest.mark.parametrize("options", [{"max_length": 30, "stride": 8}, {"max_length": 30, "stride": 0}, {}])
def test_an_answer_is_found_wherever_it_stands(where: int, options: dict[str, int], tmp_path: Path) -> None:
    answer = make(tmp_path, at(("paris", 0, 9.0), ("paris", 1, 9.0), ("[CLS]", 0, 6.0), ("[CLS]", 1, 6.0)), 64)
    context = words(200, where)
    found = answer(QUESTION, context, **options)
    assert (found.text, found.start) == ("Paris", context.index("Paris"))
    assert answer(QUESTION, context, top_k=3, **options).answers[0] == found.answers[0]


def test_windows_are_as_long_as_asked_and_share_what_is_asked(tmp_path: Path) -> None:
    answer = make(tmp_path, positions=64)
    answer((QUESTION, words(200, 3)), max_length=30, stride=8)
    graph: Any = answer.encoder.graph
    # [CLS] who is old ? [SEP] … [SEP] leaves 23 places; 200 words in steps of 15.
    assert graph.runs == [(13, 30)]
    graph.runs.clear()
    answer((QUESTION, words(200, 3)), max_length=1000, batch_size=1)
    assert {shape[1] for shape in graph.runs} == {64}


def test_a_question_that_leaves_no_room_is_refused(tmp_path: Path) -> None:
    answer = make(tmp_path, positions=20)
    with pytest.raises(InputError, match=r"the question is too long: 33 tokens leave no room .* of 20"):
        answer("old " * 30, CONTEXT)
    with pytest.raises(InputError, match="of 7"):
        answer(QUESTION, CONTEXT, max_length=7)
    assert answer(QUESTION, CONTEXT, max_length=8).text


def test_order_batches_and_bad_pairs(tmp_path: Path) -> None:
    answer = make(tmp_path, positions=24)
    pairs: list[Any] = [
        (QUESTION, words(90, 5)), ("who?", CONTEXT), ("", CONTEXT), (QUESTION, " "), "who?", ("a", "b", "c"),
        ("where is paris?", words(9, 3)),
    ]  # fmt: skip
    found = answer.attempt(pairs, batch_size=3)
    assert [isinstance(item, InputError) for item in found] == [False, False, *[True] * 4, False]
    assert [answer(pair) for pair in (pairs[0], pairs[1], pairs[-1])] == [found[0], found[1], found[-1]]
    assert answer([]) == []


@pytest.mark.parametrize(
    "options",
    [{"top_k": 0}, {"max_answer_tokens": 0}, {"max_length": 1.5}, {"stride": -1}, {"allow_no_answer": "yes"},
     {"handle_impossible_answer": True}],
)  # fmt: skip
def test_a_wrong_option_is_told(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        make(tmp_path).check_options(**options)
