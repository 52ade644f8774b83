"""The generation loop: step, filter, choose, select; and those that wait join as soon as there is room."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from diptych.runtime.decoder import Decoder, Sources
from diptych.runtime.generation.filters import Filter
from diptych.runtime.generation.history import History
from diptych.runtime.generation.requests import Request, Waiting
from diptych.runtime.generation.steps import Choice, Search, Step
from diptych.runtime.graph import Array

StateT = TypeVar("StateT")
Watch = Callable[[History], Iterable[int]]


def decode(
    decoder: Decoder[StateT],
    waiting: Waiting,
    search: Search,
    filters: Sequence[Filter],
    *,
    pad_id: int = 0,
    looking_at: int | None = None,
    watch: Watch | None = None,
) -> Iterator[History]:
    """Decode until every request is finished; yields the history of the running rows after each step.

    The search has the results: take them after each step. pad_id: what sources are padded with. looking_at: the layer
    whose cross-attention is kept, if any. watch: told the history after each step, it names the sources to stop. A
    prompt is run once for each source, then its rows part.
    """
    rows: _Rows[StateT] | None = None
    while rows is not None or waiting:
        if rows is not None:
            rows.step()
        if requests := waiting.take(set(search.sources), 0 if rows is None else rows.history.ids.shape[1]):
            newcomers = _begin(decoder, requests, search, pad_id, looking_at)
            search.join(requests)
            rows = newcomers if rows is None else rows.joined(newcomers)
        assert rows is not None
        step = Step(rows.history, search.scores(rows.logits), rows.looked)
        for apply in filters:
            apply(step.history, step.scores)
        rows.go_on(search.choose(step))
        if watch is not None and (stopped := list(watch(rows.history))):
            rows.select(search.stop(stopped, rows.history))
        yield rows.history
        rows = rows if search.sources else None


@dataclass
class _Rows(Generic[StateT]):
    """The rows that are running: what the decoder has of them, what they said, and what comes next.

    logits [R, V] and looked [R, S] are those of the last step.
    """

    decoder: Decoder[StateT]
    state: StateT
    history: History
    logits: Array
    looked: Array | None
    layer: int | None

    def step(self) -> None:
        self.logits = self.decoder.step(self.state, np.ascontiguousarray(self.history.ids[:, -1:]))
        self.looked = look(self.decoder, self.state, self.layer)

    def go_on(self, choice: Choice) -> None:
        looked = None if self.looked is None else self.looked[choice.rows]
        self.history = self.history.extended(choice.rows, choice.tokens, choice.scores, looked)
        self.decoder.select(self.state, choice.rows)

    def select(self, rows: Array) -> None:
        self.history = self.history.select(rows)
        self.decoder.select(self.state, rows)

    def joined(self, newcomers: "_Rows[StateT]") -> "_Rows[StateT]":
        self.decoder.join(self.state, newcomers.state)
        looked = None
        if self.looked is not None and newcomers.looked is not None:
            width = max(self.looked.shape[1], newcomers.looked.shape[1])
            looked = np.concatenate([_widened(each, width) for each in (self.looked, newcomers.looked)])
        return _Rows(
            self.decoder,
            self.state,
            self.history.joined(newcomers.history),
            np.concatenate([self.logits, newcomers.logits]),
            looked,
            self.layer,
        )


def _begin(
    decoder: Decoder[StateT], requests: Sequence[Request], search: Search, pad_id: int, layer: int | None
) -> _Rows[StateT]:
    """Read sources and prompts, each once; then there are as many rows of each as the search wants."""
    sources = Sources.pad([list(request.source) for request in requests], pad_id)
    history = History.start(
        [request.prompt for request in requests],
        [request.limit for request in requests],
        [request.source for request in requests],
        [request.begun for request in requests],
    )
    state = decoder.start(sources, rows_per_source=1, attend=layer is not None)
    logits = decoder.step(state, history.ids)
    looked = None
    if layer is not None:
        every = decoder.attention(state)[:, layer].mean(axis=1)  # [R, T, S]
        history, looked = history.looking(every), every[:, -1]
    rows = np.arange(len(requests)).repeat(search.rows_per_source)
    decoder.select(state, rows)
    if search.apart:
        decoder.part(state)
    return _Rows(decoder, state, history.select(rows), logits[rows], None if looked is None else looked[rows], layer)


def look(decoder: Decoder[StateT], state: StateT, layer: int | None) -> Array | None:
    """[R, S]: what the last token looked at, by the mean of a layer's heads."""
    return None if layer is None else np.asarray(decoder.attention(state)[:, layer, :, -1].mean(axis=1))


def _widened(looked: Array, width: int) -> Array:
    return np.pad(looked, ((0, 0), (0, width - looked.shape[1])))
