"""Each filter against a loop that says what it means, on rows of random lengths."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from diptych.runtime.generation.filters import make_filters
from diptych.runtime.generation.history import History
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.graph import Array

VOCAB = 9
EOS = (1, 7)
LIMIT = 6
INF = float("inf")


@dataclass(frozen=True)
class Row:
    """What is there, and the scores of what comes next."""

    prompt: list[int]
    said: list[int]
    source: list[int]
    scores: list[float]

    @property
    def ids(self) -> list[int]:
        return [*self.prompt, *self.said]

    @property
    def read(self) -> list[int]:
        return self.source or self.prompt


Reference = Callable[[Row], list[float]]


def random_rows(seed: int, count: int = 6, *, encodes: bool = True) -> list[Row]:
    """Few distinct tokens, so that they repeat; scores of both signs, some of them forbidden."""
    draw = random.Random(seed)

    def text(shortest: int, longest: int) -> list[int]:
        return [draw.choice([0, 2, 3]) for _ in range(draw.randint(shortest, longest))]

    rows = []
    for number in range(count):
        scores = np.array([draw.gauss(0, 1) for _ in range(VOCAB)], dtype=np.float32)
        scores[4] = -INF if number == 2 else scores[4]
        rows.append(Row(text(1, 3), text(0, LIMIT - 1), text(1, 6) if encodes else [], scores.tolist()))
    return rows


def batch(rows: Sequence[Row]) -> tuple[History, Array]:
    history = History.start(
        [row.prompt for row in rows],
        [LIMIT] * len(rows),
        [row.source for row in rows],
        [[(token, 0.0) for token in row.said] for row in rows],
    )
    return history, np.array([row.scores for row in rows], dtype=np.float32)


def filtered(options: dict[str, Any], rows: Sequence[Row], eos: Sequence[int] = EOS) -> Array:
    history, scores = batch(rows)
    for apply in make_filters(GenerationOptions.from_mapping(options), eos, VOCAB):
        apply(history, scores)
    return scores


def forbidden(row: Row, tokens: Any) -> list[float]:
    return [-INF if token in tokens else score for token, score in enumerate(row.scores)]


def forced(tokens: list[int]) -> list[float]:
    return [0.0 if token in tokens else -INF for token in range(VOCAB)]


def penalised(row: Row, tokens: list[int], by: float) -> list[float]:
    scores = enumerate(row.scores)
    return [score if token not in tokens else score * by if score < 0 else score / by for token, score in scores]


def no_ngrams(size: int, of: Callable[[Row], list[int]]) -> Reference:
    def apply(row: Row) -> list[float]:
        found = [of(row)[start : start + size] for start in range(len(of(row)) - size + 1)]
        recent = row.ids[len(row.ids) - size + 1 :] if len(row.ids) >= size - 1 else [-9]
        return forbidden(row, [token for token in range(VOCAB) if [*recent, token] in found])

    return apply


def completing(row: Row, words: Sequence[Sequence[int]]) -> list[int]:
    """The last tokens of words of which all but that has just been said."""
    return [word[-1] for word in words if len(word) == 1 or row.ids[-len(word) + 1 :] == list(word[:-1])]


def biased(biases: dict[tuple[int, ...], float]) -> Reference:
    def apply(row: Row) -> list[float]:
        scores = np.array(row.scores)
        for words, bias in biases.items():
            for token in completing(row, [words]):
                scores[token] += bias
        return list(scores)

    return apply


def decayed(start: int, factor: float) -> Reference:
    def apply(row: Row) -> list[float]:
        growth = factor ** (len(row.said) - start) - 1 if len(row.said) > start else 0.0
        return [s + abs(s) * growth if t in EOS and s > -INF else s for t, s in enumerate(row.scores)]

    return apply


WORDS = [[2], [0, 3], [2, 0, 5], [2, 2], [0, 1]]
BIASES = {(5,): 1.5, (5, 5): 9.0, (0, 5): -0.75, (3, 0, 5): 4.0, (2, 3): 1.0, (2,) * 20 + (4,): 7.0}
REFERENCES: list[tuple[dict[str, Any], Reference]] = [
    ({}, lambda row: row.scores),
    ({"sequence_bias": BIASES}, biased(BIASES)),
    ({"encoder_repetition_penalty": 1.7}, lambda row: penalised(row, row.read, 1 / 1.7)),
    ({"repetition_penalty": 1.7}, lambda row: penalised(row, row.ids, 1.7)),
    *[({"no_repeat_ngram_size": size}, no_ngrams(size, lambda row: row.ids)) for size in (1, 2, 3)],
    *[({"encoder_no_repeat_ngram_size": size}, no_ngrams(size, lambda row: row.read)) for size in (1, 2, 3)],
    ({"bad_words_ids": WORDS}, lambda row: forbidden(row, completing(row, WORDS))),
    ({"bad_words_ids": [[1], [7], [3]]}, lambda row: forbidden(row, [3])),  # A single EOS is not a bad word.
    ({"min_length": 4}, lambda row: forbidden(row, EOS) if len(row.ids) < 4 else row.scores),
    ({"min_length": 1}, lambda row: row.scores),
    ({"min_new_tokens": 4}, lambda row: forbidden(row, EOS) if len(row.said) < 4 else row.scores),
    ({"min_new_tokens": 2, "min_length": 9}, lambda row: forbidden(row, EOS) if len(row.said) < 2 else row.scores),
    ({"forced_bos_token_id": 4}, lambda row: forced([4]) if len(row.ids) == 1 else row.scores),
    ({"forced_bos_token_id": 0}, lambda row: forced([0]) if len(row.ids) == 1 else row.scores),
    ({"forced_eos_token_id": [1, 7]}, lambda row: forced([1, 7]) if len(row.said) == LIMIT - 1 else row.scores),
    ({"exponential_decay_length_penalty": [2, 1.5]}, decayed(2, 1.5)),
    ({"exponential_decay_length_penalty": [0, 0.5]}, decayed(0, 0.5)),
    ({"suppress_tokens": [0, 5]}, lambda row: forbidden(row, (0, 5))),
    ({"begin_suppress_tokens": [2, 3]}, lambda row: row.scores if row.said else forbidden(row, (2, 3))),
    (
        {"begin_suppress_tokens": [2, 3], "forced_bos_token_id": 4},
        lambda row: (
            forced([4])
            if len(row.ids) == 1
            else forbidden(row, (2, 3))
            if len(row.said) == (len(row.prompt) == 1)
            else row.scores
        ),
    ),
]


@pytest.mark.parametrize("encodes", [True, False])
@pytest.mark.parametrize(("options", "reference"), REFERENCES, ids=[str(options)[:50] for options, _ in REFERENCES])
def test_a_filter_does_what_a_loop_does(options: dict[str, Any], reference: Reference, encodes: bool) -> None:
    changed = 0
    for seed in range(12):
        rows = random_rows(seed, encodes=encodes)
        result = filtered(options, rows)
        np.testing.assert_allclose(result, np.array([reference(row) for row in rows]), rtol=1e-6, atol=1e-6)
        assert result.dtype == np.float32
        changed += int((result != batch(rows)[1]).sum())
    assert (changed > 0) == (options not in ({}, {"min_length": 1}))


@pytest.mark.parametrize(("options", "reference"), REFERENCES, ids=[str(options)[:50] for options, _ in REFERENCES])
def test_a_row_gets_what_it_would_get_alone(options: dict[str, Any], reference: Reference) -> None:
    rows = random_rows(21, 8)
    alone = np.concatenate([filtered(options, [row]) for row in rows])
    np.testing.assert_array_equal(filtered(options, rows), alone)


def test_filters_remember_nothing() -> None:
    every = {name: value for options, _ in REFERENCES for name, value in options.items()}
    every |= {"do_sample": True, "top_p": 0.9, "top_k": 5, "renormalize_logits": True}
    filters = make_filters(GenerationOptions.from_mapping(every), EOS, VOCAB)
    results = []
    for seed in (1, 2, 1, 3, 1):
        history, scores = batch(random_rows(seed))
        kept = history.ids.copy(), history.sources.copy()
        for apply in filters:
            apply(history, scores)
        np.testing.assert_array_equal(history.ids, kept[0])
        np.testing.assert_array_equal(history.sources, kept[1])
        results.append(scores)
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[0], results[4])
    assert not np.array_equal(results[0], results[1])


def test_a_token_is_penalised_once_however_often_it_occurs() -> None:
    row = Row([0], [2, 2, 2, 3], [5, 5], [4, 4, 4, -4, 4, 4, 4, 4, 4])
    assert filtered({"repetition_penalty": 2.0}, [row]).tolist() == [[2, 4, 2, -8, 4, 4, 4, 4, 4]]
    assert filtered({"encoder_repetition_penalty": 2.0}, [row]).tolist() == [[4, 4, 4, -4, 4, 8, 4, 4, 4]]


def test_ids_that_have_no_score_are_passed_over() -> None:
    """A model may embed, or an encoder read, more tokens than are predicted."""
    row = Row([VOCAB, 2], [VOCAB + 3], [VOCAB + 7, VOCAB + 3, 4, VOCAB], [1.0] * VOCAB)
    assert filtered({"repetition_penalty": 2.0}, [row])[0, 2] == 0.5
    assert filtered({"encoder_repetition_penalty": 2.0}, [row])[0].tolist().count(2.0) == 1
    assert filtered({"encoder_no_repeat_ngram_size": 2}, [row])[0].tolist() == forbidden(row, [4])
    assert filtered({"no_repeat_ngram_size": 1}, [row])[0].tolist() == forbidden(row, [2])


def test_what_a_model_computes_wrong_becomes_numbers() -> None:
    row = Row([0], [], [], [float("nan"), INF, -INF, 1.0, -2.0, 0.0, 0.0, 0.0, 0.0])
    largest = float(np.finfo(np.float32).max)
    result = filtered({"remove_invalid_values": True}, [row])[0].tolist()
    assert result == [0.0, largest, -largest, 1.0, -2.0, 0.0, 0.0, 0.0, 0.0]


def test_an_end_that_grows_without_bounds_stays_a_number() -> None:
    row = Row([0], [2] * (LIMIT - 1), [], [1.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, -INF, 0.0])
    with np.errstate(all="raise", under="ignore"):
        result = filtered({"exponential_decay_length_penalty": [0, 1e300], "renormalize_logits": True}, [row])[0]
    assert result[1] == 0.0
    assert result[7] == -INF
    assert not np.isnan(result).any()


@pytest.mark.parametrize(
    ("options", "said", "expected"),
    [
        # Forcing forgets what was forbidden before it: repeats, bad words, an early EOS, biases.
        ({"no_repeat_ngram_size": 1, "forced_bos_token_id": 2}, 0, forced([2])),
        ({"bad_words_ids": [[2]], "forced_bos_token_id": 2}, 0, forced([2])),
        ({"sequence_bias": {(2,): 5.0}, "forced_bos_token_id": 2}, 0, forced([2])),
        ({"min_length": 5, "forced_bos_token_id": 1}, 0, forced([1])),
        ({"min_length": 50, "forced_eos_token_id": 1}, LIMIT - 1, forced([1])),
        ({"repetition_penalty": 5.0, "forced_eos_token_id": 7}, LIMIT - 1, forced([7])),
        # Suppressing comes after forcing, and wins.
        ({"suppress_tokens": [1], "forced_eos_token_id": [1, 7]}, LIMIT - 1, forced([7])),
    ],
)
def test_filters_apply_in_the_order_of_transformers(options: dict[str, Any], said: int, expected: list[float]) -> None:
    rows = [Row([2], [2] * said, [3], row.scores) for row in random_rows(1)]
    assert filtered(options, rows).tolist() == [expected] * len(rows)


def test_extra_filters_come_between_the_others_and_those_of_sampling() -> None:
    seen = []

    def from_5(history: History, scores: Array) -> None:
        seen.append(scores.copy())
        scores[:, :5] = -INF

    options = GenerationOptions.from_mapping({"do_sample": True, "top_k": 2, "suppress_tokens": [6]})
    history, scores = batch([Row([0], [], [], [float(-token) for token in range(VOCAB)])])
    for apply in make_filters(options, EOS, VOCAB, [from_5]):
        apply(history, scores)
    assert np.flatnonzero(seen[0] == -INF).tolist() == [6]
    assert np.flatnonzero(scores[0] > -INF).tolist() == [5, 7]


def test_renormalized_scores_are_log_probabilities_of_what_is_left() -> None:
    rows = random_rows(3)
    result = filtered({"suppress_tokens": [3, 4], "renormalize_logits": True}, rows)
    assert (result[:, [3, 4]] == -INF).all()
    np.testing.assert_allclose(np.exp(result).sum(axis=1), 1.0, rtol=1e-5)
    left = [token for token in range(VOCAB) if token not in (3, 4)]
    np.testing.assert_allclose(np.diff(result[:, left]), np.diff(batch(rows)[1][:, left]), atol=1e-5)


def test_an_end_that_the_vocabulary_lacks_never_comes() -> None:
    """Some checkpoints name one."""
    rows = random_rows(4)
    options = {"min_new_tokens": LIMIT, "exponential_decay_length_penalty": [0, 2.0]}
    np.testing.assert_array_equal(filtered(options, rows, [VOCAB + 1]), batch(rows)[1])
    np.testing.assert_array_equal(filtered(options, rows, []), batch(rows)[1])
