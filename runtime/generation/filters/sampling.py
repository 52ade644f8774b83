"""Filters of sampling: temperature, and leaving only the likelier tokens to draw from."""

from collections.abc import Sequence

import numpy as np

from diptych.runtime.generation.filters import truncation
from diptych.runtime.generation.filters.filter import FORBIDDEN, Filter
from diptych.runtime.generation.history import History
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.graph import Array


def sampling_filters(options: GenerationOptions, least: int) -> list[Filter]:
    """What `options` ask for; every rule but top_h leaves `least` tokens."""
    filters: list[Filter] = []
    if options.temperature != 1.0:
        filters.append(temperature(options.temperature))
    rules: list[truncation.Rule] = []
    if options.top_h is not None:
        rules.append(truncation.top_h(options.top_h))
    if options.top_k:
        rules.append(truncation.top_k(max(options.top_k, least)))
    if options.top_p < 1.0:
        rules.append(truncation.top_p(options.top_p, least))
    if options.min_p is not None:
        rules.append(truncation.min_p(options.min_p, least))
    if options.typical_p < 1.0:
        rules.append(truncation.typical_p(options.typical_p, least))
    if 0.0 < options.epsilon_cutoff < 1.0:
        rules.append(truncation.epsilon_cutoff(options.epsilon_cutoff, least))
    if 0.0 < options.eta_cutoff < 1.0:
        rules.append(truncation.eta_cutoff(options.eta_cutoff, least))
    return [*filters, keep(rules)] if rules else filters


def temperature(value: float) -> Filter:
    """Above 1, unlikely tokens become likelier."""

    def apply(history: History, scores: Array) -> None:
        with np.errstate(over="ignore"):
            scores /= value

    return apply


def keep(rules: Sequence[truncation.Rule]) -> Filter:
    """Forbid what the rules, one after the other, do not keep."""

    def apply(history: History, scores: Array) -> None:
        candidates, columns = scores, None
        for rule in rules:
            candidates, columns = _left(candidates, columns, rule(candidates))
        if columns is None:
            scores[:] = candidates
            return
        row, place = np.nonzero(candidates != FORBIDDEN)
        scores[:] = FORBIDDEN
        scores[row, columns[row, place]] = candidates[row, place]

    return apply


def _left(candidates: Array, columns: Array | None, kept: Array) -> tuple[Array, Array | None]:
    """The candidates that are kept, and their tokens; packed where that makes them much fewer."""
    kept &= candidates != FORBIDDEN
    counts = kept.sum(axis=1)
    width, size = max(1, int(counts.max(initial=0))), candidates.shape[1]
    if 2 * width > size:
        return np.where(kept, candidates, FORBIDDEN), columns
    row, place = np.divmod(np.flatnonzero(kept), size)
    slot = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    packed, tokens = np.full((len(kept), width), FORBIDDEN), np.zeros((len(kept), width), dtype=np.int64)
    packed[row, slot] = candidates[row, place]
    tokens[row, slot] = place if columns is None else columns[row, place]
    return packed, tokens
