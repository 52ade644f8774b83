"""Prompt lookup (Saxena 2023): guess that what follows will be what followed before, and check all guesses in one step.

The tokens are those of greedy search, whatever is guessed; only the steps are fewer.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from diptych.runtime.decoder import Decoder, Sources
from diptych.runtime.generation.filters import Filter
from diptych.runtime.generation.history import History
from diptych.runtime.generation.loop import Watch
from diptych.runtime.generation.requests import Request
from diptych.runtime.generation.steps import Search, Step

StateT = TypeVar("StateT")


class Lookup(NamedTuple):
    """Most guesses of a step, and the most last tokens that they are looked up by."""

    guesses: int
    longest: int


def speculate(
    decoder: Decoder[StateT],
    request: Request,
    search: Search,
    filters: Sequence[Filter],
    lookup: Lookup,
    *,
    pad_id: int = 0,
    watch: Watch | None = None,
) -> Iterator[History]:
    """As `decode`, for one request and greedy search."""
    history = History.start([request.prompt], [request.limit], [request.source], [request.begun])
    state = decoder.start(Sources.pad([list(request.source)], pad_id), rows_per_source=1)
    search.join([request])
    unread, guessed = history.ids, list[int]()
    while True:
        fed = np.concatenate([unread, np.array([guessed], dtype=np.int64)], axis=1)
        known = decoder.length(state) + unread.shape[1]
        logits = decoder.forward(state, fed, keep=len(guessed) + 1)
        for place in range(len(guessed) + 1):
            scores = search.scores(logits[:, place])
            for apply in filters:
                apply(history, scores)
            choice = search.choose(Step(history, search.rank(scores)))
            history = history.extended(*choice)
            if watch is not None and (stopped := list(watch(history))):
                search.stop(stopped, history)
            yield history
            if not search.sources:
                return
            if place == len(guessed) or choice.tokens[0] != guessed[place]:
                break
        decoder.trim(state, known + place)
        unread = history.ids[:, -1:]
        room = int(history.left[0]) - 1
        found = look_up(request.source, history.ids[0].tolist(), min(lookup.guesses, room), lookup.longest)
        # What is read may have a larger vocabulary than what is said.
        strange = [place for place, token in enumerate(found) if token >= logits.shape[-1]]
        guessed = found[: strange[0]] if strange else found


def look_up(source: Sequence[int], ids: Sequence[int], guesses: int, longest: int) -> list[int]:
    """What followed the last occurrence of the last tokens, as many of them as match; in `ids`, else in `source`."""
    for size in range(min(longest, len(ids)), 0, -1):
        for text in (ids[:-1], source):
            for start in range(len(text) - size, -1, -1):
                if list(text[start : start + size]) == list(ids[-size:]):
                    followed = list((ids if text is not source else source)[start + size : start + size + guesses])
                    if followed:
                        return followed
    return []
