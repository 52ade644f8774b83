"""What a search chooses from at a step: of each row a few tokens, after filters."""

from math import log
from typing import NamedTuple

import numpy as np

from diptych.runtime.generation.filters.filter import FORBIDDEN
from diptych.runtime.generation.filters.foresight import Effect
from diptych.runtime.graph import Array
from diptych.runtime.ranked import LEAST, Ranked, check

# Where tokens of more than this probability are left out, float32 tells too little of the rest.
_MOST = 0.9


class Candidates(NamedTuple):
    """The best C next tokens of each row [R, C], best first, of equals the first in the vocabulary first.

    scores: their log-probabilities after filters, float32. keys [R, C]: what candidates of several rows are compared
    by, where it is not what the rows then have; of a row they stand in this order.
    """

    tokens: Array
    scores: Array
    keys: Array | None = None


def foreseen(ranked: Ranked, effect: Effect, count: int, *, over_logits: bool) -> Candidates | None:
    """The best `count` tokens of each row after what filters do; what they forbid comes last, as impossible.

    ranked: of as many more tokens as are forbidden in a row. over_logits: what is left adds up to one again, and those
    forbidden were asked for; None if too little is left to be told exactly. Raises EngineError for logits that are NaN.
    """
    if effect.forced is not None:
        shape = len(ranked.tokens), len(effect.forced)
        score = -log(len(effect.forced)) if over_logits else 0.0
        return Candidates(np.tile(effect.forced, (shape[0], 1)), np.full(shape, score, dtype=np.float32))
    check(ranked.log_sum)
    log_sum, where = np.maximum(ranked.log_sum, LEAST), effect.where
    if not len(effect.forbidden):
        return Candidates(ranked.tokens[:, :count], _scores(ranked.logits[:, :count], log_sum))
    if where is not None and len(where) != len(log_sum):
        where = where.repeat(len(log_sum) // len(where), axis=0)  # It was told of prompts, each of several rows now.
    if over_logits:
        shares = np.exp(ranked.asked - log_sum[:, None])
        share = (shares if where is None else shares * where).sum(axis=1)
        if not (share <= _MOST).all():
            return None
        log_sum = log_sum + np.log1p(-share)
    tokens, scores = ranked.tokens, _scores(ranked.logits, log_sum)
    out = _among(tokens, effect.forbidden, where)
    if np.count_nonzero(out):
        order, rows = out.argsort(axis=1, kind="stable"), np.arange(len(out))[:, None]
        tokens, scores = tokens[rows, order], np.where(out, FORBIDDEN, scores)[rows, order]
    return Candidates(tokens[:, :count], scores[:, :count])


def _scores(logits: Array, log_sum: Array) -> Array:
    return (logits - log_sum[:, None]).astype(np.float32, copy=False)


def _among(tokens: Array, those: Array, where: Array | None) -> Array:
    """Which of the tokens [R, C] are among those [n], ascending, that count in the rows `where` [R, n], or in all."""
    found = tokens == those if len(those) == 1 else np.isin(tokens, those)
    if where is not None:
        rows, places = np.nonzero(found)
        found[rows, places] = where[rows, np.searchsorted(those, tokens[rows, places])]
    return np.asarray(found)
