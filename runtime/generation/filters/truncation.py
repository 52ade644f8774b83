"""The rules that leave only the likelier tokens to draw from.

A rule sees candidates: scores [R, M] of the tokens that the rules before it left, minus infinity where a row has fewer.
Of tokens with equal scores that a rule cannot all keep, it keeps the last ones, as an ascending stable sort does.
"""

from collections.abc import Callable

import numpy as np

from diptych.runtime.generation.scores import log_softmax
from diptych.runtime.graph import Array

# From candidates [R, M] to which of them are kept, bool [R, M].
Rule = Callable[[Array], Array]

# Rules that add up probabilities look at so many of the best tokens first; at more only where these are not enough.
_BEST = 1024
_LONGER = 16
_MOST_OF_TOP_H = 100


def top_k(count: int) -> Rule:
    """The likeliest `count`, and what is as likely as the last of them."""
    return lambda scores: ~(scores < _bound(scores, count))


def top_p(mass: float, least: int) -> Rule:
    """The fewest of the likeliest that have this probability (nucleus sampling, Holtzman et al. 2020)."""

    def rule(scores: Array) -> Array:
        size = scores.shape[1]
        best = min(size, _BEST)
        while True:
            parted = np.partition(scores, size - best, axis=1)
            probabilities = _softmax(parted)
            tail = probabilities[:, : size - best].sum(axis=1, dtype=np.float64, keepdims=True)
            if best == size or (_float32(tail) <= 1 - mass).all():
                break
            best = min(size, best * _LONGER)
        parted, probabilities = np.sort(parted[:, size - best :]), np.sort(probabilities[:, size - best :])
        removed = _float32(tail + np.cumsum(probabilities, axis=1, dtype=np.float64)) <= 1 - mass
        removed[:, -least:] = False
        places = removed.sum(axis=1, keepdims=True)
        return _largest(scores, np.take_along_axis(parted, places, axis=1), best - places)

    return rule


def min_p(share: float, least: int) -> Rule:
    """Those at least `share` times as likely as the likeliest (Nguyen et al. 2024)."""

    def rule(scores: Array) -> Array:
        probabilities = _softmax(scores)
        kept = probabilities >= share * probabilities.max(axis=1, keepdims=True)
        return kept if least == 1 else kept | _likeliest(probabilities, least)

    return rule


def typical_p(mass: float, least: int) -> Rule:
    """The fewest that have this probability, those first whose surprise is nearest to the expected (Meister 2022)."""

    def rule(scores: Array) -> Array:
        probabilities = _softmax(scores)
        typicality = -np.abs(-log_softmax(scores) - _entropy(scores)[:, None])
        size = scores.shape[1]
        best = min(size, _BEST)
        while True:
            places = np.argpartition(typicality, size - best, axis=1)[:, size - best :]
            ranked = np.take_along_axis(typicality, places, axis=1)
            order = np.argsort(-ranked, axis=1)
            places = np.take_along_axis(places, order, axis=1)
            total = np.cumsum(np.take_along_axis(probabilities, places, axis=1), axis=1, dtype=np.float64)
            before = (_float32(total) < mass).sum(axis=1, keepdims=True)
            if best == size or (before < best).all():
                break
            best = min(size, best * _LONGER)
        last = np.take_along_axis(places, np.minimum(before, best - 1), axis=1)
        kept = typicality >= np.take_along_axis(typicality, last, axis=1)
        return kept if least == 1 else kept | _likeliest(typicality, least)

    return rule


def epsilon_cutoff(epsilon: float, least: int) -> Rule:
    """Those of at least this probability (Hewitt et al. 2022)."""
    return lambda scores: (_softmax(scores) >= epsilon) | ~(scores < _bound(scores, least))


def eta_cutoff(epsilon: float, least: int) -> Rule:
    """The same, but of less where the entropy is high (Hewitt et al. 2022)."""

    def rule(scores: Array) -> Array:
        eta = np.minimum(np.float32(epsilon), np.sqrt(np.float32(epsilon)) * np.exp(-_entropy(scores)))
        return (_softmax(scores) >= eta[:, None]) | ~(scores < _bound(scores, least))

    return rule


def top_h(share: float) -> Rule:
    """As many of the likeliest as have this share of the entropy of the likeliest 100 (Top-H Decoding, 2025)."""

    def rule(scores: Array) -> Array:
        size = scores.shape[1]
        best = min(size, _MOST_OF_TOP_H)
        ranked = np.sort(np.partition(scores, size - best, axis=1)[:, size - best :])
        likely = _softmax(ranked[:, ::-1])
        with np.errstate(divide="ignore", invalid="ignore"):
            total = _float32(np.cumsum(-likely * np.log(likely), axis=1, dtype=np.float64))
            within = total <= _entropy(ranked)[:, None] * share
        counts = np.maximum(within.sum(axis=1, keepdims=True), 1)
        return _largest(scores, np.take_along_axis(ranked, best - counts, axis=1), counts)

    return rule


def _likeliest(scores: Array, count: int) -> Array:
    """Which are the `count` largest of each row."""
    return _largest(scores, _bound(scores, count), np.array(count))


def _largest(scores: Array, bound: Array, counts: Array) -> Array:
    """Which are the `counts` [R, 1] largest of each row, of which the smallest is `bound` [R, 1]."""
    above, equal = scores > bound, scores == bound
    wanted = counts - above.sum(axis=1, keepdims=True)
    if (equal.sum(axis=1, keepdims=True) > wanted).any():
        equal &= np.cumsum(equal[:, ::-1], axis=1)[:, ::-1] <= wanted
    return np.asarray(above | equal)


def _bound(scores: Array, count: int) -> Array:
    """The `count`th largest of each row [R, 1], or the smallest."""
    if count == 1:
        return np.asarray(scores.max(axis=1, keepdims=True))
    place = max(0, scores.shape[1] - count)
    return np.partition(scores, place, axis=1)[:, place, None]


def _softmax(scores: Array) -> Array:
    """Over the last axis, in float32; all zero in a row of nothing but minus infinity."""
    limits = np.finfo(np.float32)
    powers = np.exp(scores - np.maximum(scores.max(axis=1, keepdims=True), limits.min))
    return np.asarray(powers / np.maximum(powers.sum(axis=1, keepdims=True), limits.tiny))


def _entropy(scores: Array) -> Array:
    """[R], in nats"""
    return -(np.maximum(log_softmax(scores), np.finfo(np.float32).min) * _softmax(scores)).sum(axis=1)


def _float32(sums: Array) -> Array:
    """Sums are exact and then rounded, as PyTorch's are."""
    return sums.astype(np.float32)
