"""What filters do before a step is known exactly where it is what they then do."""

from typing import Any

import numpy as np
import pytest

from diptych.runtime.generation.filters import Effect, Foresight, make_filters
from diptych.runtime.generation.history import History
from diptych.runtime.generation.options import GenerationOptions

VOCAB, EOS = 9, 1
SOURCES = [[3, 4], [5], [6, 7, 8]]
PLACES: dict[str, tuple[list[list[int]], list[int]]] = {
    "begun": ([[], [], []], [5, 5, 5]),
    "under way": ([[3, 4], [4, 5], [6, 7]], [5, 5, 5]),
    "ragged": ([[3, 4, 5], [], [6]], [5, 5, 5]),
    "all but done": ([[3, 4], [4, 5], [6, 7]], [3, 3, 3]),
    "one all but done": ([[3, 4], [4], [6, 7]], [3, 3, 3]),
    "one has begun": ([[3, 4], [], [6, 7]], [3, 1, 3]),
    "nothing left": ([[], [], []], [1, 1, 1]),
}
EVERY: list[dict[str, Any]] = [
    {},
    {"bad_words_ids": [[0]]},
    {"bad_words_ids": [[0], [4, 5]]},
    {"bad_words_ids": [[4, 5]]},
    {"suppress_tokens": [7, 2, 7]},
    {"begin_suppress_tokens": [EOS, 5]},
    {"min_new_tokens": 2},
    {"min_new_tokens": 3, "suppress_tokens": [EOS, 2]},
    {"min_length": 3},
    {"forced_bos_token_id": 4},
    {"forced_bos_token_id": 4, "begin_suppress_tokens": [4], "bad_words_ids": [[4], [0]]},
    {"forced_eos_token_id": EOS, "bad_words_ids": [[EOS], [0]]},
    {"forced_eos_token_id": [EOS, 8], "suppress_tokens": [8]},
    {"forced_eos_token_id": EOS, "min_new_tokens": 4},
    {"repetition_penalty": 1.3},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2, "bad_words_ids": [[0], [4, 5], [5]], "min_new_tokens": 2},
    {"encoder_no_repeat_ngram_size": 1, "suppress_tokens": [3, 4]},
    {"encoder_no_repeat_ngram_size": 2, "forced_eos_token_id": EOS},
    {"bad_words_ids": [[0]], "renormalize_logits": True},
    {"remove_invalid_values": True, "suppress_tokens": [2]},
]


def history(place: str) -> History:
    begun, limits = PLACES[place]
    return History.start([[2]] * 3, limits, SOURCES, [[(token, -1.0) for token in row] for row in begun])


def foresee(options: dict[str, Any], *histories: History) -> Effect | None:
    chosen = GenerationOptions.from_mapping(options)
    return Foresight(make_filters(chosen, [EOS], VOCAB))(histories)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("options", EVERY, ids=str)
def test_what_is_foreseen_is_what_is_done(options: dict[str, Any], place: str) -> None:
    rows = history(place)
    effect = foresee(options, rows)
    if effect is None:
        return
    before = np.random.default_rng(0).normal(-3, 1, (3, VOCAB)).astype(np.float32)
    scores = before.copy()
    for apply in make_filters(GenerationOptions.from_mapping(options), [EOS], VOCAB):
        apply(rows, scores)
    expected = before.copy()
    where = np.ones((3, len(effect.forbidden)), dtype=bool) if effect.where is None else effect.where
    for row in range(3):
        expected[row, effect.forbidden[where[row]]] = -np.inf
    assert effect.most == where.sum(axis=1).max()
    if effect.forced is not None:
        expected[:] = -np.inf
        expected[:, effect.forced] = 0
    np.testing.assert_array_equal(scores, expected)
    for tokens in (effect.forbidden, [] if effect.forced is None else effect.forced):
        assert list(tokens) == sorted(set(tokens))


