"""Filters that make scores numbers, or log-probabilities, again."""

import numpy as np

from diptych.runtime.generation.history import History
from diptych.runtime.generation.scores import log_softmax
from diptych.runtime.graph import Array


def remove_invalid_values(history: History, scores: Array) -> None:
    """NaN becomes 0, infinities the largest and least of float32, minus infinity of what is forbidden, too."""
    np.nan_to_num(scores, copy=False)


def renormalize(history: History, scores: Array) -> None:
    """Probabilities of what is still allowed add up to one."""
    scores[:] = log_softmax(scores)
