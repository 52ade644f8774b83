"""Beam search with the semantics of `transformers` 5 (`GenerationMixin._beam_search`), also sampled."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from diptych.runtime.generation.candidates import Candidates
from diptych.runtime.generation.endings import Endings
from diptych.runtime.generation.greedy import UNFINISHED, perturbed
from diptych.runtime.generation.history import History
from diptych.runtime.generation.length_penalty import LengthPenalty
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.pool import Pool, Written
from diptych.runtime.generation.requests import Request
from diptych.runtime.generation.scores import log_softmax
from diptych.runtime.generation.steps import Choice, Finished, Hypothesis, Progress, Step, closed_up, hypothesis
from diptych.runtime.graph import Array
from diptych.runtime.ranked import check, largest, top


class _Ways(NamedTuple):
    """Ways for sources to go on [b, n]: from which rows, with which tokens of which log-probabilities; what that adds
    up to.
    """

    totals: Array
    rows: Array
    tokens: Array
    scores: Array


class Beam:
    """A score is the sum of the log-probabilities, after filters, divided by the generated length to the power of the
    length penalty, plus the coverage penalty.

    Sources b are those still running, beams K, finished hypotheses F. A candidate that ends outside the best K of a
    step is dropped, it finishes no hypothesis.
    """

    apart = False
    over_logits = False

    def __init__(self, endings: Endings, options: GenerationOptions) -> None:
        self.rows_per_source = options.num_beams
        self.endings = endings
        self.options = options
        self._count = max(2, 1 + len(endings.eos)) * options.num_beams  # Of each source, and so, at most, of each row.
        self.candidates = 0 if options.do_sample else self._count
        self._by_length = LengthPenalty(options.length_penalty)
        self.sources: list[int] = []
        self.running = np.zeros((0, options.num_beams), dtype=np.float32)  # [b, K], log-probabilities
        self.found: list[Pool] = []  # [b], of F hypotheses each
        self.worst = np.zeros(0, dtype=np.float32)  # [b], the scores to be beaten
        self._chances: list[np.random.Generator] = []
        self._finished: list[Finished] = []

    def join(self, requests: Sequence[Request]) -> None:
        # All beams start alike: only the first may be continued.
        running = np.full((len(requests), self.rows_per_source), UNFINISHED)
        running[:, 0] = [request.total for request in requests]
        self.sources += [request.number for request in requests]
        self.running = np.concatenate([self.running, running])
        self.found += [Pool(self.options.finished_beams, float(UNFINISHED)) for _ in requests]
        self.worst = np.concatenate([self.worst, np.full(len(requests), UNFINISHED)])
        if self.options.do_sample:
            self._chances += [np.random.default_rng([self.options.seed, request.number]) for request in requests]

    def scores(self, logits: Array) -> Array:
        return log_softmax(logits.astype(np.float32))

    def rank(self, scores: Array) -> Candidates:
        if not self.options.do_sample:
            values, tokens = top(scores, self._count)
            return Candidates(tokens, values)
        totals = self._totals(scores)
        check(totals)
        noisy = np.stack([perturbed(*pair) for pair in zip(totals, self._chances, strict=True)])
        keys, tokens = top(noisy.reshape(scores.shape), self._count)
        return Candidates(tokens, np.take_along_axis(scores, tokens, axis=1), keys)

    def choose(self, step: Step) -> Choice:
        candidates, beams = step.candidates, self.rows_per_source
        totals = self._totals(candidates.scores)
        compared = totals if candidates.keys is None else candidates.keys.reshape(totals.shape)
        check(compared)
        places = largest(compared, self._count) + np.arange(0, totals.size, totals.shape[1])[:, None]  # into [R · C]
        best, counts = _ways(candidates, totals, places[:, :beams]), step.history.counts[::beams]
        ends = self.endings.reached(step.history, best.rows, best.tokens)
        ended, going = np.count_nonzero(ends), None
        if ended:
            self._finish(step, best, ends, counts)
        if ended or candidates.keys is not None:
            best, going = self._unended(step, totals, places)
        self.running = best.totals
        keep = self._goes_on(step.history, counts)
        if going is not None:
            keep &= going
        if np.count_nonzero(keep) < len(keep):
            kept = self._leave(keep)
            return Choice(*(each[kept].reshape(-1) for each in (best.rows, best.tokens, best.scores)))
        rows = best.rows.reshape(-1)
        alike = rows.tobytes() == np.arange(len(rows)).tobytes()
        return Choice(None if alike else rows, best.tokens.reshape(-1), best.scores.reshape(-1))

    def stop(self, sources: Iterable[int], history: History) -> Array:
        """Running beams count as finished, as they do at the length limit."""
        stopped, beams = np.isin(self.sources, list(sources)), self.rows_per_source
        ended = (self.running > UNFINISHED / 2) & stopped[:, None]
        scores = self._by_length(self.running, history.counts[::beams, None])
        rows = ended.reshape(-1).nonzero()[0].tolist()
        if self.options.coverage_penalty:
            scores[ended] += [self._uncovered(history, row) for row in rows]
        self._add(ended, scores, [partial(hypothesis, history, row) for row in rows])
        kept = self._leave(~stopped)
        return np.asarray((kept[:, None] * beams + np.arange(beams)).reshape(-1))

    def progress(self, history: History) -> Iterator[Progress]:
        for place, source in enumerate(self.sources):
            yield Progress(source, history.generated(place * self.rows_per_source), float(self.running[place, 0]))

    def settled(self, source: int, history: History) -> list[int]:
        place, beams = self.sources.index(source), self.rows_per_source
        alive = (np.flatnonzero(self.running[place] > UNFINISHED / 2) + place * beams).tolist()
        texts = [*map(history.generated, alive), *(best.ids for best in self.found[place].best(1))]
        agreed = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*texts, strict=False))
        return [tokens[0] for tokens in agreed]

    def take_finished(self) -> list[Finished]:
        taken, self._finished = self._finished, []
        return taken

    def _totals(self, scores: Array) -> Array:
        """What rows have with each of their candidates [R, C], side by side for each source [b, K · C]."""
        return np.asarray((scores + self.running.reshape(-1, 1)).reshape(len(self.sources), -1))

    def _unended(self, step: Step, totals: Array, places: Array) -> tuple[_Ways, Array]:
        """The best K of these [b, n], those that end last; and whether any of a source's go on."""
        every = _ways(step.candidates, totals, places)
        ends = self.endings.reached(step.history, every.rows, every.tokens)
        running = every.totals + ends * UNFINISHED
        best = np.arange(len(places))[:, None], largest(running, self.rows_per_source)
        found = _ways(step.candidates, totals, places[best])._replace(totals=running[best])
        return found, np.asarray(~ends.all(axis=1))

    def _finish(self, step: Step, best: _Ways, ended: Array, counts: Array) -> None:
        """Those of the best K that ended are hypotheses now, if they are among the best F of their source's."""
        if self.options.constrained:
            # What the limit cut off obeys no grammar: it counts only where nothing complete was found.
            complete = ended & np.isin(best.tokens, self.endings.eos)
            ended = ended & (complete | ~(complete.any(axis=1) | np.array([*map(bool, self.found)]))[:, None])
        scores = self._by_length(best.totals, counts[:, None] + 1)
        ended = ended & (scores > self.worst[:, None])
        rows = best.rows[ended].tolist()
        if self.options.coverage_penalty:
            scores[ended] += [self._uncovered(step.history, row, step.looked) for row in rows]
        each = zip(rows, best.tokens[ended].tolist(), best.scores[ended].tolist(), strict=True)
        written: list[Written] = [partial(step.hypothesis, *how) for how in each]
        if step.looked is not None:
            # A history that is kept for later keeps all that its rows looked at.
            written = [_written(write(score)) for write, score in zip(written, scores[ended].tolist(), strict=True)]
        self._add(ended, scores, written)

    def _add(self, ended: Array, scores: Array, written: Sequence[Written]) -> None:
        """Those that ended [b, K], of these scores."""
        for source, score, write in zip(ended.nonzero()[0].tolist(), scores[ended].tolist(), written, strict=True):
            self.found[source].add(score, write)
            self.worst[source] = self.found[source].worst

    def _uncovered(self, history: History, row: int, looked: Array | None = None) -> float:
        """β · Σ log min(attention, 1) over the source's tokens that got any (Wu et al. 2016).

        looked [R, S]: the attention of a last token that is not in the history yet.
        """
        got = history.attention[row].sum(axis=0)
        if looked is not None:
            got = got + looked[row][: len(got)]
        got = got[(history.sources[row] >= 0) & (got > 0)]
        return self.options.coverage_penalty * float(np.log(np.minimum(got, 1.0)).sum())

    def _goes_on(self, history: History, counts: Array) -> Array:
        """Whether the best running beam may still beat the worst finished one, by transformers' estimate."""
        longest = self.options.early_stopping == "never" and self.options.length_penalty > 0.0
        hopeful = counts + history.left[:: self.rows_per_source] if longest else counts + 1
        keep = self._by_length(self.running[:, 0], hopeful) > self.worst
        if self.options.early_stopping is True or self.options.patience is not None:
            keep &= self.worst == UNFINISHED  # As many have finished as are wanted.
        return np.asarray(keep)

    def _leave(self, keep: Array) -> Array:
        """Which sources stay, in their new order."""
        for source in (~keep).nonzero()[0].tolist():
            # Options that forbid every token leave nothing; the source still has its place.
            best = self.found[source].best(self.options.num_return_sequences) or [Hypothesis([], float(UNFINISHED))]
            self._finished.append(Finished(self.sources[source], best))
        kept = closed_up(keep)
        self.sources = [self.sources[source] for source in kept.tolist()]
        self.found = [self.found[source] for source in kept.tolist()]
        self.running, self.worst = self.running[kept], self.worst[kept]
        if self.options.do_sample:
            self._chances = [self._chances[source] for source in kept.tolist()]
        return kept


def _ways(candidates: Candidates, totals: Array, places: Array) -> _Ways:
    """Those at the places in [R · C]."""
    rows = places // candidates.tokens.shape[1]
    return _Ways(totals.take(places), rows, candidates.tokens.take(places), candidates.scores.take(places))


def _written(hypothesis: Hypothesis) -> Written:
    return lambda score: hypothesis
