"""Level 2 for what searches do to a decoder's rows: whatever became of them, each goes on as if decoded anew."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from diptych.export.parity.levels.properties import Finding, Tolerance, same
from diptych.export.parity.levels.ranking import COUNTS, problems
from diptych.runtime.bundle import BundleDecoder
from diptych.runtime.decoder import Decoder, Sources
from diptych.runtime.generation.history import PADDING
from diptych.runtime.graph import Array

_ROWS = 4
_SEED = 47


class Rows:
    """A state of a decoder's, and beside it what each row must have: its source, and its tokens so far."""

    def __init__(self, decoder: BundleDecoder, sources: Sources, vocabulary: int) -> None:
        self.decoder: Decoder[Any] = decoder
        self.sources, self.vocabulary = sources, vocabulary
        self.random = np.random.default_rng(_SEED)
        self.state = self.decoder.start(sources, _ROWS)
        self.owners = np.arange(len(sources.ids)).repeat(_ROWS)
        self.texts: list[list[int]] = [[] for _ in self.owners]
        self.rows_per_source = _ROWS

    def step(self) -> Array:
        """Any token for each row."""
        ids = self.random.integers(0, self.vocabulary, (len(self.texts), 1))
        self.texts = [[*text, int(token)] for text, (token,) in zip(self.texts, ids, strict=True)]
        return self.decoder.step(self.state, ids)

    def anew(self) -> Array:
        """The same logits from the beginning, with a source of its own for each row."""
        state = self.decoder.start(self._sources_of(self.owners), 1)
        width = max(map(len, self.texts))
        ids = np.array([[PADDING] * (width - len(text)) + text for text in self.texts])
        return self.decoder.step(state, ids)

    def reorder(self) -> str:
        chosen = self.random.integers(0, self.rows_per_source, len(self.texts))
        self._select(self._first_rows(np.arange(len(self.texts))) + chosen, self.rows_per_source)
        return "rows were reordered within their sources"

    def leave(self) -> str:
        group = self.rows_per_source
        self._select(np.flatnonzero(np.arange(len(self.texts)) // group != 1), group)
        return "a source had left"

    def forget(self) -> str:
        self.decoder.trim(self.state, self.decoder.length(self.state) - 1)
        self.texts = [text[:-1] for text in self.texts]
        return "a token was forgotten"

    def drop(self) -> str:
        kept = np.flatnonzero(np.arange(len(self.texts)) % self.rows_per_source < 2)
        self._select(kept[::-1], 2)
        return "rows were dropped and sources turned round"

    def repeat(self) -> str:
        self._select(np.arange(len(self.texts)).reshape(-1, self.rows_per_source)[:, [0, 1, 1]].reshape(-1), 3)
        return "rows were repeated"

    def part(self) -> str:
        self.decoder.part(self.state)
        self.rows_per_source = 1
        return "every row became a source of its own"

    def join(self) -> str:
        others = np.array([1, 0])
        newcomers = self.decoder.start(self._sources_of(others), 1)
        ids = self.random.integers(0, self.vocabulary, (len(others), 2))
        self.decoder.step(newcomers, ids)
        self.decoder.join(self.state, newcomers)
        self.owners = np.concatenate([self.owners, others])
        self.texts += ids.tolist()
        return "shorter rows had joined"

    def _select(self, rows: Array, rows_per_source: int) -> None:
        self.decoder.select(self.state, rows)
        self.owners, self.texts = self.owners[rows], [self.texts[row] for row in rows]
        self.rows_per_source = rows_per_source

    def _first_rows(self, rows: Array) -> Array:
        return rows - rows % self.rows_per_source

    def _sources_of(self, owners: Array) -> Sources:
        return Sources(self.sources.ids[owners], self.sources.mask[owners])


def rearranged(rows: Rows, length: int, bound: Tolerance) -> Iterator[Finding]:
    """So many steps, with something else done to the rows after each."""
    rows.step()
    happened = (rows.reorder, rows.reorder, rows.leave, rows.reorder, rows.forget, rows.drop, rows.reorder, rows.repeat)
    for happen in (*happened, rows.part, rows.join, rows.reorder)[: length - 1]:
        what = happen()
        yield same(rows.step(), rows.anew(), bound, f"tokens after {what}, and anew")


def ranked_alike(rows: Rows, length: int) -> Iterator[Finding]:
    """After each token, what the graph calls its best logits are."""
    for number in range(length):
        count = COUNTS[number % len(COUNTS)]
        ids = rows.random.integers(0, rows.vocabulary, (len(rows.texts), 1))
        found = rows.decoder.rank(rows.state, ids, count, np.arange(rows.vocabulary))
        wrong = next(problems(found, count), None)
        yield Finding(0.0 if wrong is None else float("inf"), wrong or f"the best {count}")
        rows.reorder()
