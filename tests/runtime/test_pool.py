"""The best finished hypotheses of a source, and what a length makes of their scores."""

import random
import warnings
from functools import partial

import numpy as np
import pytest

from diptych.runtime.generation.length_penalty import LengthPenalty
from diptych.runtime.generation.pool import Pool
from diptych.runtime.generation.steps import Hypothesis

LEAST = -1e9


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_best_are_kept_and_of_equals_the_first(seed: int, size: int) -> None:
    chance = random.Random(seed)
    scores = [float(chance.randrange(-6, 1)) for _ in range(chance.randrange(12))]
    pool = Pool(size, LEAST)
    for name, score in enumerate(scores):
        pool.add(score, partial(Hypothesis, [name]))
    expected = sorted(enumerate(scores), key=lambda each: -each[1])[:size]
    assert [(one.ids, one.score) for one in pool.best(size)] == [([name], score) for name, score in expected]
    assert pool.worst == (LEAST if len(scores) < size else expected[-1][1])
    assert bool(pool) == bool(scores)
    assert len(pool.best(1)) == min(1, len(scores))


def test_nothing_is_kept_that_is_no_better_than_the_least_or_no_number() -> None:
    pool = Pool(2, LEAST)
    for score in (LEAST, 2 * LEAST, float("-inf"), float("nan")):
        pool.add(score, lambda score: Hypothesis([], score))
    assert not pool
    assert pool.best(2) == []


def test_what_is_overtaken_is_never_written_out() -> None:
    written = []

    def write(score: float) -> Hypothesis:
        written.append(score)
        return Hypothesis([], score)

    pool = Pool(2, LEAST)
    for score in (-3.0, -1.0, -2.0, -4.0):
        pool.add(score, write)
    assert not written
    assert [one.score for one in pool.best(2)] == written == [-1.0, -2.0]


@pytest.mark.parametrize("penalty", [1.0, 0.0, 0.6, 2.0, -0.5, 40.0])
def test_lengths_are_known_however_large(penalty: float) -> None:
    divided = LengthPenalty(penalty)
    with np.errstate(over="ignore"):
        for longest in (3, 255, 256, 700, 1 << 17, 5):
            lengths = np.array([1, 2, longest])
            totals = np.array([-1.5, -700.25, -3.4e38], dtype=np.float32)
            expected = totals / (lengths.astype(np.float64) ** penalty).astype(np.float32)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                np.testing.assert_array_equal(divided(totals, lengths), expected)
    assert divided(np.float32([[-6, -3]]), np.array([[2], [3]])).shape == (2, 2)