@pytest.mark.parametrize(
    ("options", "place", "forbidden", "forced"),
    [
        ({}, "ragged", [], None),
        ({"bad_words_ids": [[0]], "forced_eos_token_id": EOS}, "ragged", [0], None),
        ({"bad_words_ids": [[0]], "forced_eos_token_id": EOS}, "all but done", [], [EOS]),
        ({"bad_words_ids": [[0], [5, 6]]}, "begun", [0], None),
        ({"forced_bos_token_id": 4, "suppress_tokens": [2, 3]}, "begun", [], [4]),
        ({"forced_bos_token_id": 4, "suppress_tokens": [3, 2]}, "under way", [2, 3], None),
        ({"forced_eos_token_id": [8, EOS], "suppress_tokens": [8]}, "all but done", [], [EOS]),
        ({"min_new_tokens": 2, "suppress_tokens": [7]}, "begun", [EOS, 7], None),
        ({"min_new_tokens": 2, "suppress_tokens": [7]}, "under way", [7], None),
        ({"begin_suppress_tokens": [EOS]}, "begun", [EOS], None),
        ({"no_repeat_ngram_size": 2}, "begun", [], None),
    ],
)
def test_what_is_done_to_all(
    options: dict[str, Any], place: str, forbidden: list[int], forced: list[int] | None
) -> None:
    effect = foresee(options, history(place))
    assert effect is not None
    assert effect.forbidden.tolist() == forbidden
    assert effect.where is None
    assert (None if effect.forced is None else effect.forced.tolist()) == forced
    assert foresee(options, history(place), history(place)) is not None


@pytest.mark.parametrize(
    ("options", "place", "forbidden"),
    [
        ({"min_new_tokens": 2}, "ragged", [[], [EOS], [EOS]]),
        ({"begin_suppress_tokens": [3, 0], "suppress_tokens": [7]}, "ragged", [[7], [0, 3, 7], [7]]),
        ({"bad_words_ids": [[0], [4, 5], [2, 3, 4, 6], [3, 4]]}, "under way", [[0, 5, 6], [0], [0]]),
        ({"encoder_no_repeat_ngram_size": 1}, "begun", [[3, 4], [5], [6, 7, 8]]),
        ({"no_repeat_ngram_size": 1, "suppress_tokens": [4]}, "under way", [[2, 3, 4], [2, 4, 5], [2, 4, 6, 7]]),
    ],
)
def test_what_is_done_to_some(options: dict[str, Any], place: str, forbidden: list[list[int]]) -> None:
    effect = foresee(options, history(place))
    assert effect is not None
    assert effect.where is not None
    assert [effect.forbidden[row].tolist() for row in effect.where] == forbidden
    assert effect.most == max(map(len, forbidden))
    assert foresee(options, history(place), history(place)) is None


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"forced_eos_token_id": EOS}, "one all but done"),
        ({"forced_bos_token_id": 4}, "ragged"),
        ({"forced_eos_token_id": EOS, "begin_suppress_tokens": [3]}, "one has begun"),
        ({"repetition_penalty": 1.3}, "begun"),
        ({"renormalize_logits": True}, "begun"),
        ({"suppress_tokens": [3], "remove_invalid_values": True}, "begun"),
        ({"forced_eos_token_id": EOS, "begin_suppress_tokens": [EOS], "max_new_tokens": 1}, "nothing left"),
    ],
)
def test_all_scores_are_needed(options: dict[str, Any], place: str) -> None:
    assert foresee(options, history(place)) is None


def test_those_that_join_must_be_alike() -> None:
    options = {"min_new_tokens": 2, "bad_words_ids": [[0]]}
    assert foresee(options, history("begun"), history("begun")) is not None
    assert foresee(options, history("under way"), history("begun")) is None
    forcing = {"forced_bos_token_id": 4}
    assert foresee(forcing, history("under way"), history("begun")) is None
    assert foresee(forcing, history("under way"), history("all but done")) is not None
