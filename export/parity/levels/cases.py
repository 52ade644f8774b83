"""The sizes on which graphs are compared: none of them was traced, and each has caught a mistake somewhere."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isqrt
from typing import Literal

import numpy as np

from diptych.runtime.graph import Array

Padding = Literal["none", "left", "right", "ragged"]
_PADDED = {
    "none": "",
    "left": ", padded on the left",
    "right": ", padded on the right",
    "ragged": ", padded on both sides",
}
LONGEST = -1  # In a case: as many as the model places, or memory allows.
# Float64 attention scores, logits, or a cache: no case may need more for one of them.
_BYTES = 1 << 27
# Where nothing else limits them: tokens read at once, and cached.
_MOST_READ, _MOST_CACHED = 1 << 11, 1 << 15


@dataclass(frozen=True)
class Case:
    """Sources (or texts) and their length, rows per source, cached tokens, new tokens, and how all these are padded.

    keep: of how many of the new tokens logits are asked for, 0 = all.
    """

    sources: int
    source_length: int
    rows_per_source: int = 1
    past: int = 0
    new: int = 1
    padding: Padding = "none"
    keep: int = 0

    def read(self) -> str:
        """What a graph that reads whole texts is given, in words."""
        tokens = "1 token" if self.source_length == 1 else f"{self.source_length} tokens"
        return f"{self.sources} of {tokens}{_PADDED[self.padding]}"

    def decoded(self, *, looks_back: bool) -> str:
        """What a graph with a cache is given, in words."""
        count = self.sources * self.rows_per_source
        rows = "1 row" if count == 1 else f"{count} rows"
        looking = f" looking back at {self.read()}" if looks_back else _PADDED[self.row_padding]
        return f"{rows}{looking}, {self.past} cached, {self.new} new"

    @property
    def row_padding(self) -> Padding:
        """Of a decoder's rows, which have padding before them if anywhere."""
        return "left" if self.padding == "ragged" else self.padding


QUICK = (
    Case(1, 1),
    Case(1, 1, 4, past=3),
    Case(1, 13, new=6),
    Case(3, 9, padding="ragged", keep=1),
    Case(3, 9, 4, past=5, padding="ragged"),
    Case(3, 9, 4, past=1, new=3, padding="ragged"),
    Case(2, 31, past=17, new=5, padding="left", keep=2),
)
FULL = (
    *QUICK,
    Case(1, 2, new=2),
    Case(5, 1, past=1),
    Case(1, 17, 4, past=1),
    Case(3, 2, past=2, new=2, padding="right"),
    Case(5, 11, new=7, padding="left"),
    Case(5, 12, new=13, padding="right"),
    Case(5, 3, 4, past=23, padding="right", keep=1),
    Case(3, 29, 4, past=30, new=7, padding="ragged"),
    Case(1, 64, past=63),
    Case(1, LONGEST, keep=1),
    Case(1, 5, past=LONGEST),
    Case(3, 5, past=LONGEST, new=3, padding="ragged"),
    Case(1, 5, new=LONGEST, keep=3),
)


@dataclass(frozen=True)
class Limits:
    """Sizes of a model.

    source, target: the most tokens of each side, `None` is no limit. heads: of attention. cached: numbers cached for a
    token. read: numbers put out for a token that is read.
    """

    source: int | None
    target: int | None
    heads: int
    cached: int
    read: int

    def place(self, cases: Iterable[Case]) -> list[Case]:
        """Each case once it fits the model: the longest as long as it goes, others cut where it ends."""
        return list(dict.fromkeys(self._placed(case) for case in cases))

    def left_out(self) -> list[str]:
        """What no case reaches, in words."""
        found = []
        if self.source is not None and self._longest_source < self.source:
            found.append(f"sources longer than {self._longest_source} tokens (the model reads {self.source})")
        if self.target is not None and self._longest_row(1) < self.target:
            found.append(f"positions from {self._longest_row(1)} (the model has {self.target})")
        return found

    def _placed(self, case: Case) -> Case:
        source = self._longest_source if case.source_length == LONGEST else case.source_length
        new = self._longest_new if case.new == LONGEST else case.new
        most = self._longest_row(case.sources * case.rows_per_source)
        new = min(new, most)
        past = most if case.past == LONGEST else case.past
        return replace(
            case,
            source_length=min(source, self.source or source),
            past=min(past, most - new),
            new=new,
            keep=min(case.keep, new),
        )

    @property
    def _square(self) -> int:
        """Tokens whose attention to each other takes no more bytes than a case may."""
        return min(isqrt(_BYTES // (8 * self.heads)), _MOST_READ)

    @property
    def _longest_source(self) -> int:
        return min(self.source or self._square, self._square, _BYTES // (8 * self.read))

    @property
    def _longest_new(self) -> int:
        return min(self.target or self._square, self._square)

    def _longest_row(self, rows: int) -> int:
        """Cached and new tokens, where a batch has so many rows."""
        most = max(1, min(_BYTES // max(4 * self.cached * rows, 1), _MOST_CACHED))
        return min(self.target or most, most)


def padding_mask(rows: int, length: int, padding: Padding) -> Array:
    """[rows, length], 1 = token. Row r lacks its first or last r tokens, cyclically, or each side's share of them."""
    slots, missing = np.arange(length), np.arange(rows)[:, None] % length
    before = {"none": 0 * missing, "left": missing, "right": 0 * missing, "ragged": missing // 2}[padding]
    after = {"none": 0 * missing, "left": 0 * missing, "right": missing, "ragged": missing - missing // 2}[padding]
    return np.asarray((slots >= before) & (slots < length - after)).astype(np.int64)
