"""The tables of `docs/parity.md`: rows of what `parity.measured` and the tests of faults found."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from parity.grid import COLUMNS

from diptych.export.parity.bounds import MULTIPLE
from diptych.export.parity.levels.tokens import OWN_SHARE, OWN_SHARE_REDUCED

NAMES = [f"{target} {precision}" for target, precision in COLUMNS]
FAULT_HEADINGS = ("fault", "model", "caught at", "module")
FAMILY_HEADINGS = ("family", "task", "outputs", "PyTorch's own error", "the graph's error", "largest ratio", "bound")
GRID_HEADINGS = ("family", "task", "configuration", *NAMES)
RATIO_HEADINGS = ("bundles", "outputs", "cases", "50 % below", "90 % below", "99 % below", "largest",
                  "at half of all positions, largest")  # fmt: skip
PROPERTY_HEADINGS = ("property", *NAMES)
NEAR_TIE_HEADINGS = ("bundles", "searches", "sources", "near-ties", "most of a search", "PyTorch's own", "its most",
                     "share of what is allowed", "logits apart, share of it")  # fmt: skip
REFUSED, NONE = "refused", ""
Row = tuple[str, ...]
Found = Mapping[str, Any]


def column(each: Found) -> tuple[str, str]:
    return each["target"], each["precision"]


def fault_rows(found: Iterable[Found]) -> list[Row]:
    return [
        (
            each["fault"],
            f"`{each['model']}`",
            ", ".join(each["levels"]),
            f"`{each['module']}`" if each["module"] else "",
        )
        for each in found
    ]


def family_rows(found: Iterable[Found]) -> list[Row]:
    """Of a family's configurations for one task, the outputs of all are put together."""
    groups: dict[tuple[str, str], dict[str, list[tuple[float, float, float]]]] = defaultdict(dict)
    for each in found:
        outputs = groups[each["family"], each["task"]]
        for output, errors in each["errors"].items():
            outputs[f"{each['configuration']} {output}"] = errors
    rows = []
    for (family, task), outputs in sorted(groups.items()):
        own, graph, ratio = numbers(outputs.values())
        cells = [f"{np.median(errors):.1e} / {errors.max():.1e}" for errors in (own, graph)]
        rows.append((f"`{family}`", task, str(len(outputs)), *cells, f"{ratio.max():.2f}", f"{MULTIPLE:g}"))
    return rows


def grid_rows(found: Iterable[Found]) -> list[Row]:
    """Every model: for each target and precision its largest ratio, and the largest at half of all positions."""
    groups: dict[Row, dict[tuple[str, str], str]] = defaultdict(dict)
    for each in found:
        _, _, ratio = numbers(each["errors"].values())
        usual = f" / {max(each['typical']):.2f}" if each["typical"] else ""
        model = f"`{each['family']}`", each["task"], each["configuration"]
        groups[model][column(each)] = f"{ratio.max():.2f}{usual}"
    return [(*model, *(cells.get(place, REFUSED) for place in COLUMNS)) for model, cells in sorted(groups.items())]


def ratio_rows(found: Iterable[Found]) -> list[Row]:
    """Of all outputs in all cases, for each target and precision."""
    rows = []
    for name, members in _by_column(found):
        outputs = [errors for each in members for errors in each["errors"].values()]
        _, _, ratio = numbers(outputs)
        shares = (f"{np.quantile(ratio, share):.2f}" for share in (0.5, 0.9, 0.99))
        usual = [value for each in members for value in each["typical"]]
        told = f"{max(usual):.2f}" if usual else NONE
        rows.append((name, str(len(outputs)), f"{len(ratio):,}", *shares, f"{ratio.max():.2f}", told))
    return rows


def property_rows(found: Iterable[Found]) -> list[Row]:
    """In how many graphs each was proven, and in how many more it need not hold."""
    proven: Counter[tuple[str, str]] = Counter()
    exempt: Counter[tuple[str, str]] = Counter()
    for name, members in _by_column(found):
        for each in members:
            for _, what, is_exempt in each["properties"]:
                (exempt if is_exempt else proven)[what, name] += 1
    names = sorted({what for what, _ in [*proven, *exempt]})
    return [(what, *(_counted(proven[what, name], exempt[what, name]) for name in NAMES)) for what in names]


def near_tie_rows(found: Iterable[Found]) -> list[Row]:
    """For each target and precision: how many sources part at a near-tie, and how many PyTorch parts from itself."""
    rows = []
    for name, members in _by_column(found):
        searches = np.array([search[1:] for each in members for search in each.get("searches", [])])
        texts, near, own = searches.T
        least = OWN_SHARE if name.endswith("fp32") else OWN_SHARE_REDUCED
        allowed = np.maximum(1.0, MULTIPLE * np.maximum(own, least * texts))
        most = (f"{share:.1%}" for share in ((near / texts).max(), (own / texts).max()))
        apart = max((value for each in members for value in each.get("apart", [])), default=None)
        counts = f"{near.sum():,}", next(most), f"{own.sum():,}", next(most)
        told = NONE if apart is None else f"{apart:.2f}"
        rows.append((name, str(len(searches)), f"{texts.sum():,}", *counts, f"{(near / allowed).max():.2f}", told))
    return rows


def distribution(found: Iterable[Found]) -> str:
    """Of the ratios of all."""
    outputs = [errors for each in found for errors in each["errors"].values()]
    _, _, ratio = numbers(outputs)
    shares = ", ".join(f"{share} % below {np.quantile(ratio, share / 100):.2f}" for share in (50, 90, 99))
    return f"Of {len(outputs)} outputs, {len(ratio):,} cases in all: {shares}, and none above {ratio.max():.2f}."


def numbers(outputs: Iterable[Iterable[Sequence[Any]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every output in every case: PyTorch's own error, the graph's, and their ratio."""
    own, graph, ratio = np.array([errors[1:] for output in outputs for errors in output]).T
    return own, graph, ratio


def table(headings: Row, rows: Iterable[Row]) -> str:
    return "\n".join(
        [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|", *(f"| {' | '.join(r)} |" for r in rows)]
    )


def _by_column(found: Iterable[Found]) -> list[tuple[str, list[Found]]]:
    groups: dict[tuple[str, str], list[Found]] = defaultdict(list)
    for each in found:
        groups[column(each)].append(each)
    return [(name, groups[place]) for name, place in zip(NAMES, COLUMNS, strict=True) if place in groups]


def _counted(proven: int, exempt: int) -> str:
    return " ".join([*([str(proven)] if proven else []), *([f"({exempt} exempt)"] if exempt else [])])
