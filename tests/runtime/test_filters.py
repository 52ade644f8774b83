"""Each filter against a loop that says what it means, on random histories."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fakes import FakeDecoder

from diptych.runtime import filters
from diptych.runtime.decoder import Sources
from diptych.runtime.errors import OptionError
from diptych.runtime.generation.filters import make_filters
from diptych.runtime.generation.history import History
from diptych.runtime.generation.loop import generate
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.strategies import Beam, Greedy
from diptych.runtime.graph import Array

VOCAB = 9
EOS = (1, 7)
LIMIT = 12
INF = float("inf")
Row = list[float]
Reference = Callable[[list[int], Row], Row]


def random_case(seed: int, length: int, rows: int = 5) -> tuple[History, Array]:
    """Few distinct tokens, so that they repeat; scores of both signs."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, VOCAB, (rows, length))
    ids[: rows // 2] %= 3
    scores = generator.normal(size=(rows, VOCAB)).astype(np.float32)
    scores[-1, 4] = -INF
    return History(ids, 1, np.full(rows, LIMIT - 1)), scores


def apply_all(options: dict[str, Any], history: History, scores: Array) -> Array:
    result = scores.copy()
    for apply in make_filters(GenerationOptions.from_mapping(options), EOS, VOCAB):
        apply(history, result)
    return result


def forbidden(row: Row, tokens: Any) -> Row:
    return [-INF if token in tokens else score for token, score in enumerate(row)]


def forced(tokens: list[int]) -> Row:
    return [0.0 if token in tokens else -INF for token in range(VOCAB)]


def penalise(ids: list[int], row: Row) -> Row:
    return [score if token not in ids else score * 1.7 if score < 0 else score / 1.7 for token, score in enumerate(row)]


def no_repeats(size: int) -> Reference:
    def apply(ids: list[int], row: Row) -> Row:
        found = [ids[start : start + size] for start in range(len(ids) - size + 1)]
        recent = ids[len(ids) - size + 1 :] if size > 1 else []
        return [-INF if [*recent, token] in found else score for token, score in enumerate(row)]

    return apply


def without_words(words: list[list[int]]) -> Reference:
    def apply(ids: list[int], row: Row) -> Row:
        bad = {word[-1] for word in words if len(word) == 1 or ids[-len(word) + 1 :] == word[:-1]}
        return forbidden(row, bad)

    return apply


REFERENCES: list[tuple[dict[str, Any], Reference]] = [
    ({}, lambda ids, row: row),
    ({"repetition_penalty": 1.7}, penalise),
    ({"no_repeat_ngram_size": 1}, no_repeats(1)),
    ({"no_repeat_ngram_size": 2}, no_repeats(2)),
    ({"no_repeat_ngram_size": 3}, no_repeats(3)),
    ({"bad_words_ids": [[2], [0, 3], [1, 0, 5], [2, 2]]}, without_words([[2], [0, 3], [1, 0, 5], [2, 2]])),
    ({"bad_words_ids": [[1], [7], [3]]}, without_words([[3]])),  # A single EOS is not a bad word.
    ({"bad_words_ids": [[0, 1]]}, without_words([[0, 1]])),  # A longer one that ends in it is.
    ({"suppress_tokens": [0, 5]}, lambda ids, row: forbidden(row, (0, 5))),
    ({"begin_suppress_tokens": [2, 3]}, lambda ids, row: forbidden(row, (2, 3)) if len(ids) == 1 else row),
    (
        {"begin_suppress_tokens": [2, 3], "forced_bos_token_id": 4},
        lambda ids, row: forced([4]) if len(ids) == 1 else forbidden(row, (2, 3)) if len(ids) == 2 else row,
    ),
    ({"forced_bos_token_id": 4}, lambda ids, row: forced([4]) if len(ids) == 1 else row),
    ({"forced_bos_token_id": 0}, lambda ids, row: forced([0]) if len(ids) == 1 else row),
    ({"forced_eos_token_id": 7}, lambda ids, row: forced([7]) if len(ids) == LIMIT - 1 else row),
    ({"forced_eos_token_id": [1, 7]}, lambda ids, row: forced([1, 7]) if len(ids) == LIMIT - 1 else row),
    ({"min_length": 4}, lambda ids, row: forbidden(row, EOS) if len(ids) < 4 else row),
    ({"min_new_tokens": 4}, lambda ids, row: forbidden(row, EOS) if len(ids) < 5 else row),
    ({"min_new_tokens": 2, "min_length": 9}, lambda ids, row: forbidden(row, EOS) if len(ids) < 3 else row),
    ({"min_length": 1}, lambda ids, row: row),
]


@pytest.mark.parametrize(("options", "reference"), REFERENCES, ids=[str(options) for options, _ in REFERENCES])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, LIMIT - 1])
def test_a_filter_does_what_a_loop_does(options: dict[str, Any], reference: Reference, length: int) -> None:
    for seed in range(4):
        history, scores = random_case(seed, length)
        result = apply_all(options, history, scores)
        expected = [reference(ids, row) for ids, row in zip(history.ids.tolist(), scores.tolist(), strict=True)]
        np.testing.assert_allclose(result, np.array(expected), rtol=1e-6)
        assert result.dtype == np.float32


def test_the_random_histories_have_repeats() -> None:
    found = 0
    for seed in range(4):
        history, scores = random_case(seed, LIMIT - 1)
        scores[:] = 0.0
        found += int((apply_all({"no_repeat_ngram_size": 2}, history, scores) == -INF).sum())
    assert found > 10


