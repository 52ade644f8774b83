"""A fault, and the model it is planted in."""

from dataclasses import dataclass, replace
from typing import Any

from families.case import Case
from families.cases import CASES
from parity.mistakes import Plant


@dataclass(frozen=True)
class Fault:
    """name: as people call it. model: of `faults.MODELS`. plant: how it gets into a bundle.

    module: what bisection should name, the first whose results are wrong while what it is given is right; none where
    the graphs are right.
    """

    name: str
    model: str
    module: str | None
    plant: Plant


def model(name: str, **changes: Any) -> Case:
    """One of the families' cases, in another size."""
    case = next(case for case in CASES if str(case) == name)
    return replace(case, config=case.config | changes)
