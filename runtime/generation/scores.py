"""Log-probabilities of all tokens."""

import numpy as np

from diptych.runtime.graph import Array
from diptych.runtime.ranked import LEAST

_SMALLEST = np.finfo(np.float32).tiny


def log_softmax(scores: Array) -> Array:
    """Over the last axis, in float32; a row of nothing but minus infinity stays so."""
    shifted = scores - np.maximum(scores.max(axis=-1, keepdims=True), LEAST)
    return np.asarray(shifted - np.log(np.maximum(np.exp(shifted).sum(axis=-1, keepdims=True), _SMALLEST)))
