"""The tokens of each decoder row so far."""

from dataclasses import dataclass

import numpy as np

from diptych.runtime.graph import Array


@dataclass(frozen=True)
class History:
    """ids [R, L], int64, the prompt included; `prompt_length` of its columns were given, not generated."""

    ids: Array
    prompt_length: int

    @staticmethod
    def start(prompt: list[int], rows: int) -> "History":
        return History(np.tile(np.array(prompt, dtype=np.int64), (rows, 1)), len(prompt))

    @property
    def length(self) -> int:
        return int(self.ids.shape[1])

    @property
    def generated(self) -> Array:
        """[R, L - prompt]"""
        return self.ids[:, self.prompt_length :]

    def extended(self, rows: Array, tokens: Array) -> "History":
        """Go on from these rows [R'], one new token [R'] each."""
        return History(np.concatenate([self.ids[rows], tokens[:, None]], axis=1), self.prompt_length)
