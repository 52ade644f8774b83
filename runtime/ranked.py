"""The best next tokens of each row, and what makes log-probabilities of their logits."""

from dataclasses import dataclass
from math import isnan

import numpy as np

from diptych.runtime.errors import EngineError
from diptych.runtime.graph import Array

LEAST, _SMALLEST = np.finfo(np.float32).min, np.finfo(np.float32).tiny
# So few columns are sorted as a whole; of more, groups of so many members are compared first.
_FEW, _MEMBERS = 128, 64
# So many logits are read at once: they stay in the processor's cache.
_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Ranked:
    """The best C next tokens of each row, best first, of equals the first in the vocabulary first.

    tokens [R, C], int64, and their logits [R, C], float32; C is V where more were wanted. log_sum [R], float32 or more:
    the logarithm of the sum of the exponentials of all logits. asked [R, n]: the logits of the tokens asked for.
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
    best = np.maximum(values[:, :1], LEAST)
    some = max(1, _AT_ONCE // logits.shape[1])
    pieces = [slice(first, first + some) for first in range(0, len(logits), some)]
    sums = np.concatenate([np.exp(logits[piece] - best[piece]).sum(axis=1) for piece in pieces])
    return Ranked(tokens, values, log_sum(values[:, 0], sums), logits[:, asked])


def log_sum(best: Array, sums: Array) -> Array:
    """The logarithm of the sum of exponentials [R], from the largest logit and the sum of what is below it."""
    return np.maximum(best, LEAST).astype(np.float64) + np.log(np.maximum(sums, _SMALLEST))


def top(values: Array, count: int) -> tuple[Array, Array]:
    """The `count` largest of each row, descending, and where they stand; the first of equals wins.

    Raises EngineError for what is not a number.
    """
    if count == 1:
        places = values.argmax(axis=1)[:, None]  # The first that is not a number, if any is.
    else:
        check(values.max(axis=1))
        places = largest(values, count)
    best = values[np.arange(len(values))[:, None], places]
    if count == 1:
        check(best)
    return best, places


def largest(values: Array, count: int) -> Array:
    """Where the `count` largest of each row stand, descending; the first of equals wins. All are numbers."""
    width = values.shape[1]
    if width <= _FEW or width < 2 * _MEMBERS * count:
        return (-values).argsort(axis=1, kind="stable")[:, :count]
    return np.stack([_largest(row, count) for row in values])


def check(scores: Array) -> None:
    """Raises EngineError for what is not a number."""
    # Where one is none, the first such counts as the largest.
    if scores.size and isnan(scores.item(scores.argmax())):
        raise EngineError("the model's logits are not numbers (NaN); does it compute so in PyTorch, too?")


def _largest(row: Array, count: int) -> Array:
    """Where the `count` largest stand, descending: none is below the `count`th of the maxima of groups."""
    groups = len(row) // _MEMBERS
    maxima = row[: groups * _MEMBERS].reshape(_MEMBERS, groups).max(axis=0)
    bound = np.partition(maxima, -count)[-count]
    places = np.flatnonzero(row > bound)
    if len(places) < count:
        places = np.concatenate([places, np.flatnonzero(row == bound)[: count - len(places)]])
    return places[np.argsort(-row[places], kind="stable")[:count]]
