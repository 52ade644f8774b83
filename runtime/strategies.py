"""Strategies choose the next tokens and keep what is finished: greedy search and beam search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from diptych.runtime.errors import EngineError
from diptych.runtime.graph import Array
from diptych.runtime.history import History
from diptych.runtime.options import GenerationOptions

# transformers' "minus infinity" of scores that are still to be beaten; its arithmetic is part of the semantics.
UNFINISHED = np.float32(-1.0e9)


@dataclass(frozen=True)
class Hypothesis:
    """ids: what was generated, the ending EOS included. score: as `Greedy` and `Beam` define it."""

    ids: list[int]
    score: float


class Choice(NamedTuple):
    """The rows [R'] to go on from, and the next token [R'] of each."""

    rows: Array
    tokens: Array


class Strategy(Protocol):
    """What a search keeps between steps. Rows of finished sources are not chosen again."""

    rows_per_source: int

    def scores(self, logits: Array) -> Array:
        """What filters edit, from logits [R, V]."""
        ...

    def choose(self, history: History, scores: Array) -> Choice: ...

    def hypotheses(self) -> list[list[Hypothesis]]:
        """For each source, best first."""
        ...


class Greedy:
    """Always the likeliest token. A score is the sum of the log-softmax, after filters, of the chosen tokens."""

    rows_per_source = 1

    def __init__(self, sources: int, eos: Sequence[int]) -> None:
        self.eos = np.array(eos, dtype=np.int64)
        self.sources = np.arange(sources)
        self.running = np.zeros(sources, dtype=np.float32)
        self.results: list[list[Hypothesis]] = [[] for _ in range(sources)]

    def scores(self, logits: Array) -> Array:
        return logits.astype(np.float32)

    def choose(self, history: History, scores: Array) -> Choice:
        tokens = scores.argmax(axis=1)
        _check(scores[np.arange(len(tokens)), tokens])
        self.running = self.running + np.take_along_axis(log_softmax(scores), tokens[:, None], axis=1)[:, 0]
        done = np.isin(tokens, self.eos) | (history.left <= 1)
        for row in np.flatnonzero(done):
            ids = [*history.generated[row].tolist(), int(tokens[row])]
            self.results[self.sources[row]] = [Hypothesis(ids, float(max(self.running[row], UNFINISHED)))]
        rows = np.flatnonzero(~done)
        self.sources, self.running = self.sources[rows], self.running[rows]
        return Choice(rows, tokens[rows])

    def hypotheses(self) -> list[list[Hypothesis]]:
        return self.results


class Beam:
    """Beam search with the semantics of `transformers` 5 (`GenerationMixin._beam_search`).

    A score is the sum of the log-probabilities, after filters, divided by the generated length to the power of the
    length penalty. Sources b are those still running, beams K; a candidate that ends outside the best K of a step is
    dropped, it finishes no hypothesis.
    """

    def __init__(self, sources: int, eos: Sequence[int], options: GenerationOptions) -> None:
        beams = options.num_beams
        self.rows_per_source = beams
        self.eos = np.array(eos, dtype=np.int64)
        self.options = options
        self.candidates = max(2, 1 + len(eos)) * beams
        self.results: list[list[Hypothesis]] = [[] for _ in range(sources)]
        self.sources = np.arange(sources)
        self.running = np.full((sources, beams), UNFINISHED)  # [b, K], log-probabilities
        self.running[:, 0] = 0.0  # All beams start alike: only the first may be continued.
        self.finished = np.full((sources, beams), UNFINISHED)  # [b, K], scores, descending
        self.is_finished = np.zeros((sources, beams), dtype=bool)
        self.finished_ids: list[list[list[int]]] = [[[] for _ in range(beams)] for _ in range(sources)]

    def scores(self, logits: Array) -> Array:
        return log_softmax(logits.astype(np.float32))

    def choose(self, history: History, scores: Array) -> Choice:
        beams, vocab_size = self.rows_per_source, scores.shape[1]
        totals = scores.reshape(-1, beams, vocab_size) + self.running[:, :, None]
        values, index = _top(totals.reshape(len(totals), -1), self.candidates)
        rows = index // vocab_size + np.arange(len(totals))[:, None] * beams  # [b, candidates], into [R]
        tokens = index % vocab_size
        ends = np.isin(tokens, self.eos) | (history.left[::beams, None] <= 1)

        self._finish(history, values, rows, tokens, ends)
        self.running, best = _top(values + ends * UNFINISHED, beams)
        length = history.length + 1 - history.prompt_length
        keep = self._can_improve(length, history.limits[::beams]) & ~ends.all(axis=1)
        if self.options.early_stopping is True:
            keep &= ~self.is_finished.all(axis=1)
        rows, tokens = np.take_along_axis(rows, best, axis=1)[keep], np.take_along_axis(tokens, best, axis=1)[keep]
        self._leave(keep)
        return Choice(rows.reshape(-1), tokens.reshape(-1))

    def hypotheses(self) -> list[list[Hypothesis]]:
        return self.results

    def _finish(self, history: History, values: Array, rows: Array, tokens: Array, ends: Array) -> None:
        """Merge candidates that ended among the best K with what had finished; keep the best K."""
        beams = self.rows_per_source
        ended = ends & (np.arange(values.shape[1]) < beams)
        if not ended.any():
            return
        length = history.length + 1 - history.prompt_length
        scores = values / float(length) ** self.options.length_penalty + ~ended * UNFINISHED
        was_finished = np.concatenate([self.is_finished, ended], axis=1)
        self.finished, best = _top(np.concatenate([self.finished, scores], axis=1), beams)
        self.is_finished = np.take_along_axis(was_finished, best, axis=1)
        for source in np.flatnonzero(ended.any(axis=1)):
            before = self.finished_ids[source]
            self.finished_ids[source] = [
                before[place]
                if place < beams
                else [*history.generated[rows[source, place - beams]].tolist(), int(tokens[source, place - beams])]
                for place in best[source]
            ]

    def _can_improve(self, length: int, longest: Array) -> Array:
        """Whether the best running beam may still beat the worst finished one, by transformers' estimate."""
        penalty = self.options.length_penalty
        hopeful = longest if self.options.early_stopping == "never" and penalty > 0.0 else np.full_like(longest, length)
        divisors = (hopeful.astype(np.float64) ** penalty).astype(np.float32)
        best_possible = self.running[:, :1] / divisors[:, None]
        worst = np.where(self.is_finished, self.finished.min(axis=1, keepdims=True), UNFINISHED)
        return np.asarray((best_possible > worst).any(axis=1))

    def _leave(self, keep: Array) -> None:
        for source in np.flatnonzero(~keep):
            ranked = zip(self.finished_ids[source], self.finished[source], self.is_finished[source], strict=True)
            found = [Hypothesis(ids, float(score)) for ids, score, is_finished in ranked if is_finished]
            # Options that forbid every token leave nothing; the source still has its place.
            found = found or [Hypothesis([], float(UNFINISHED))]
            self.results[self.sources[source]] = found[: self.options.num_return_sequences]
        self.sources, self.running = self.sources[keep], self.running[keep]
        self.finished, self.is_finished = self.finished[keep], self.is_finished[keep]
        self.finished_ids = [ids for ids, kept in zip(self.finished_ids, keep, strict=True) if kept]


