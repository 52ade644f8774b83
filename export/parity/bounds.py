"""How far an engine may be from the truth: derived from what float32 itself does to the same model.

The truth is the model evaluated in float64. PyTorch's float32 evaluation, and the graph's, both stray from it by
rounding. An output of the graph may stray a small multiple of what PyTorch's did, or of a floor where PyTorch happened
to round luckily. docs/parity.md shows how both numbers were chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from diptych.runtime.graph import Array

# Times PyTorch's own error; and the least own error that is believed, in epsilons of float32 of the output's scale.
MULTIPLE = 4.0
FLOOR = 4.0
EPSILON = float(np.finfo(np.float32).eps)
# Up to so many positions, all cases are alike.
SHORT = 64
# Scores and logits below this, -inf among them, forbid; nothing else is as negative. In float16 less has to do.
_FORBIDDEN, _FORBIDDEN_HALF = -1e30, -1e4


@dataclass(frozen=True)
class Deviation:
    """How far values are from the truth, all absolute maxima over one output.

    error: the engine's. own: PyTorch's in float32. scale: the largest truth.
    """

    error: float
    own: float
    scale: float

    @staticmethod
    def of(values: Array, own: Array, truth: Array) -> "Deviation":
        """Infinite where a shape differs, a value is not finite, or a mask forbids what the truth allows."""
        return Deviation(distance(values, truth), distance(own, truth), scale_of(truth))

    @staticmethod
    def usual(values: Array, own: Array, truth: Array) -> "Deviation":
        """As `of`, at half of all positions: of the largest distances along the last axis, the median."""
        found = Deviation.of(values, own, truth)
        if not np.isfinite(found.error + found.own) or not truth.size:
            return found
        apart = [_rows(np.abs(each.astype(np.float64) - truth)).max(axis=1) for each in (values, own)]
        return Deviation(float(np.median(apart[0])), float(np.median(apart[1])), found.scale)

    @property
    def allowed(self) -> float:
        return MULTIPLE * max(self.own, FLOOR * EPSILON * self.scale)

    @property
    def ratio(self) -> float:
        """The error in units of what float32 explains: 1 is PyTorch's own, `MULTIPLE` is the bound."""
        if not np.isfinite(self.error + self.own):
            return float("inf")
        if not self.error:
            return 0.0
        return MULTIPLE * self.error / self.allowed if self.allowed else float("inf")

    @property
    def holds(self) -> bool:
        return self.ratio <= MULTIPLE


def pooled(deviations: Sequence[Deviation], lengths: Sequence[int]) -> list[Deviation]:
    """The same output in several cases, of so many positions: each with the worst own error of those like it.

    An output of few numbers is rounded luckily in some cases; all together tell what rounding does to it. But not
    longer ones, for far positions are rounded worse than near ones ever are, nor those whose truth is near 0: such a
    truth is what large numbers leave of each other, so its floor is of the output's scale where it is not.
    """
    typical = max((each.scale for each in deviations), default=0.0) / 2
    shares = [
        (length, each.own / each.scale)
        for each, length in zip(deviations, lengths, strict=True)
        if each.scale and each.scale >= typical
    ]
    found = []
    for each, length in zip(deviations, lengths, strict=True):
        worst = max((share for other, share in shares if other <= max(length, SHORT)), default=0.0)
        found.append(replace(each, own=max(each.own, worst * each.scale, FLOOR * EPSILON * typical)))
    return found


def distance(values: Array, truth: Array) -> float:
    """max|values - truth|; infinite as `Deviation.of` says."""
    if values.shape != truth.shape:
        return float("inf")
    values, truth = _wide(values), _wide(truth)
    forbidden = truth < _FORBIDDEN
    if forbidden.any() or values.min(initial=0.0) < _FORBIDDEN:
        if (values[~forbidden] < _FORBIDDEN).any() or (values[forbidden] > _FORBIDDEN_HALF).any():
            return float("inf")
        values, truth = values[~forbidden], truth[~forbidden]
    if not np.isfinite(values).all():
        return float("inf")
    return float(np.abs(values.astype(np.float64) - truth).max(initial=0.0))


def _rows(values: Array) -> Array:
    return values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)


def scale_of(truth: Array) -> float:
    """max|truth|, masks aside."""
    truth = _wide(truth)
    return float(np.abs(truth, where=truth >= _FORBIDDEN, out=np.zeros_like(truth)).max(initial=0.0))


def _wide(values: Array) -> Array:
    """float16 has no number as small as what forbids."""
    return values.astype(np.float32) if values.dtype == np.float16 else values
