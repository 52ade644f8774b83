"""Level 2, properties: what makes the architecture what it is, proven on the graphs alone.

Each compares runs of the same graph that must give the same, or must not. Rounding may differ between two runs as far
as level 1 allows it to differ from the truth, on either side.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from diptych.export.parity.bounds import scale_of
from diptych.export.parity.report import PropertyReport
from diptych.runtime.errors import EngineError
from diptych.runtime.graph import Array


@dataclass(frozen=True)
class Tolerance:
    """How far an output may be from the truth, as a share of its scale: anywhere, and at half of all positions.

    usual: None where these are the same. Where activations are rounded to steps, rounding in float32 may take a few to
    the next one; what most positions say differs by no more than float32 explains.
    """

    most: float
    usual: float | None = None


# For each file and output.
Bound = Callable[[str, str], Tolerance]


@dataclass(frozen=True)
class Finding:
    """What two runs of a property showed, in units of what is allowed: at most 1 holds."""

    error: float
    detail: str

    @property
    def holds(self) -> bool:
        return self.error <= 1.0


def same(one: Array, other: Array, bound: Tolerance, detail: str) -> Finding:
    """Two runs that must agree."""
    apart = _apart(one, other)
    error = float(apart.max(initial=0.0)) / allowed(other, bound.most)
    if bound.usual is not None and apart.size:
        places = apart.reshape(-1, apart.shape[-1]).max(axis=1)
        error = max(error, float(np.median(places)) / allowed(other, bound.usual))
    return Finding(error, detail)


def different(one: Array, other: Array, bound: Tolerance, detail: str) -> Finding:
    """Two runs that must not: each row, [rows, …], by more than rounding could explain."""
    if not one.size:
        return Finding(0.0, detail)
    apart = min(float(_apart(*rows).max(initial=0.0)) for rows in zip(one, other, strict=True))
    least = bound.most if bound.usual is None else bound.usual
    return Finding(allowed(other, least) / apart if apart else float("inf"), detail)


def other_ids(random: np.random.Generator, ids: Array, vocabulary: int, avoided: int | None = None) -> Array:
    """Drawn ids, none of them what it was, nor `avoided`. Not the next ones: neighbours may be alike, if unused."""
    drawn = np.asarray(random.integers(0, vocabulary, ids.shape))
    for _ in range(2):
        taken = (drawn == ids) | (drawn == avoided)
        drawn = np.asarray((drawn + taken) % vocabulary)
    return drawn


def prove(name: str, graph: str, runs: Callable[[], Iterator[Finding]]) -> PropertyReport:
    """The worst of a property's findings; a graph that cannot run one of them does not have it."""
    try:
        findings = list(runs())
    except EngineError as error:
        return PropertyReport(name, graph, holds=False, error=float("inf"), detail=str(error))
    worst = max(findings, key=lambda finding: np.nan_to_num(finding.error, nan=np.inf))
    return PropertyReport(name, graph, holds=worst.holds, error=float(worst.error), detail=worst.detail)


def exempt(name: str, graph: str, reason: str) -> PropertyReport:
    """What the architecture does not have by definition."""
    return PropertyReport(name, graph, holds=True, error=0.0, detail="", exempt=reason)


def allowed(values: Array, bound: float) -> float:
    """How far apart two runs of such values may be."""
    return 2 * bound * max(scale_of(values), float(np.finfo(np.float32).tiny))


def _apart(one: Array, other: Array) -> Array:
    """Number by number; infinite where shapes differ, or what is no number."""
    if one.shape != other.shape:
        return np.array([np.inf])
    with np.errstate(invalid="ignore"):
        apart = np.where(one == other, 0.0, np.abs(one.astype(np.float64) - other))
    return np.nan_to_num(apart, nan=np.inf, posinf=np.inf)
