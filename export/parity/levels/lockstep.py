"""Two decoders that are told the same, step by step: one decides, and how far the other's logits are from it is kept.

A search is a function of logits. If these are never further apart than rounding explains, all through a search, then
whatever it finds that a search by the other decoder alone does not find is owed to rounding: to candidates so near each
other that either may be taken, and to what follows from that. Scores at its end do not tell: a beam that was lost by
next to nothing may have been the best by far.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.runtime.bundle import BundleDecoder
from diptych.runtime.decoder import CachedDecoder, Decoder, Sources
from diptych.runtime.graph import Array
from diptych.runtime.ranked import Ranked, ranked

# What a row was given: its source, or its prompt where there is none.
Given = tuple[int, ...]


@dataclass
class Both:
    """The states of the decoder that decides and of the other, and what each row was given, nothing before its prompt
    is read.
    """

    deciding: Any
    other: Any
    given: list[Given]


class Lockstep:
    """A decoder for the runtime's loop. apart: for what rows were given, the largest distance of a logit."""

    def __init__(self, deciding: BundleDecoder, other: CachedDecoder) -> None:
        self.encoder, self.decoder, self.attends = deciding.encoder, deciding.decoder, deciding.attends
        self._deciding: Decoder[Any] = deciding
        self._other = other
        self.apart: dict[Given, float] = {}

    def start(self, sources: Sources, rows_per_source: int, *, attend: bool = False) -> Both:
        rows = zip(sources.ids, sources.mask, strict=True)
        given = [tuple(ids[mask != 0].tolist()) for ids, mask in rows for _ in range(rows_per_source)]
        states = (
            self._deciding.start(sources, rows_per_source, attend=attend),
            self._other.start(sources, rows_per_source),
        )
        return Both(*states, given)

    def step(self, state: Both, ids: Array) -> Array:
        logits = self._deciding.step(state.deciding, ids)
        self._keep(state, ids, _apart(logits, self._other.step(state.other, ids)))
        return logits

    def rank(self, state: Both, ids: Array, count: int, asked: Array) -> Ranked:
        """Sorted, logits are no further apart than they are one by one."""
        found = self._deciding.rank(state.deciding, ids, count, asked)
        logits = self._other.step(state.other, ids)
        expected = ranked(logits, count, asked)
        theirs = np.take_along_axis(logits, found.tokens, axis=1)
        pairs = (found.logits, expected.logits), (found.logits, theirs), (found.asked, expected.asked)
        self._keep(state, ids, np.concatenate([_apart(*pair) for pair in pairs], axis=1))
        return found

    def attention(self, state: Both) -> Array:
        return self._deciding.attention(state.deciding)

    def select(self, state: Both, rows: Array) -> None:
        self._deciding.select(state.deciding, rows)
        self._other.select(state.other, rows)
        state.given = [state.given[row] for row in rows]

    def part(self, state: Both) -> None:
        self._deciding.part(state.deciding)
        self._other.part(state.other)

    def join(self, state: Both, newcomers: Both) -> None:
        self._deciding.join(state.deciding, newcomers.deciding)
        self._other.join(state.other, newcomers.other)
        state.given += newcomers.given

    def length(self, state: Both) -> int:
        return self._deciding.length(state.deciding)

    def trim(self, state: Both, length: int) -> None:
        self._deciding.trim(state.deciding, length)
        self._other.trim(state.other, length)

    def _keep(self, state: Both, ids: Array, apart: Array) -> None:
        """apart [R, n]"""
        state.given = [given or tuple(row[row >= 0].tolist()) for given, row in zip(state.given, ids, strict=True)]
        for given, most in zip(state.given, apart.max(axis=1).tolist(), strict=True):
            self.apart[given] = max(self.apart.get(given, 0.0), most)


def _apart(values: Array, others: Array) -> Array:
    """Number by number; infinite where one is none."""
    with np.errstate(invalid="ignore"):
        apart = np.where(values == others, 0.0, np.abs(values.astype(np.float64) - others))
    return np.nan_to_num(apart, nan=np.inf, posinf=np.inf)
