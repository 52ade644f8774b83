"""Rows that go their way by themselves: the likeliest token each time, or one drawn by its probability."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from diptych.runtime.generation.candidates import Candidates
from diptych.runtime.generation.endings import Endings
from diptych.runtime.generation.history import History
from diptych.runtime.generation.requests import Request
from diptych.runtime.generation.scores import log_softmax
from diptych.runtime.generation.steps import Choice, Finished, Hypothesis, Progress, Step, closed_up, hypothesis
from diptych.runtime.graph import Array
from diptych.runtime.ranked import check

# transformers' "minus infinity" of scores that are still to be beaten; its arithmetic is part of the semantics.
UNFINISHED = np.float32(-1.0e9)


class Greedy:
    """Always the likeliest token. A score is the sum of the log-softmax, after filters, of the chosen tokens."""

    rows_per_source = 1
    apart = True
    candidates = 1
    over_logits = True

    def __init__(self, endings: Endings) -> None:
        self.endings = endings
        self.sources: list[int] = []
        self._totals = np.zeros(0, dtype=np.float32)  # [R], log-probabilities
        self._done: dict[int, list[Hypothesis]] = {}
        self._finished: list[Finished] = []

    def join(self, requests: Sequence[Request]) -> None:
        rows = [request for request in requests for _ in range(self.rows_per_source)]
        self.sources += [request.number for request in rows]
        self._totals = np.concatenate([self._totals, np.array([r.total for r in rows], dtype=np.float32)])

    def scores(self, logits: Array) -> Array:
        return logits.astype(np.float32)

    def rank(self, scores: Array) -> Candidates:
        every, tokens = np.arange(len(scores)), self.pick(scores)
        check(scores[every, tokens])
        return Candidates(tokens[:, None], log_softmax(scores)[every, tokens][:, None])

    def choose(self, step: Step) -> Choice:
        tokens, gained = step.candidates.tokens[:, 0], np.maximum(step.candidates.scores[:, 0], UNFINISHED)
        self._totals = self._totals + gained
        done = self.endings.reached(step.history, None, tokens)
        if not np.count_nonzero(done):
            return Choice(None, tokens, gained)
        for row in done.nonzero()[0].tolist():
            score = float(max(self._totals[row], UNFINISHED))
            self._finish(self.sources[row], step.hypothesis(row, tokens.item(row), gained.item(row), score))
        rows = closed_up(~done)
        self._keep(rows)
        return Choice(rows, tokens[rows], gained[rows])

    def pick(self, scores: Array) -> Array:
        """The next token [R] of each row."""
        return np.asarray(scores.argmax(axis=1))

    def stop(self, sources: Iterable[int], history: History) -> Array:
        stopped = set(sources)
        for row, source in enumerate(self.sources):
            if source in stopped:
                self._finish(source, hypothesis(history, row, float(self._totals[row])))
        rows = closed_up(np.array([source not in stopped for source in self.sources], dtype=bool))
        self._keep(rows)
        return rows

    def progress(self, history: History) -> Iterator[Progress]:
        """Each row by itself."""
        for row, source in enumerate(self.sources):
            yield Progress(source, history.generated(row), float(self._totals[row]))

    def settled(self, source: int, history: History) -> list[int]:
        return history.generated(self.sources.index(source))

    def take_finished(self) -> list[Finished]:
        taken, self._finished = self._finished, []
        return taken

    def _finish(self, source: int, found: Hypothesis) -> None:
        done = self._done.setdefault(source, [])
        done.append(found)
        if len(done) == self.rows_per_source:
            self._finished.append(Finished(source, sorted(self._done.pop(source), key=lambda each: -each.score)))

    def _keep(self, rows: Array) -> None:
        self.sources = [self.sources[row] for row in rows]
        self._totals = self._totals[rows]


class Sampling(Greedy):
    """Each token drawn by its probability after filters, by each row's own stream of chance.

    What a row draws depends on the seed, its source's number and which of the source's rows it is; not on the batch.
    """

    candidates = 0

    def __init__(self, endings: Endings, seed: int, rows_per_source: int = 1) -> None:
        super().__init__(endings)
        self.rows_per_source = rows_per_source
        self._seed = seed
        self._chances: list[np.random.Generator] = []

    def join(self, requests: Sequence[Request]) -> None:
        super().join(requests)
        self._chances += [
            np.random.default_rng([self._seed, request.number, copy])
            for request in requests
            for copy in range(self.rows_per_source)
        ]

    def pick(self, scores: Array) -> Array:
        return np.array([draw(*pair) for pair in zip(scores, self._chances, strict=True)], dtype=np.int64)

    def settled(self, source: int, history: History) -> list[int]:
        """Of several samples nothing is settled before they are ranked."""
        return super().settled(source, history) if self.rows_per_source == 1 else []

    def _keep(self, rows: Array) -> None:
        super()._keep(rows)
        self._chances = [self._chances[row] for row in rows]


def draw(scores: Array, chance: "np.random.Generator") -> int:
    """One of the tokens [V], by the softmax of their scores."""
    check(scores)
    return int(perturbed(scores, chance).argmax())


def perturbed(scores: Array, chance: "np.random.Generator") -> Array:
    """Scores [N] plus Gumbel noise, in float64: the largest are draws by their softmax, without replacement.

    Kool et al. 2019. Each place has noise of its own, whatever is allowed beside it: scores that differ in their last
    digits, as they do from batch to batch, hardly ever give another draw.
    """
    allowed = np.flatnonzero(scores > -np.inf)
    noisy = np.full(len(scores), -np.inf)
    noisy[allowed] = scores[allowed] - np.log(-np.log(chance.random(len(scores))[allowed]))
    return noisy
