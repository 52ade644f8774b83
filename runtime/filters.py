"""Filters edit the scores [R, V] of the next token in place; each is one option of `transformers` generation.

They work on logits under greedy search and on log-probabilities under beam search, in the order of `make_filters`.
"""

from collections.abc import Callable, Sequence

import numpy as np

from diptych.runtime.errors import OptionError
from diptych.runtime.graph import Array
from diptych.runtime.history import History
from diptych.runtime.options import GenerationOptions
from diptych.runtime.strategies import log_softmax

Filter = Callable[[History, Array], None]
Condition = Callable[[History], Array]

FORBIDDEN = -np.inf


def make_filters(options: GenerationOptions, eos: Sequence[int], vocab_size: int) -> list[Filter]:
    """The filters that `options` ask for. Raises OptionError for an id outside the vocabulary."""
    _check_vocabulary(options, vocab_size)
    filters: list[Filter] = []
    if options.repetition_penalty != 1.0:
        filters.append(repetition_penalty(options.repetition_penalty))
    if options.no_repeat_ngram_size:
        filters.append(no_repeat_ngram(options.no_repeat_ngram_size))
    words = [word for word in options.bad_words_ids if not (len(word) == 1 and word[0] in eos)]
    if words:
        filters.append(bad_words(words))
    too_short = _too_short(options)
    if too_short is not None and eos:
        filters.append(forbid(eos, too_short))
    if options.forced_bos_token_id is not None:
        filters.append(force([options.forced_bos_token_id], lambda history: history.lengths == 1))
    if options.forced_eos_token_id:
        filters.append(force(options.forced_eos_token_id, lambda history: history.left == 1))
    if options.suppress_tokens:
        filters.append(forbid(options.suppress_tokens))
    if options.begin_suppress_tokens:
        forced = options.forced_bos_token_id is not None
        filters.append(forbid(options.begin_suppress_tokens, lambda history: _is_first(history, forced)))
    if options.renormalize_logits:
        filters.append(renormalize)
    return filters


def always(history: History) -> Array:
    return np.ones(len(history.ids), dtype=bool)


def forbid(tokens: Sequence[int], where: Condition = always) -> Filter:
    """Never these tokens, in the rows that meet the condition."""
    columns = np.array(tokens, dtype=np.int64)

    def apply(history: History, scores: Array) -> None:
        scores[np.ix_(where(history), columns)] = FORBIDDEN

    return apply


def force(tokens: Sequence[int], where: Condition = always) -> Filter:
    """Only these tokens, all with score 0, in the rows that meet the condition."""
    columns = np.array(tokens, dtype=np.int64)

    def apply(history: History, scores: Array) -> None:
        rows = where(history)
        scores[rows] = FORBIDDEN
        scores[np.ix_(rows, columns)] = 0.0

    return apply


def renormalize(history: History, scores: Array) -> None:
    """Probabilities of what is still allowed add up to one."""
    scores[:] = log_softmax(scores)


def repetition_penalty(penalty: float) -> Filter:
    """Divide the positive and multiply the negative scores of tokens already there (CTRL, Keskar et al. 2019)."""

    def apply(history: History, scores: Array) -> None:
        # Padding repeats a token of its row, so that it adds none.
        tokens = np.where(history.ids < 0, history.ids[:, -1:], history.ids)
        seen = np.take_along_axis(scores, tokens, axis=1)
        penalised = np.where(seen < 0, seen * penalty, seen / penalty).astype(scores.dtype)
        np.put_along_axis(scores, tokens, penalised, axis=1)

    return apply


def no_repeat_ngram(size: int) -> Filter:
    """No sequence of `size` tokens occurs twice in a row of ids (Paulus et al. 2017)."""

    def apply(history: History, scores: Array) -> None:
        if history.length < size:
            return
        windows = np.lib.stride_tricks.sliding_window_view(history.ids, size, axis=1)  # [R, L - size + 1, size]
        suffix = history.ids[:, history.length - size + 1 :]
        repeats = (windows[:, :, :-1] == suffix[:, None, :]).all(axis=2) & (windows[:, :, -1] >= 0)
        row, start = np.nonzero(repeats)
        scores[row, windows[row, start, -1]] = FORBIDDEN

    return apply


def bad_words(words: Sequence[tuple[int, ...]]) -> Filter:
    """Forbid the last token of each word wherever the tokens before it have just been generated."""

    def apply(history: History, scores: Array) -> None:
        for *prefix, last in words:
            if len(prefix) > history.length:
                continue
            matches = (history.ids[:, history.length - len(prefix) :] == prefix).all(axis=1)
            scores[matches, last] = FORBIDDEN

    return apply


def _too_short(options: GenerationOptions) -> Condition | None:
    """Fewest new tokens win over a fewest total, which counts the prompt."""
    new, total = options.min_new_tokens, options.min_length
    if new is not None:
        return (lambda history: np.full(len(history.ids), history.generated.shape[1] < new)) if new else None
    return (lambda history: history.lengths < total) if total else None


def _is_first(history: History, forced: bool) -> Array:
    """Whether the next token is the first that is free: a forced one after a prompt of one token is not."""
    count = history.generated.shape[1]
    return np.asarray(count == (forced & (history.lengths - count == 1)))


def _check_vocabulary(options: GenerationOptions, vocab_size: int) -> None:
    groups = {
        "bad_words_ids": [token for word in options.bad_words_ids for token in word],
        "suppress_tokens": options.suppress_tokens,
        "begin_suppress_tokens": options.begin_suppress_tokens,
        "forced_bos_token_id": [] if options.forced_bos_token_id is None else [options.forced_bos_token_id],
        "forced_eos_token_id": options.forced_eos_token_id,
    }
    for name, tokens in groups.items():
        outside = [token for token in tokens if token >= vocab_size]
        if outside:
            raise OptionError(f"{name} has {outside}, outside the vocabulary of {vocab_size} tokens")
