"""Beam search with the semantics of `transformers` 5 (`GenerationMixin._beam_search`), also sampled."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import takewhile

import numpy as np

from diptych.runtime.generation.candidates import Candidates
from diptych.runtime.generation.endings import Endings
from diptych.runtime.generation.greedy import UNFINISHED, perturbed
from diptych.runtime.generation.history import History
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.requests import Request
from diptych.runtime.generation.scores import log_softmax
from diptych.runtime.generation.steps import Choice, Finished, Hypothesis, Progress, Step, hypothesis
from diptych.runtime.graph import Array
from diptych.runtime.ranked import check, top

# A hypothesis that is written out when it is wanted: most are overtaken by others.
Written = Callable[[], Hypothesis]


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
        self.sources: list[int] = []
        self.running = np.zeros((0, options.num_beams), dtype=np.float32)  # [b, K], log-probabilities
        self.finished = np.zeros((0, options.finished_beams), dtype=np.float32)  # [b, F], scores, descending
        self.found: list[list[Written | None]] = []  # [b, F], of those scores; None where nothing has finished yet
        self._open = np.zeros(0, dtype=bool)  # [b], whether there is such a None
        self._chances: list[np.random.Generator] = []
        self._finished: list[Finished] = []

    def join(self, requests: Sequence[Request]) -> None:
        # All beams start alike: only the first may be continued.
        first = np.array([request.total for request in requests], dtype=np.float32)
        running = np.full((len(requests), self.rows_per_source), UNFINISHED)
        running[:, 0] = first
        pool = self.options.finished_beams
        self.sources += [request.number for request in requests]
        self.running = np.concatenate([self.running, running])
        self.finished = np.concatenate([self.finished, np.full((len(requests), pool), UNFINISHED)])
        self.found += [[None] * pool for _ in requests]
        self._open = np.concatenate([self._open, np.ones(len(requests), dtype=bool)])
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
        tokens, scores, keys = step.candidates
        totals, width, beams = self._totals(scores), tokens.shape[1], self.rows_per_source
        values, index = top(totals if keys is None else keys.reshape(totals.shape), self._count)
        places = index + np.arange(0, totals.size, totals.shape[1])[:, None]  # [b, candidates], into [R · C]
        if keys is not None:
            values = totals.reshape(-1)[places]
        rows, tokens, scores = places // width, tokens.reshape(-1)[places], scores.reshape(-1)[places]
        ends = self.endings.reached(step.history, rows, tokens)
        ended = ends.any()
        if ended:
            self._finish(step, values, rows, tokens, scores, ends)
        if ended or keys is not None:
            values, best = top(values + ends * UNFINISHED, beams)
            at = np.arange(len(best))[:, None], best
            rows, tokens, scores = rows[at], tokens[at], scores[at]
        self.running = values[:, :beams]
        keep = self._goes_on(step.history)
        if ended:
            keep &= ~ends.all(axis=1)
        rows, tokens, scores = rows[:, :beams], tokens[:, :beams], scores[:, :beams]
        if not keep.all():
            rows, tokens, scores = rows[keep], tokens[keep], scores[keep]
            self._leave(keep)
        rows = rows.reshape(-1)
        alike = len(rows) == len(step.history) and (rows == np.arange(len(rows))).all()
        return Choice(None if alike else rows, tokens.reshape(-1), scores.reshape(-1))

    def stop(self, sources: Iterable[int], history: History) -> Array:
        """Running beams count as finished, as they do at the length limit."""
        stopped = np.isin(self.sources, list(sources))
        beams = self.rows_per_source
        for place in np.flatnonzero(stopped).tolist():
            rows = range(place * beams, (place + 1) * beams)
            totals = _normalised(self.running[place], history.counts[rows], self.options.length_penalty)
            alive = self.running[place] > UNFINISHED / 2
            scores = totals + ~alive * UNFINISHED
            if self.options.coverage_penalty:
                scores[alive] += [self._uncovered(history, row) for row in np.array(rows)[alive]]
            now = [partial(hypothesis, history, *each) for each in zip(rows, scores.tolist(), strict=True)]
            self._merge(place, scores, np.flatnonzero(alive).tolist(), now)
        self._leave(~stopped)
        return np.flatnonzero((~stopped).repeat(beams))

    def progress(self, history: History) -> Iterator[Progress]:
        for place, source in enumerate(self.sources):
            yield Progress(source, history.generated(place * self.rows_per_source), float(self.running[place, 0]))

    def settled(self, source: int, history: History) -> list[int]:
        place, beams = self.sources.index(source), self.rows_per_source
        alive = (np.flatnonzero(self.running[place] > UNFINISHED / 2) + place * beams).tolist()
        best = self.found[place][0]
        texts = [*map(history.generated, alive), *([best().ids] if best else [])]
        agreed = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*texts, strict=False))
        return [tokens[0] for tokens in agreed]

    def take_finished(self) -> list[Finished]:
        taken, self._finished = self._finished, []
        return taken

    def _totals(self, scores: Array) -> Array:
        """What rows have with each of their candidates [R, C], side by side for each source [b, K · C]."""
        every = scores.reshape(len(self.sources), self.rows_per_source, -1) + self.running[:, :, None]
        return every.reshape(len(self.sources), -1)

    def _finish(self, step: Step, values: Array, rows: Array, tokens: Array, gained: Array, ends: Array) -> None:
        """Merge candidates that ended among the best K with what had finished; keep the best F."""
        ended = ends & (np.arange(values.shape[1]) < self.rows_per_source)
        if self.options.constrained:
            # What the limit cut off obeys no grammar: it counts only where nothing complete was found.
            complete = ended & np.isin(tokens, self.endings.eos)
            found = [any(each is not None for each in found) for found in self.found]
            ended &= complete | ~(complete.any(axis=1) | np.array(found, dtype=bool))[:, None]
        scores = _normalised(values, step.history.counts[rows] + 1, self.options.length_penalty)
        ended &= scores > self.finished[:, -1:]
        for source in np.flatnonzero(ended.any(axis=1)).tolist():
            candidates = np.flatnonzero(ended[source]).tolist()
            if self.options.coverage_penalty:
                uncovered = [self._uncovered(step.history, row, step.looked) for row in rows[source, candidates]]
                scores[source, candidates] += uncovered
            now: list[Written | None] = [None] * len(scores[source])
            for place in candidates:
                row, token = int(rows[source, place]), int(tokens[source, place])
                write = partial(step.hypothesis, row, token, float(gained[source, place]), scores[source, place])
                # A history that is kept for later keeps all that its rows looked at.
                now[place] = write if step.looked is None else _written(write())
            self._merge(source, scores[source], candidates, now)

    def _merge(self, source: int, scores: Array, ended: list[int], now: Sequence[Written | None]) -> None:
        """Those of `now` that ended beside those that had; the first of equals wins."""
        both = np.concatenate([self.finished[source], scores[ended].astype(np.float32)])
        every = [*self.found[source], *(now[place] for place in ended)]
        best = np.argsort(-both, kind="stable")[: self.options.finished_beams]
        self.finished[source] = both[best]
        self.found[source] = [every[place] for place in best.tolist()]
        self._open[source] = None in self.found[source]

    def _uncovered(self, history: History, row: int, looked: Array | None = None) -> float:
        """β · Σ log min(attention, 1) over the source's tokens that got any (Wu et al. 2016).

        looked [R, S]: the attention of a last token that is not in the history yet.
        """
        got = history.attention[row].sum(axis=0)
        if looked is not None:
            got = got + looked[row][: len(got)]
        got = got[(history.sources[row] >= 0) & (got > 0)]
        return self.options.coverage_penalty * float(np.log(np.minimum(got, 1.0)).sum())

    def _goes_on(self, history: History) -> Array:
        """Whether the best running beam may still beat the worst finished one, by transformers' estimate."""
        penalty, beams = self.options.length_penalty, self.rows_per_source
        longest = self.options.early_stopping == "never" and penalty > 0.0
        counts = history.counts[::beams]
        hopeful = counts + history.left[::beams] if longest else counts + 1
        best_possible = _normalised(self.running[:, 0], hopeful, penalty)
        keep = (best_possible > self.finished[:, -1]) | (self._open & (best_possible > UNFINISHED))
        content = self.options.early_stopping is True or self.options.patience is not None
        return np.asarray(keep & self._open if content else keep)

    def _leave(self, keep: Array) -> None:
        for source in np.flatnonzero(~keep).tolist():
            best = [each for each in self.found[source] if each is not None][: self.options.num_return_sequences]
            # Options that forbid every token leave nothing; the source still has its place.
            found = [write() for write in best] or [Hypothesis([], float(UNFINISHED))]
            self._finished.append(Finished(self.sources[source], found))
        kept = np.flatnonzero(keep)
        self.sources = [self.sources[source] for source in kept.tolist()]
        self.found = [self.found[source] for source in kept.tolist()]
        self._chances = [self._chances[source] for source in kept.tolist()]
        self.running, self.finished, self._open = self.running[kept], self.finished[kept], self._open[kept]


def _written(hypothesis: Hypothesis) -> Written:
    return lambda: hypothesis


def _normalised(totals: Array, lengths: Array, penalty: float) -> Array:
    """Log-probabilities by length; what remove_invalid_values left of infinity may outgrow float32."""
    with np.errstate(over="ignore"):
        return np.asarray(totals / (lengths.astype(np.float64) ** penalty).astype(np.float32))
