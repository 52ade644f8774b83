"""What is drawn depends on chance and on what is likely, and on nothing that may differ by accident."""

import numpy as np
import pytest

from diptych.runtime.errors import EngineError
from diptych.runtime.generation.greedy import draw, perturbed

SCORES = np.random.default_rng(0).normal(0.0, 3.0, (300, 2000)).astype(np.float32)


def drawn(scores: np.ndarray) -> list[int]:
    return [draw(row, np.random.default_rng(number)) for number, row in enumerate(scores)]


def test_last_digits_do_not_matter() -> None:
    """Another batch computes logits that differ there."""
    other = SCORES + np.random.default_rng(1).normal(0.0, 3e-6, SCORES.shape).astype(np.float32)
    assert drawn(other) == drawn(SCORES)


def test_what_may_not_be_drawn_does_not_matter() -> None:
    expected = drawn(SCORES)
    fewer = SCORES.copy()
    fewer[np.random.default_rng(2).random(SCORES.shape) < 0.5] = -np.inf
    fewer[range(len(expected)), expected] = SCORES[range(len(expected)), expected]
    assert drawn(fewer) == expected


def test_the_largest_are_draws_without_replacement() -> None:
    scores = np.log(np.array([0.5, 0.3, 0.2], dtype=np.float32))
    orders = [tuple(np.argsort(-perturbed(scores, np.random.default_rng(seed)))) for seed in range(4000)]
    shares = {order: orders.count(order) / len(orders) for order in set(orders)}
    assert shares[0, 1, 2] == pytest.approx(0.5 * 0.6, abs=0.03)
    assert shares[2, 1, 0] == pytest.approx(0.2 * 0.375, abs=0.03)


def test_nothing_is_drawn_of_what_is_no_number() -> None:
    with pytest.raises(EngineError, match="not numbers"):
        draw(np.array([0.0, np.nan], dtype=np.float32), np.random.default_rng(0))


def test_where_all_is_forbidden_the_first_is_drawn() -> None:
    assert draw(np.full(3, -np.inf, dtype=np.float32), np.random.default_rng(0)) == 0
