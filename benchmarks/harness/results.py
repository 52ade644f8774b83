"""Results as they are kept, one JSON file for each benchmark, written after every cell; what is read out of them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import takewhile
from math import dist, exp, log
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from harness.machine import machine
from harness.measure import Measured, Settings
from harness.system import WORKERS, Cell, System


class Ratio(NamedTuple):
    """How many times a peer's time ours is: the median of the rounds' ratios, the least and the greatest."""

    median: float
    least: float
    most: float


def ratio(peer: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Round by round, since both of a round met the same machine. Above 1, we are faster."""
    ratios = [theirs / own for theirs, own in zip(peer, ours, strict=True)]
    return Ratio(median(ratios), min(ratios), max(ratios))


def ratio_of_cell(cell: dict[str, Any], ours: str, peer: str) -> Ratio | None:
    """Of a cell of the file, each in the faster of its ways there; None if one of the two has no numbers."""
    both = [_fastest(cell["systems"], name) for name in (peer, ours)]
    return ratio(both[0], both[1]) if both[0] and both[1] else None


def _fastest(systems: dict[str, Any], name: str) -> Sequence[float]:
    """The seconds of a system, with threads or with workers; none if it has none."""
    ways = [systems[way]["seconds"] for way in (name, name + WORKERS) if way in systems]
    return min((seconds for seconds in ways if seconds), key=median, default=[])


def geometric_mean(values: Sequence[float]) -> float:
    return exp(sum(map(log, values)) / len(values))


def agreement(found: Sequence[Any], reference: Sequence[Any]) -> dict[str, Any]:
    """Of ids and texts: how many rows are equal, and what comes before they part. Of vectors: the largest error."""
    if not isinstance(reference[0], str) and isinstance(reference[0][0], float):
        return {"error": max(relative_error(*pair) for pair in zip(found, reference, strict=True))}
    pairs = list(zip(found, reference, strict=True))
    alike = sum(len(list(takewhile(lambda two: two[0] == two[1], zip(*pair, strict=False)))) for pair in pairs)
    equal = sum(row == expected for row, expected in pairs)
    return {"equal": equal, "rows": len(pairs), "alike": alike, "of": sum(map(len, reference))}


def of_cell(
    cell: Cell,
    systems: Sequence[System],
    found: dict[str, Measured],
    failed: dict[str, str],
    facts: Callable[[Any], dict[str, Any]],
) -> dict[str, Any]:
    """One cell of the file. Results themselves are not kept: how far they agree with the reference's, and facts."""
    reference = next((one.name for one in systems if one.precision == "fp32" and one.name in found), None)
    told = {}
    for name, measured in found.items():
        entry = asdict(measured)
        result = entry.pop("result")
        if reference is not None:
            entry["agreement"] = agreement(result, found[reference].result)
        told[name] = entry | facts(result)
    head = {"name": cell.name, "size": cell.size, "batch": cell.batch, "beams": cell.beams}
    return {**head, "new tokens": cell.new_tokens, "reference": reference, "systems": told, "failed": failed}


def relative_error(found: Sequence[float], reference: Sequence[float]) -> float:
    """The length of the difference, as a share of the reference's."""
    return dist(found, reference) / dist(reference, [0.0] * len(reference))


class Results:
    """The file of one run. Cells are added as they are done."""

    def __init__(self, path: Path, benchmark: str, systems: Sequence[System], settings: Settings) -> None:
        self.path = path
        self.content: dict[str, Any] = {
            "benchmark": benchmark,
            "machine": machine(),
            "settings": asdict(settings),
            "systems": {one.name: {"precision": one.precision, "ours": one.ours} for one in systems},
            "cells": [],
        }

    def add(self, cell: dict[str, Any]) -> None:
        self.content["cells"].append(cell)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(self.content, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(self.path)
