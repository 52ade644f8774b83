"""Scores of tokens: log-probabilities, and the best of many."""

import numpy as np

from diptych.runtime.errors import EngineError
from diptych.runtime.graph import Array


def log_softmax(scores: Array) -> Array:
    """Over the last axis, in float32; a row of nothing but minus infinity stays so."""
    least, smallest = np.finfo(np.float32).min, np.finfo(np.float32).tiny
    shifted = scores - np.maximum(scores.max(axis=-1, keepdims=True), least)
    return np.asarray(shifted - np.log(np.maximum(np.exp(shifted).sum(axis=-1, keepdims=True), smallest)))


def top(values: Array, count: int) -> tuple[Array, Array]:
    """The `count` largest of each row, descending, and where they stand; the first of equals wins.

    Raises EngineError for what is not a number.
    """
    check(values)
    count = min(count, values.shape[1])
    if count < values.shape[1]:
        bound = np.partition(values, -count, axis=1)[:, -count, None]
        index = np.stack([_first_at_least(row, low, count) for row, low in zip(values, bound, strict=True)])
    else:
        index = np.broadcast_to(np.arange(count), values.shape)
    picked = np.take_along_axis(values, index, axis=1)
    order = np.argsort(-picked, axis=1, kind="stable")
    return np.take_along_axis(picked, order, axis=1), np.take_along_axis(index, order, axis=1)


def check(scores: Array) -> None:
    """Raises EngineError for what is not a number."""
    if np.isnan(scores).any():
        raise EngineError("the model's logits are not numbers (NaN); does it compute so in PyTorch, too?")


def _first_at_least(row: Array, low: Array, count: int) -> Array:
    """Where the `count` largest of a row stand, given the smallest of them; the first of equals win."""
    above, equal = np.flatnonzero(row > low), np.flatnonzero(row == low)
    return np.concatenate([above, equal[: count - len(above)]])
