"""A benchmark from its command line to its tables."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from harness import tables
from harness.checkpoints import random_checkpoint
from harness.folders import LOGS, RESULTS
from harness.measure import Settings, measure
from harness.models import prepared
from harness.results import Results, of_cell
from harness.system import Cell, System


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What every benchmark can be told."""
    for option in reversed(
        (
            click.option("--systems", help="Names or parts of names, with commas between; all by default."),
            click.option("--bundle", "bundles", multiple=True, metavar="NAME=FOLDER", help="A diptych bundle more."),
            click.option("--rounds", default=5, show_default=True, help="Turns of each system in each cell."),
            click.option("--threads", default=2, show_default=True),
            click.option("--seconds", default=0.5, show_default=True, help="Least time of a turn."),
            click.option("--foreign", default=0.1, show_default=True, help="Processors that others may keep busy."),
            click.option("--retries", default=10, show_default=True, help="Rounds of a cell repeated for that."),
            click.option("--output", type=click.Path(path_type=Path), help="Of the JSON results."),
        )
    ):
        command = option(command)
    return command


def chosen(known: Sequence[System], names: str | None, bundles: Sequence[str], adapter: str) -> list[System]:
    """The systems asked for: a name stands for itself, or else for all it is part of. Raises click.BadParameter."""
    wanted = [name.strip() for name in names.split(",")] if names else [system.name for system in known]
    found: dict[str, System] = {}
    for name in wanted:
        exact = [system for system in known if system.name == name]
        matching = exact or [system for system in known if name in system.name]
        if not matching:
            raise click.BadParameter(f"no system {name!r}; there are {', '.join(one.name for one in known)}")
        found |= {system.name: system for system in matching}
    for text in bundles:
        name, equals, folder = text.partition("=")
        if not (name and equals and Path(folder).is_dir()):
            raise click.BadParameter(f"--bundle {text}: expected NAME=FOLDER, of a folder that is there")
        own = f"diptych {name}"
        precision = next((one for one in ("int8", "int4") if one in name), "fp32")
        found[own] = System(own, adapter, precision, bundle=Path(folder).resolve())
    return list(found.values())


def compare(
    benchmark: str,
    systems: list[System],
    cells: Sequence[Cell],
    settings: Settings,
    output: Path | None,
    facts: Callable[[Any], dict[str, Any]] = lambda result: {},
    checkpoint_of: Callable[[str], Path] = random_checkpoint,
) -> dict[str, Any]:
    """Measure all systems on all cells, keep the results and print the tables.

    facts: of a result, which is not kept itself. checkpoint_of: the model of a size.
    """
    results = Results(output or RESULTS / f"{benchmark}.json", benchmark, systems, settings)
    for size in dict.fromkeys(cell.size for cell in cells):
        models, unprepared = prepared(systems, size, checkpoint_of(size), settings.threads)
        for cell in (cell for cell in cells if cell.size == size):
            print(f"{benchmark}: {cell.name}", file=sys.stderr)
            found, failed = measure(cell, models, settings, LOGS)
            results.add(of_cell(cell, systems, found, unprepared | failed, facts))
    for part in (tables.times, tables.ratios, tables.memory, tables.agreements, tables.failures):
        if told := part(results.content):
            print(told)
    print(f"results: {results.path}")
    return results.content
