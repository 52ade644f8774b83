"""What was measured, for a reader."""

from typing import Any

from rich.console import Console
from rich.table import Table

from diptych.runtime import ports

_UNKNOWN = "unknown"
_COLUMNS = (
    *("batch", "beams", "length", "texts/s", "tokens/s", "spread"),
    *("first token", "a step", "peak memory", "of the floor"),
)


def show(report: dict[str, Any]) -> None:
    console = Console(highlight=False, markup=False)
    about = Table(title=report["bundle"]["folder"], show_header=False, title_justify="left")
    about.add_column(style="bold")
    about.add_column(overflow="fold")
    for name, told in [*_machine(report["machine"]), *_bundle(report["bundle"]), *_load(report["load"])]:
        about.add_row(name, told)
    console.print(about)
    cells = report["cells"]
    columns = [column for column in _COLUMNS if any(column in _row(cell) for cell in cells)]
    table = Table(title=_title(report), title_justify="left", caption_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    for cell in cells:
        row = _row(cell)
        table.add_row(*(row.get(column, "") for column in columns))
    console.print(table)


def _row(cell: dict[str, Any]) -> dict[str, str]:
    row: dict[str, str] = {name: str(cell[name]) for name in ("batch", "beams", "length") if name in cell}
    for column, key in (("texts/s", "texts_per_second"), ("tokens/s", "tokens_per_second")):
        if key in cell:
            row[column] = _number(cell[key]["median"])
    seconds = cell["seconds"]
    if seconds["highest"] > seconds["lowest"]:
        row["spread"] = _share((seconds["highest"] - seconds["lowest"]) / seconds["median"])
    for column, key in (("first token", "first_token_seconds"), ("a step", "step_seconds")):
        if cell.get(key) is not None:
            row[column] = _time(cell[key]["median"])
    row["peak memory"] = _size(cell["peak_memory_bytes"])
    if cell["floor"] is not None:
        row["of the floor"] = _share(cell["floor"]["share"])
    return row


def _title(report: dict[str, Any]) -> str:
    cells, rounds = report["cells"], report["rounds"]
    first = cells[0]
    measured = "once" if rounds == 1 else f"medians of {rounds} rounds"
    if report["texts_file"] is not None:
        return f"{first['texts']:,} texts of {report['texts_file']}, {measured}"
    if "new_tokens" in first:
        return f"{first['source_length']} random tokens in, {first['new_tokens']} out, {measured}"
    return f"random tokens, {measured}"


def _machine(machine: dict[str, Any]) -> list[tuple[str, str]]:
    versions = machine["versions"]
    sets = machine["instruction_sets"]
    rows = [
        ("processor", f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads used"),
        ("instruction sets", _UNKNOWN if sets is None else ", ".join(sets) or "none that matter"),
        ("provider", f"{machine['provider']}, ONNX Runtime {versions['onnxruntime']}"),
    ]
    if machine["read"] is not None:
        speeds = ", ".join(f"{one['gb_per_second']:.0f} GB/s over {_size(one['bytes'])}" for one in machine["read"])
        rows.append(("reads", speeds))
        products = ", ".join(f"{rate:,.0f} GFLOP/s {kind}" for kind, rate in machine["multiplies_gflops"].items())
        rows.append(("multiplies", products.replace("FLOP/s int8", "OP/s int8")))
    busy = machine["foreign_load"]
    told = _UNKNOWN if busy is None else f"{busy:.1f} of {machine['logical_cores']} cores"
    return [*rows, ("busy with others", told)]


def _bundle(bundle: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("bundle", f"{bundle['task']}, {bundle['family']}, {bundle['parameters']:,} parameters"),
        ("weights", f"{bundle['precision']}, {_size(bundle['weights_bytes'])} in {ports.WEIGHTS_FILE}"),
    ]


def _load(load: dict[str, Any] | None) -> list[tuple[str, str]]:
    if load is None:
        return []
    if load["seconds"] is None:
        return [("load", _UNKNOWN)]
    again = f", then {_time(load['seconds']['median'])}" if load["loads"] > 1 else ""
    return [
        ("load", f"{_time(load['first_seconds'])} the first time{again}"),
        ("memory when loaded", _size(load["memory_bytes"])),
    ]


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _size(size: int | None) -> str:
    return _UNKNOWN if size is None else f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"


def _share(value: float) -> str:
    return f"{value:.0%}" if value >= 0.01 else "<1%"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
