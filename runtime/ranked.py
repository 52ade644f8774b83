"""The best next tokens of each row, and what makes log-probabilities of their logits."""

from dataclasses import dataclass

import numpy as np

from diptych.runtime.errors import EngineError
from diptych.runtime.graph import Array

LEAST, _SMALLEST = np.finfo(np.float32).min, np.finfo(np.float32).tiny
# So few columns are sorted as a whole.
_FEW = 128


@dataclass(frozen=True)
class Ranked:
    """The best C next tokens of each row, best first, of equals the first in the vocabulary first.

    tokens [R, C], int64, and their logits [R, C], float32; C is V where more were wanted. log_sum [R], of any precision:
    the logarithm of the sum of the exponentials of all logits. asked [R, n], float32: the logits of the tokens asked for.
    """

    tokens: Array
    logits: Array
    log_sum: Array
    asked: Array

    def __getitem__(self, rows: Array) -> "Ranked":
        """These rows: reordered, repeated or dropped."""
        return Ranked(self.tokens[rows], self.logits[rows], self.log_sum[rows], self.asked[rows])

    def joined(self, other: "Ranked") -> "Ranked":
        """The rows of both, of which as many tokens were wanted, and the same asked for."""
        return Ranked(
            np.concatenate([self.tokens, other.tokens]),
            np.concatenate([self.logits, other.logits]),
            np.concatenate([self.log_sum, other.log_sum]),
            np.concatenate([self.asked, other.asked]),
        )


def ranked(logits: Array, count: int, asked: Array) -> Ranked:
    """For decoders whose graphs rank nothing: from all logits [R, V]. Raises EngineError for what is not a number."""
    logits = logits.astype(np.float32, copy=False)
    values, tokens = top(logits, count)
    best = np.maximum(values[:, 0], LEAST)
    powers = np.subtract(logits, best[:, None])
    sums = np.exp(powers, out=powers).sum(axis=1)
    log_sum = best.astype(np.float64) + np.log(np.maximum(sums, _SMALLEST))
    return Ranked(tokens, values, log_sum, logits[:, asked])


def top(values: Array, count: int) -> tuple[Array, Array]:
    """The `count` largest of each row, descending, and where they stand; the first of equals wins.

    Raises EngineError for what is not a number.
    """
    count, width = min(count, values.shape[1]), values.shape[1]
    if count == 1:
        index = values.argmax(axis=1)[:, None]
        best = values[np.arange(len(values)), index[:, 0]]
        check(best)  # Of what is no number, argmax finds the first.
        return best[:, None], index
    check(values.max(axis=1))  # What is no number is the largest.
    rows = np.arange(len(values))[:, None]
    if width <= _FEW:
        index = np.argsort(-values, axis=1, kind="stable")[:, :count]
        return values[rows, index], index
    if count < width:
        bound = np.partition(values, -count, axis=1)[:, -count, None]
        index = np.stack([_first_at_least(row, low, count) for row, low in zip(values, bound, strict=True)])
    else:
        index = np.broadcast_to(np.arange(count), values.shape)
    picked = values[rows, index]
    order = np.argsort(-picked, axis=1, kind="stable")
    return picked[rows, order], index[rows, order]


def check(scores: Array) -> None:
    """Raises EngineError for what is not a number."""
    if np.isnan(scores).any():
        raise EngineError("the model's logits are not numbers (NaN); does it compute so in PyTorch, too?")


def _first_at_least(row: Array, low: Array, count: int) -> Array:
    """Where the `count` largest of a row stand, given the smallest of them; the first of equals win."""
    above, equal = np.flatnonzero(row > low), np.flatnonzero(row == low)
    return np.concatenate([above, equal[: count - len(above)]])
