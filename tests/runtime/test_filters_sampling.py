"""The filters of sampling against what they mean, token by token, in float64."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from diptych.runtime.generation.filters import make_filters
from diptych.runtime.generation.history import History
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.graph import Array

INF = float("inf")
Reference = Callable[[list[float]], set[int]]


def sampled(scores: Any, eos: tuple[int, ...] = (1,), **options: Any) -> Array:
    """What is left of scores [R, V] or [V]."""
    result = np.array(scores, dtype=np.float32)
    rows = result.reshape(-1, result.shape[-1])
    settings = GenerationOptions.from_mapping({"do_sample": True, "top_k": 0, **options})
    for apply in make_filters(settings, eos, rows.shape[1]):
        apply(History.start([[0]] * len(rows), [5] * len(rows)), rows)
    return result


def kept(scores: Any, **options: Any) -> list[int]:
    return np.flatnonzero(sampled(scores, **options) > -INF).tolist()


def share(scores: list[float]) -> list[float]:
    powers = np.exp(np.array(scores, dtype=np.float64) - max(scores))
    return (powers / powers.sum()).tolist()


def entropy(shares: list[float]) -> float:
    return -sum(p * np.log(p) for p in shares if p > 0)


def ranked(values: list[float]) -> list[int]:
    return sorted(range(len(values)), key=lambda token: -values[token])


def until(order: list[int], weights: list[float], mass: float) -> set[int]:
    """As few as have this mass together."""
    found, total = set(), 0.0
    for token in order:
        found.add(token)
        total += weights[token]
        if total >= mass:
            break
    return found


def top_p(mass: float) -> Reference:
    return lambda scores: until(ranked(scores), share(scores), mass)


def typical_p(mass: float) -> Reference:
    def reference(scores: list[float]) -> set[int]:
        shares = share(scores)
        expected = entropy(shares)
        return until(ranked([-abs(-np.log(p) - expected) if p > 0 else -INF for p in shares]), shares, mass)

    return reference


def eta(epsilon: float) -> Reference:
    def reference(scores: list[float]) -> set[int]:
        shares = share(scores)
        bound = min(epsilon, epsilon**0.5 * np.exp(-entropy(shares)))
        return {token for token, p in enumerate(shares) if p >= bound} | {ranked(scores)[0]}

    return reference


def top_h(part: float) -> Reference:
    def reference(scores: list[float]) -> set[int]:
        order = ranked(scores)[:100]
        shares = share([scores[token] for token in order])
        terms = np.cumsum([-p * np.log(p) if p > 0 else INF for p in shares])
        return {token for token, term in zip(order, terms, strict=True) if term <= part * entropy(shares)} | {order[0]}

    return reference


def min_p(part: float) -> Reference:
    def reference(scores: list[float]) -> set[int]:
        shares = share(scores)
        bound = part * max(shares)
        return {token for token, p in enumerate(shares) if p >= bound}

    return reference


def epsilon(value: float) -> Reference:
    return lambda scores: {token for token, p in enumerate(share(scores)) if p >= value} | {ranked(scores)[0]}


RULES: list[tuple[dict[str, Any], Reference]] = [
    *[({"top_k": count}, lambda scores, count=count: set(ranked(scores)[:count])) for count in (1, 3, 40, 9999)],
    *[({"top_p": mass}, top_p(mass)) for mass in (0.01, 0.3, 0.77, 0.99)],
    *[({"min_p": part}, min_p(part)) for part in (0.011, 0.3)],
    *[({"typical_p": mass}, typical_p(mass)) for mass in (0.01, 0.3, 0.77)],
    *[({"epsilon_cutoff": value}, epsilon(value)) for value in (0.0007, 0.04)],
    *[({"eta_cutoff": value}, eta(value)) for value in (0.0007, 0.04)],
    *[({"top_h": part}, top_h(part)) for part in (0.1, 0.5)],
]


@pytest.mark.parametrize(("size", "scale"), [(5, 1.0), (60, 2.0), (60, 30.0), (3000, 0.1), (3000, 4.0)])
@pytest.mark.parametrize(("options", "reference"), RULES, ids=[str(options) for options, _ in RULES])
def test_a_rule_keeps_what_it_says(options: dict[str, Any], reference: Reference, size: int, scale: float) -> None:
    scores = np.random.default_rng(size).normal(0, scale, (3, size)).astype(np.float32)
    scores[1, ::3] = -INF
    result = sampled(scores, **options)
    for own, row in zip(scores.tolist(), result, strict=True):
        left = {token for token in reference(own) if own[token] > -INF}
        assert set(np.flatnonzero(row > -INF).tolist()) == left
        assert row[sorted(left)].tolist() == [own[token] for token in sorted(left)]


@pytest.mark.parametrize(("options", "reference"), RULES, ids=[str(options) for options, _ in RULES])
def test_a_row_with_nothing_allowed_stays_so_and_warns_of_nothing(
    options: dict[str, Any], reference: Reference
) -> None:
    scores = np.full((3, 50), -INF, dtype=np.float32)
    scores[1, 7] = 2.0
    with np.errstate(all="raise", under="ignore"):
        result = sampled(scores, **options, renormalize_logits=True)
    assert result[1, 7] == 0.0
    assert (np.delete(result.reshape(-1), 57) == -INF).all()


def test_without_sampling_its_options_do_nothing() -> None:
    scores = [0.0, 1.0, 2.0]
    options = {"do_sample": False, "temperature": 0.5, "top_k": 1, "top_p": 0.1}
    assert sampled(scores, **options).tolist() == scores


def test_temperature_divides_before_anything_is_cut() -> None:
    scores = np.log([0.5, 0.3, 0.2])
    assert kept(scores, top_p=0.6) == [0, 1]
    assert kept(scores, top_p=0.6, temperature=0.1) == [0]
    np.testing.assert_allclose(sampled(scores, temperature=0.5), scores / 0.5, rtol=1e-6)


def test_equals_of_the_last_of_top_k_are_kept() -> None:
    assert kept([1.0, 3.0, 1.0, 1.0, 0.0], top_k=2) == [0, 1, 2, 3]
    assert kept([2.0] * 6, top_k=2) == [0, 1, 2, 3, 4, 5]


def test_of_equals_top_p_keeps_as_many_as_it_needs() -> None:
    assert len(kept(np.zeros(10), top_p=0.7)) == 7
    assert len(kept(np.zeros(5000), top_p=0.7)) == 3500
    assert len(kept([0.0, 0.0, 0.0, 0.0, 9.0, -9.0], top_p=0.99999, eos=())) == 5
    assert kept(np.zeros(8), top_p=0.0) == [7]


def test_rules_see_what_the_rules_before_them_left() -> None:
    scores = np.log([0.4, 0.3, 0.1, 0.1, 0.1])
    assert kept(scores, top_p=0.75) == [0, 1, 4]
    assert kept(scores, top_p=0.75, top_k=2) == [0, 1]
    assert kept(scores, top_p=0.55, top_k=2) == [0]  # Of the two, the first has 4/7.
    assert kept(scores, top_k=2, epsilon_cutoff=0.42) == [0, 1]  # And the second 3/7.


def test_rows_of_different_widths_are_packed_and_put_back() -> None:
    scores = np.random.default_rng(1).normal(size=(7, 400)).astype(np.float32)
    scores *= np.array([[0.01], [30.0], [1.0], [3.0], [0.1], [100.0], [8.0]], dtype=np.float32)
    options = {"top_p": 0.9, "min_p": 0.05, "typical_p": 0.8, "eta_cutoff": 0.001}
    together = sampled(scores, **options)
    alone = np.stack([sampled(row, **options) for row in scores])
    np.testing.assert_array_equal(together, alone)
    counts = (together > -INF).sum(axis=1)
    assert counts.min() == 1
    assert counts.max() > 100
    assert ((together == scores) | (together == -INF)).all()


def test_beams_keep_a_token_beside_every_end() -> None:
    scores = [9.0, 3.0, 2.0, 1.0, 0.0]
    for options in ({"top_k": 1}, {"top_p": 0.1}, {"min_p": 0.9}, {"epsilon_cutoff": 0.9}, {"eta_cutoff": 0.9}):
        assert kept(scores, **options) == [0]
        assert kept(scores, **options, num_beams=2) == [0, 1]
        assert kept(scores, **options, num_beams=2, eos=()) == [0, 1]
        assert kept(scores, **options, num_beams=2, eos=(1, 2)) == [0, 1, 2]
    assert len(kept(scores, typical_p=0.01, num_beams=2, eos=(1, 2))) == 3
    assert kept([5.0, -INF, -INF, 1.0], top_p=0.1, num_beams=2, eos=(1, 2, 3)) == [0, 3]


def test_equals_beside_an_end_are_not_all_kept() -> None:
    assert len(kept([9.0, 1.0, 1.0, 1.0], min_p=0.9, num_beams=2)) == 2
    assert len(kept([9.0, 1.0, 1.0, 1.0], top_p=0.1, num_beams=2)) == 2


def test_top_h_looks_at_a_hundred_tokens() -> None:
    assert len(kept(np.zeros(100), top_h=0.505)) == 50
    assert len(kept(np.zeros(5000), top_h=0.505)) == 50
    assert kept([0.0, 50.0, 0.0], top_h=0.4) == [1]
