"""Filters edit the scores [R, V] of the next token in place; each is one option of `transformers` generation.

They work on logits under greedy search and on log-probabilities under beam search, in the order of `make_filters`.
"""

from collections.abc import Callable, Sequence

import numpy as np

from diptych.runtime.errors import OptionError
from diptych.runtime.graph import Array
from diptych.runtime.history import History
from diptych.runtime.options import GenerationOptions

Filter = Callable[[History, Array], None]

FORBIDDEN = -np.inf


def make_filters(
    options: GenerationOptions, eos: Sequence[int], prompt_length: int, length_limit: int, vocab_size: int
) -> list[Filter]:
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
    shortest = options.min_length
    if options.min_new_tokens is not None:
        shortest = options.min_new_tokens + prompt_length
    if shortest > prompt_length and eos:
        filters.append(only_while(lambda length: length < shortest, forbid(eos)))
    if options.forced_bos_token_id is not None:
        filters.append(only_while(lambda length: length == 1, force([options.forced_bos_token_id])))
    if options.forced_eos_token_id:
        filters.append(only_while(lambda length: length == length_limit - 1, force(options.forced_eos_token_id)))
    if options.suppress_tokens:
        filters.append(forbid(options.suppress_tokens))
    if options.begin_suppress_tokens:
        first = prompt_length + int(prompt_length == 1 and options.forced_bos_token_id is not None)
        filters.append(only_while(lambda length: length == first, forbid(options.begin_suppress_tokens)))
    return filters


def forbid(tokens: Sequence[int]) -> Filter:
    """Never these tokens."""
    columns = list(tokens)

    def apply(history: History, scores: Array) -> None:
        scores[:, columns] = FORBIDDEN

    return apply


def force(tokens: Sequence[int]) -> Filter:
    """Only these tokens, all with score 0."""
    columns = list(tokens)

    def apply(history: History, scores: Array) -> None:
        scores[:] = FORBIDDEN
        scores[:, columns] = 0.0

    return apply


def only_while(condition: Callable[[int], bool], then: Filter) -> Filter:
    """Apply `then` where the length so far, prompt included, meets the condition."""

    def apply(history: History, scores: Array) -> None:
        if condition(history.length):
            then(history, scores)

    return apply


def repetition_penalty(penalty: float) -> Filter:
    """Divide the positive and multiply the negative scores of tokens already there (CTRL, Keskar et al. 2019)."""

    def apply(history: History, scores: Array) -> None:
        seen = np.take_along_axis(scores, history.ids, axis=1)
        penalised = np.where(seen < 0, seen * penalty, seen / penalty).astype(scores.dtype)
        np.put_along_axis(scores, history.ids, penalised, axis=1)

    return apply


def no_repeat_ngram(size: int) -> Filter:
    """No sequence of `size` tokens occurs twice in a row of ids (Paulus et al. 2017)."""

    def apply(history: History, scores: Array) -> None:
        if history.length < size:
            return
        windows = np.lib.stride_tricks.sliding_window_view(history.ids, size, axis=1)  # [R, L - size + 1, size]
        suffix = history.ids[:, history.length - size + 1 :]
        repeats = (windows[:, :, :-1] == suffix[:, None, :]).all(axis=2)
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
