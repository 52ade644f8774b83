"""Logits to scores from 0 to 1, float32."""

import numpy as np

from diptych.runtime.graph import Array


def softmax(logits: Array) -> Array:
    """Over the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def sigmoid(logits: Array) -> Array:
    """Of each."""
    # Of the negative size, so that no exponential overflows.
    small = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits < 0, small, 1.0) / (1.0 + small), dtype=np.float32)


def best(scores: Array, count: int) -> list[int]:
    """Where the `count` largest of [N] stand, the largest first; the first of equals wins."""
    count = min(count, len(scores))
    bound = np.partition(scores, -count)[-count]
    candidates = np.flatnonzero(scores >= bound)
    order = np.argsort(-scores[candidates], kind="stable")
    return [int(place) for place in candidates[order][:count]]
