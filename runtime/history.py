"""The tokens of each decoder row so far, and how many more it may get."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diptych.runtime.graph import Array

PADDING = -1


@dataclass(frozen=True)
class History:
    """ids [R, L], int64, the prompts included, padded on the left with -1; `prompt_length` columns were given.

    limits [R]: the most tokens that may be generated. Whatever depends on lengths reads a row's own, so that no row
    depends on those it is batched with.
    """

    ids: Array
    prompt_length: int
    limits: Array

    @staticmethod
    def start(prompts: Sequence[Sequence[int]], limits: Sequence[int]) -> "History":
        length = max(map(len, prompts), default=0)
        rows = [[PADDING] * (length - len(prompt)) + list(prompt) for prompt in prompts]
        ids = np.array(rows, dtype=np.int64).reshape(len(prompts), length)
        return History(ids, length, np.array(limits, dtype=np.int64))

    @property
    def length(self) -> int:
        """L"""
        return int(self.ids.shape[1])

    @property
    def lengths(self) -> Array:
        """[R], without padding"""
        return np.asarray((self.ids >= 0).sum(axis=1))

    @property
    def generated(self) -> Array:
        """[R, L - prompt]"""
        return self.ids[:, self.prompt_length :]

    @property
    def left(self) -> Array:
        """[R], how many tokens each row may still get"""
        return self.limits - (self.length - self.prompt_length)

    def select(self, rows: Array) -> "History":
        return History(self.ids[rows], self.prompt_length, self.limits[rows])

    def extended(self, rows: Array, tokens: Array) -> "History":
        """Go on from these rows [R'], one new token [R'] each."""
        chosen = self.select(rows)
        ids = np.concatenate([chosen.ids, tokens[:, None]], axis=1)
        return History(ids, self.prompt_length, chosen.limits)
