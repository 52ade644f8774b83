"""What a search sees at each step, what it chooses, and the hypotheses it ends with."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from diptych.runtime.generation.candidates import Candidates
from diptych.runtime.generation.history import History
from diptych.runtime.generation.requests import Request
from diptych.runtime.graph import Array


@dataclass(frozen=True)
class Hypothesis:
    """ids: what was generated, without what was given, the ending EOS included. score: as the search defines it.

    token_scores: each token's log-probability after filters. attention [tokens, S]: what each token looked at, weights
    over the source's tokens, if asked for.
    """

    ids: list[int]
    score: float
    token_scores: list[float] = field(default_factory=list, compare=False)
    attention: Array | None = field(default=None, compare=False, repr=False)


class Finished(NamedTuple):
    """The number of a source, and its hypotheses, best first."""

    source: int
    hypotheses: list[Hypothesis]


@dataclass(frozen=True)
class Progress:
    """The number of a running source, what its best row has generated, and that row's log-probability."""

    source: int
    ids: list[int]
    score: float


class Choice(NamedTuple):
    """The rows [R'] to go on from, all if None, the next token [R'] of each, and its log-probability [R'], float32."""

    rows: Array | None
    tokens: Array
    scores: Array


class Step(NamedTuple):
    """history of R rows; candidates for their next tokens; looked [R, S]: attention, if asked for."""

    history: History
    candidates: Candidates
    looked: Array | None = None

    def hypothesis(self, row: int, token: int, token_score: float, score: float) -> Hypothesis:
        """What a row becomes with its last token."""
        before = hypothesis(self.history, row, score)
        attention = before.attention
        if self.looked is not None and attention is not None:
            attention = np.concatenate([attention, self.looked[[row], : attention.shape[1]]])
        return Hypothesis([*before.ids, token], before.score, [*before.token_scores, token_score], attention)


def closed_up(stay: Array) -> Array:
    """Who stays [n], of all: in order, but the last move into the gaps of those that go, so that few move."""
    places = stay.nonzero()[0]
    gaps = (~stay[: len(places)]).nonzero()[0]
    kept = np.arange(len(places))
    kept[gaps] = places[len(places) - len(gaps) :]
    return kept


def hypothesis(history: History, row: int, score: float) -> Hypothesis:
    """What a row has become."""
    ids, scores = history.told(row)
    attention = None
    if history.record.attends:
        source, every = int((history.sources[row] >= 0).sum()), history.attention
        attention = every[row, every.shape[1] - len(ids) :, :source]
    return Hypothesis(ids, float(score), scores, attention)


class Search(Protocol):
    """How next tokens are chosen, and what it keeps of each source meanwhile.

    Its rows are the history's: `rows_per_source` for each source, side by side, or each by itself if `apart`.
    candidates: how many of a row's best tokens it chooses from; 0 if it has to see the scores of all. over_logits:
    whether filters edit logits: the probabilities of what they leave add up to one again.
    """

    rows_per_source: int
    apart: bool
    candidates: int
    over_logits: bool

    @property
    def sources(self) -> Sequence[int]:
        """The numbers of those that are running, in the rows' order."""
        ...

    def join(self, requests: Sequence[Request]) -> None:
        """Begin these, behind those that run."""
        ...

    def scores(self, logits: Array) -> Array:
        """What filters edit, from logits [R, V]."""
        ...

    def rank(self, scores: Array) -> Candidates:
        """The best, or what is drawn, of filtered scores [R, V]."""
        ...

    def choose(self, step: Step) -> Choice:
        """Sources that are finished have no rows in it."""
        ...

    def stop(self, sources: Iterable[int], history: History) -> Array:
        """End these with what they have; the rows [R'] of all others."""
        ...

    def progress(self, history: History) -> Iterator[Progress]: ...

    def settled(self, source: int, history: History) -> list[int]:
        """The generated ids that its best hypothesis will begin with, whatever comes; for a running source."""
        ...

    def take_finished(self) -> list[Finished]:
        """Those that have finished since the last call."""
        ...