def test_a_penalised_token_is_penalised_once_however_often_it_occurs() -> None:
    history = History(np.array([[0, 2, 2, 2, 3]]), 1, np.array([LIMIT]))
    result = apply_all({"repetition_penalty": 2.0}, history, np.array([[4, 4, 4, -4, 4, 4, 4, 4, 4]], dtype=np.float32))
    assert result.tolist() == [[2, 4, 2, -8, 4, 4, 4, 4, 4]]


@pytest.mark.parametrize(
    ("options", "length", "expected"),
    [
        # Forcing forgets what was forbidden before it: repeats, bad words, an early EOS.
        ({"no_repeat_ngram_size": 1, "forced_bos_token_id": 2}, 1, forced([2])),
        ({"bad_words_ids": [[2]], "forced_bos_token_id": 2}, 1, forced([2])),
        ({"min_length": 5, "forced_bos_token_id": 1}, 1, forced([1])),
        ({"min_length": 50, "forced_eos_token_id": 1}, LIMIT - 1, forced([1])),
        ({"repetition_penalty": 5.0, "forced_eos_token_id": 7}, LIMIT - 1, forced([7])),
        # Suppressing comes after forcing, and wins.
        ({"suppress_tokens": [2], "forced_bos_token_id": 2}, 1, forced([])),
        ({"suppress_tokens": [1], "forced_eos_token_id": [1, 7]}, LIMIT - 1, forced([7])),
    ],
)
def test_filters_apply_in_the_order_of_transformers(options: dict[str, Any], length: int, expected: Row) -> None:
    history, scores = random_case(1, length)
    history.ids[:, -1] = 2
    assert apply_all(options, history, scores).tolist() == [expected] * len(scores)


def test_a_penalty_comes_before_what_forbids() -> None:
    history, scores = random_case(2, 6)
    both = apply_all({"repetition_penalty": 1.7, "suppress_tokens": [3]}, history, scores)
    expected = [forbidden(penalise(*case), (3,)) for case in zip(history.ids.tolist(), scores.tolist(), strict=True)]
    np.testing.assert_allclose(both, np.array(expected), rtol=1e-6)


def test_filters_edit_logits_under_greedy_and_log_probabilities_under_beams() -> None:
    logits = np.random.default_rng(0).normal(3.0, 1.0, (4, VOCAB)).astype(np.float32)
    np.testing.assert_array_equal(Greedy(4, EOS).scores(logits), logits)
    log_probabilities = Beam(2, EOS, GenerationOptions(num_beams=2)).scores(logits)
    np.testing.assert_allclose(np.exp(log_probabilities.astype(np.float64)).sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.diff(log_probabilities - logits), 0.0, atol=1e-5)


def test_a_greedy_score_is_the_log_softmax_of_filtered_logits() -> None:
    def first_of_four(history: History, scores: Array) -> None:
        scores[:] = -INF
        scores[:, 2:6] = 0.0

    strategy = Greedy(1, ())
    for _ in generate(FakeDecoder(VOCAB), Sources.pad([[2]], 0), History.start([[0]], [3]), strategy, [first_of_four]):
        pass
    ((found,),) = strategy.hypotheses()
    assert found.ids == [2, 2, 2]
    assert found.score == pytest.approx(3 * np.log(0.25), rel=1e-5)


def test_a_beam_score_sums_filtered_log_probabilities_as_they_are() -> None:
    strategy = Beam(1, (), GenerationOptions(num_beams=2, length_penalty=0.0))
    for _ in generate(
        FakeDecoder(VOCAB), Sources.pad([[2]], 0), History.start([[0]], [3]), strategy, [filters.force([4])]
    ):
        pass
    assert strategy.hypotheses()[0][0].ids == [4, 4, 4]
    assert strategy.hypotheses()[0][0].score == 0.0


def test_renormalized_scores_are_log_probabilities_of_what_is_left() -> None:
    history, scores = random_case(3, 6)
    result = apply_all({"suppress_tokens": [3, 4], "renormalize_logits": True}, history, scores)
    assert (result[:, [3, 4]] == -INF).all()
    np.testing.assert_allclose(np.exp(result).sum(axis=1), 1.0, rtol=1e-5)
    left = [token for token in range(VOCAB) if token not in (3, 4)]
    np.testing.assert_allclose(np.diff(result[:, left]), np.diff(scores[:, left]), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value", "outside"),
    [
        ("bad_words_ids", [[1, 2], [3, VOCAB]], VOCAB),
        ("bad_words_ids", [[VOCAB + 5, 2]], VOCAB + 5),
        ("suppress_tokens", [VOCAB], VOCAB),
        ("begin_suppress_tokens", [0, VOCAB], VOCAB),
        ("forced_bos_token_id", VOCAB, VOCAB),
        ("forced_eos_token_id", VOCAB, VOCAB),
        ("forced_eos_token_id", [1, VOCAB + 1], VOCAB + 1),
    ],
)
def test_an_id_outside_the_vocabulary_is_refused_by_name(name: str, value: Any, outside: int) -> None:
    options = GenerationOptions.from_mapping({name: value})
    with pytest.raises(OptionError, match=rf"{name}.*\b{outside}\b.*\b{VOCAB}\b"):
        make_filters(options, EOS, VOCAB)
    make_filters(options, EOS, VOCAB + 6)


def test_filters_see_the_prompt_and_what_was_generated() -> None:
    lengths = []

    def watch(history: History, scores: Array) -> None:
        lengths.append((history.length, history.prompt_length, history.ids[:, 0].tolist(), len(scores)))

    strategy = Greedy(2, ())
    for _ in generate(
        FakeDecoder(VOCAB), Sources.pad([[2], [3]], 0), History.start([[5], [5]], [3, 3]), strategy, [watch]
    ):
        pass
    assert lengths == [(1, 1, [5, 5], 2), (2, 1, [5, 5], 2), (3, 1, [5, 5], 2)]
