"""The length penalty of beam search."""

import numpy as np

from diptych.runtime.graph import Array

# Powers of so many lengths are computed at first, and kept of so many at most.
_FIRST, _MOST = 256, 1 << 16


class LengthPenalty:
    """Divides log-probabilities by the generated length to the power of the penalty, as `transformers` does."""

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty
        self._powers = self._of(np.arange(_FIRST))

    def __call__(self, totals: Array, lengths: Array) -> Array:
        """float32; totals and lengths are of one shape, or made so."""
        try:
            powers = self._powers.take(lengths)
        except IndexError:
            powers = self._of_longer(lengths)
        if self.penalty >= 0:
            return np.asarray(totals / powers)
        # What remove_invalid_values left of infinity may outgrow float32, and powers be too small for it.
        with np.errstate(over="ignore", divide="ignore"):
            return np.asarray(totals / powers)

    def _of_longer(self, lengths: Array) -> Array:
        longest = int(lengths.max())
        if longest < _MOST:
            self._powers = self._of(np.arange(min(2 * longest, _MOST)))
        return self._of(lengths)

    def _of(self, lengths: Array) -> Array:
        with np.errstate(over="ignore", divide="ignore"):
            return np.asarray((lengths.astype(np.float64) ** self.penalty).astype(np.float32))