def log_softmax(scores: Array) -> Array:
    """Over the last axis, in float32; a row of nothing but minus infinity stays so."""
    least, smallest = np.finfo(np.float32).min, np.finfo(np.float32).tiny
    shifted = scores - np.maximum(scores.max(axis=-1, keepdims=True), least)
    return np.asarray(shifted - np.log(np.maximum(np.exp(shifted).sum(axis=-1, keepdims=True), smallest)))


def _top(values: Array, count: int) -> tuple[Array, Array]:
    """The `count` largest of each row, descending, and where they stand; the first of equals wins."""
    _check(values)
    count = min(count, values.shape[1])
    if count < values.shape[1]:
        bound = np.partition(values, -count, axis=1)[:, -count, None]
        index = np.stack([_first_at_least(row, low, count) for row, low in zip(values, bound, strict=True)])
    else:
        index = np.broadcast_to(np.arange(count), values.shape)
    picked = np.take_along_axis(values, index, axis=1)
    order = np.argsort(-picked, axis=1, kind="stable")
    return np.take_along_axis(picked, order, axis=1), np.take_along_axis(index, order, axis=1)


def _check(scores: Array) -> None:
    if np.isnan(scores).any():
        raise EngineError("the model's logits are not numbers (NaN); does it compute so in PyTorch, too?")


def _first_at_least(row: Array, low: Array, count: int) -> Array:
    """Where the `count` largest of a row stand, given the smallest of them; the first of equals win."""
    above, equal = np.flatnonzero(row > low), np.flatnonzero(row == low)
    return np.concatenate([above, equal[: count - len(above)]])
