"""Results as Markdown tables."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from harness.results import Ratio, geometric_mean, ratio_of_cell
from harness.system import WORKERS

_MEGABYTE = 1e6


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def pairs(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Ours and the peers of the same precision."""
    systems = results["systems"]
    return [
        (ours, peer)
        for ours, own in systems.items()
        if own["ours"] and not ours.endswith(WORKERS)
        for peer, other in systems.items()
        if not other["ours"] and not peer.endswith(WORKERS) and other["precision"] == own["precision"]
    ]


def times(results: dict[str, Any]) -> str:
    """Median milliseconds, by cell and system; † where others kept the machine busy."""
    names, limit = list(results["systems"]), results["settings"]["foreign"]
    rows = [[cell["name"], *(_time(cell["systems"].get(name), limit) for name in names)] for cell in results["cells"]]
    return table(["ms", *names], rows)


def ratios(results: dict[str, Any]) -> str:
    """How many times faster ours are, by cell, their geometric means and the least; "" if there is no peer."""
    compared = pairs(results)
    if not compared:
        return ""
    columns = [[ratio_of_cell(cell, *pair) for cell in results["cells"]] for pair in compared]
    rows = [
        [cell["name"], *(_told(column[index]) for column in columns)] for index, cell in enumerate(results["cells"])
    ]
    means = [[one.median for one in column if one] for column in columns]
    rows.append(["geometric mean", *(f"**{geometric_mean(mean):.2f}**" if mean else "–" for mean in means)])
    rows.append(["least", *(f"{min(mean):.2f}" if mean else "–" for mean in means)])
    return table(["times faster", *(f"{ours} than {peer}" for ours, peer in compared)], rows)


def memory(results: dict[str, Any]) -> str:
    """Peak resident megabytes, by cell and system, and what lies on disk."""
    names = list(results["systems"])
    rows = [
        [cell["name"], *(_megabytes(cell["systems"].get(name), "peak") for name in names)] for cell in results["cells"]
    ]
    for size in dict.fromkeys(cell["size"] for cell in results["cells"]):
        last = [cell for cell in results["cells"] if cell["size"] == size][-1]
        rows.append([f"on disk, {size}", *(_megabytes(last["systems"].get(name), "disk") for name in names)])
    return table(["MB", *names], rows)


def agreements(results: dict[str, Any]) -> str:
    """Of all cells: rows that are the reference's, and the share of tokens before the first that is not.

    Of vectors, the largest relative error.
    """
    rows = []
    for name in results["systems"]:
        told = [cell["systems"][name].get("agreement") for cell in results["cells"] if name in cell["systems"]]
        told = [one for one in told if one]
        if any("error" in one for one in told):
            rows.append([name, f"{max(one['error'] for one in told):.1e}"])
        elif told:
            equal, count, alike, of = (sum(one[key] for one in told) for key in ("equal", "rows", "alike", "of"))
            rows.append([name, f"{equal} of {count}", f"{alike / of:.1%}"])
    head = ["", "relative error"] if rows and len(rows[0]) == 2 else ["", "rows equal", "before they part"]
    return table(head, rows)


def failures(results: dict[str, Any]) -> str:
    """Why there are systems without numbers, each reason once."""
    reasons = dict.fromkeys(reason for cell in results["cells"] for reason in cell["failed"].values())
    return "".join(f"* {reason}\n" for reason in reasons)


def _time(measured: dict[str, Any] | None, limit: float) -> str:
    if measured is None or not measured["seconds"]:
        return "–"
    mark = " †" if max(measured["foreign"]) > limit else ""
    milliseconds = 1000 * median(measured["seconds"])
    return f"{milliseconds:,.{0 if milliseconds >= 10 else 2}f}{mark}"


def _told(one: Ratio | None) -> str:
    return f"{one.median:.2f} ({one.least:.2f}–{one.most:.2f})" if one else "–"


def _megabytes(measured: dict[str, Any] | None, key: str) -> str:
    return f"{measured[key] / _MEGABYTE:,.0f}" if measured else "–"
