"""The generation loop: step, filter, choose, select; and those that wait join as soon as there is room.

Where it is known before a step what filters do, the decoder tells but the best tokens, not the scores of all.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from diptych.runtime.decoder import Decoder, Sources
from diptych.runtime.generation.candidates import Candidates, foreseen
from diptych.runtime.generation.filters import Effect, Filter, Foresight
from diptych.runtime.generation.filters.foresight import NONE
from diptych.runtime.generation.history import History
from diptych.runtime.generation.requests import Request, Waiting
from diptych.runtime.generation.steps import Choice, Search, Step
from diptych.runtime.graph import Array
from diptych.runtime.ranked import Ranked

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
    foresee = Foresight(filters)
    while rows is not None or waiting:
        parts = [] if rows is None else [rows]
        running = set(search.sources) if waiting else ()
        if waiting.may_join(len(running)) and (requests := waiting.take(running, 0 if rows is None else rows.length)):
            parts.append(_begin(decoder, requests, pad_id, looking_at))
            search.join(requests)
        effect = foresee([part.history for part in parts]) if search.candidates else None
        for part in parts:
            part.step(search, effect)
        if parts[-1] is not rows:
            parts[-1].multiply(search)
        rows = parts[0] if len(parts) == 1 else parts[0].joined(parts[1])
        candidates = rows.candidates(search, filters, effect)
        rows.go_on(search.choose(Step(rows.history, candidates, rows.looked)))
        if watch is not None and (stopped := list(watch(rows.history))):
            rows.select(search.stop(stopped, rows.history))
        yield rows.history
        rows = rows if search.sources else None


@dataclass
class _Rows(Generic[StateT]):
    """The rows that are running: what the decoder has of them, what they said, and what comes next.

    unread [R, T]: ids that the decoder is to read. logits [R, V], or the best of them, and looked [R, S] are those of
    the last step.
    """

    decoder: Decoder[StateT]
    state: StateT
    history: History
    layer: int | None
    unread: Array
    logits: Array | Ranked
    looked: Array | None

    @property
    def length(self) -> int:
        """Of the longest row."""
        return int(self.history.lengths.max(initial=0))

    def step(self, search: Search, effect: Effect | None) -> None:
        """effect: what filters will do, if they need not see all scores."""
        if effect is None:
            self.logits = self.decoder.step(self.state, self.unread)
        else:
            count = search.candidates + effect.most if effect.forced is None else 1
            asked = effect.forbidden if search.over_logits else NONE
            self.logits = self.decoder.rank(self.state, self.unread, count, asked)
        self.looked = look(self.decoder, self.state, self.layer)

    def multiply(self, search: Search) -> None:
        """As many rows as the search wants, of prompts that were read once for each source."""
        if self.layer is not None:
            every = self.decoder.attention(self.state)[:, self.layer].mean(axis=1)  # [R, T, S]
            self.history = self.history.looking(every)
        if search.rows_per_source > 1:
            rows = np.arange(len(self.history)).repeat(search.rows_per_source)
            self.select(rows)
            self.logits = self.logits[rows]
            self.looked = None if self.looked is None else self.looked[rows]
        if search.apart:
            self.decoder.part(self.state)

    def joined(self, newcomers: "_Rows[StateT]") -> "_Rows[StateT]":
        """The rows of both, which have made the same kind of step."""
        self.decoder.join(self.state, newcomers.state)
        history, looked = self.history.joined(newcomers.history), None
        if self.looked is not None and newcomers.looked is not None:
            width = max(self.looked.shape[1], newcomers.looked.shape[1])
            looked = np.concatenate([_widened(each, width) for each in (self.looked, newcomers.looked)])
        logits = _joined(self.logits, newcomers.logits)
        return _Rows(self.decoder, self.state, history, self.layer, history.record.last[:, None], logits, looked)

    def candidates(self, search: Search, filters: Sequence[Filter], effect: Effect | None) -> Candidates:
        """What the search chooses from, filtered."""
        logits = self.logits
        if isinstance(logits, Ranked):
            assert effect is not None
            found = foreseen(logits, effect, search.candidates, over_logits=search.over_logits)
            if found is not None:
                return found
            logits = self._all_logits()
        scores = search.scores(logits)
        for apply in filters:
            apply(self.history, scores)
        return search.rank(scores)

    def go_on(self, choice: Choice) -> None:
        looked = self.looked if self.looked is None or choice.rows is None else self.looked[choice.rows]
        self.history = self.history.extended(*choice, looked)
        self.unread = np.ascontiguousarray(choice.tokens[:, None])
        if choice.rows is not None:
            self.decoder.select(self.state, choice.rows)

    def select(self, rows: Array) -> None:
        self.history = self.history.select(rows)
        self.unread = self.unread[rows]
        self.decoder.select(self.state, rows)

    def _all_logits(self) -> Array:
        """The last step once more, with all logits."""
        self.decoder.trim(self.state, self.decoder.length(self.state) - 1)
        logits = self.decoder.step(self.state, np.ascontiguousarray(self.history.record.last[:, None]))
        self.looked = look(self.decoder, self.state, self.layer)
        return logits


def _begin(decoder: Decoder[StateT], requests: Sequence[Request], pad_id: int, layer: int | None) -> _Rows[StateT]:
    """Sources, which are read, and their prompts, which are to be: each once."""
    sources = Sources.pad([list(request.source) for request in requests], pad_id)
    history = History.start(
        [request.prompt for request in requests],
        [request.limit for request in requests],
        [request.source for request in requests],
        [request.begun for request in requests],
    )
    state = decoder.start(sources, rows_per_source=1, attend=layer is not None)
    return _Rows(decoder, state, history, layer, history.ids, NONE, None)


def _joined(first: Array | Ranked, second: Array | Ranked) -> Array | Ranked:
    if isinstance(first, Ranked) and isinstance(second, Ranked):
        return first.joined(second)
    return np.concatenate([first, second])


def look(decoder: Decoder[StateT], state: StateT, layer: int | None) -> Array | None:
    """[R, S]: what the last token looked at, by the mean of a layer's heads."""
    return None if layer is None else np.asarray(decoder.attention(state)[:, layer, :, -1].mean(axis=1))


def _widened(looked: Array, width: int) -> Array:
    return np.pad(looked, ((0, 0), (0, width - looked.shape[1])))
