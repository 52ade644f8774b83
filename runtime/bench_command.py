"""`diptych bench`: how fast a bundle is on this machine, and how fast it could be."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from diptych.runtime import ports
from diptych.runtime.bench import report as reporting
from diptych.runtime.bench.cells import Cell, measured, statistic
from diptych.runtime.bench.fresh_load import fresh_load
from diptych.runtime.bench.generating import generating_cells
from diptych.runtime.bench.machine import Busy, describe, foreign_load
from diptych.runtime.bench.own_texts import texts_cells
from diptych.runtime.bench.rates import RateMeter
from diptych.runtime.bench.reading import reading_cells
from diptych.runtime.bundle import Bundle
from diptych.runtime.console import debug_option, progress
from diptych.runtime.provider_options import provider_options, workers_option
from diptych.runtime.providers import CPU, SessionSettings, provider_names
from diptych.runtime.tasks import task_of
from diptych.runtime.tasks.generate import TextGenerator

REPORT_VERSION = 1


class _Numbers(click.ParamType[tuple[int, ...]]):
    name = "N[,N]..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        try:
            numbers = tuple(int(part) for part in str(value).split(","))
        except ValueError:
            numbers = (0,)
        if min(numbers) < 1:
            self.fail(f"{value!r} is not whole numbers from 1, with commas between them, such as 1,8,32", param, ctx)
        return tuple(dict.fromkeys(numbers))


@dataclass(frozen=True)
class _Asked:
    """What is to be measured; None where it was not said."""

    batches: tuple[int, ...]
    beams: tuple[int, ...] | None
    source_length: int | None
    new_tokens: int | None
    lengths: tuple[int, ...] | None
    texts: Path | None
    source_lang: str | None
    target_lang: str | None

    def check(self, task: str, *, generates: bool) -> None:
        """Raises UsageError for what has no meaning for this task, or beside `--texts`."""
        of_generating = ("beams", "source_length", "new_tokens", "source_lang", "target_lang")
        for name in ("lengths",) if generates else of_generating:
            if getattr(self, name) is not None:
                others = "that read whole texts" if generates else "that generate"
                raise click.UsageError(f"{_flag(name)} is for bundles {others}; this one is made to {task}")
        for name in ("source_length", "lengths"):
            if self.texts is not None and getattr(self, name) is not None:
                raise click.UsageError(f"{_flag(name)} is of random tokens; --texts have lengths of their own")
        for name in ("source_lang", "target_lang"):
            if self.texts is None and getattr(self, name) is not None:
                raise click.UsageError(f"{_flag(name)} is about texts; add --texts FILE")


@click.command("bench")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--batch", "batches", type=_Numbers(), default="1,8,32", show_default=True, help="Texts run together.")
@click.option("--beams", type=_Numbers(), help="Beams per text, if the bundle generates.  [default: 1,4]")
@click.option("--source-length", type=click.IntRange(min=1), help="Tokens of a source or prompt.  [default: 32]")
@click.option("--new-tokens", type=click.IntRange(min=1), help="Tokens generated, of --texts at most.  [default: 64]")
@click.option("--length", "lengths", type=_Numbers(), help="Tokens of a text that is only read.  [default: 128]")
@click.option(
    "--texts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure with the lines of a file, from text to result, instead of random tokens.",
)
@click.option("--source-lang", help="The language of --texts, as the model spells it.")
@click.option("--target-lang", help="The language of their results, as the model spells it.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True, help="Times each cell is measured.")
@click.option("--loads", type=click.IntRange(min=0), default=3, show_default=True, help="Times the bundle is loaded.")
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
    help="Write JSON to a file, or to - instead of the table.",
)
@provider_options
@workers_option
@debug_option
def command(
    bundle: Path, rounds: int, loads: int, json_path: Path | None, settings: SessionSettings, **asked: Any
) -> None:
    """Measure BUNDLE on this machine: loading, speed by batch and beams or length, memory, and the share of what the
    machine could do at most.

    Every figure is a median over rounds, each over all cells in turn; docs/bench.md says what it means.

    \b
    Examples:
      diptych bench my-bundle
      diptych bench my-bundle --batch 1,16 --beams 1 --threads 2 --json speed.json
      diptych bench my-bundle --texts english.txt
    """
    if json_path is not None and not json_path.parent.is_dir():
        raise click.UsageError(f"--json {json_path}: there is no folder {json_path.parent}; make it first")
    wanted, opened = _Asked(**asked), Bundle.open(bundle)
    wanted.check(opened.manifest.task, generates=_generates(opened))
    before = Busy.now()
    load = _loads(opened, settings, loads) if loads else None
    cells = _cells(opened, settings, wanted)
    meter = _meter(cells, settings)
    with progress("measuring", len(cells) * (1 + rounds), quiet=False) as show:
        told = measured(cells, rounds, meter, show)
    machine = describe(settings.threads) | {"provider": settings.provider} | _rates(meter)
    report = {
        "report_version": REPORT_VERSION,
        "machine": machine | {"foreign_load": foreign_load(before, Busy.now())},
        "bundle": _describe(opened, cells),
        "rounds": rounds,
        "texts_file": None if wanted.texts is None else str(wanted.texts),
        "load": load,
        "cells": told,
    }
    _tell(report, json_path)


def _flag(name: str) -> str:
    return "--length" if name == "lengths" else f"--{name.replace('_', '-')}"


def _generates(bundle: Bundle) -> bool:
    return task_of(bundle) is TextGenerator


def _loads(bundle: Bundle, settings: SessionSettings, count: int) -> dict[str, Any]:
    """The first load, which may wait for the disk, told apart; the others are as usual."""
    found: list[dict[str, Any]] = []
    with progress("loading", count, quiet=False) as show:
        for number in range(count):
            show(number, f"load {number + 1} of {count}")
            loaded = fresh_load(bundle.folder, settings)
            if loaded is None:
                break
            found.append(loaded)
    if not found:
        return dict.fromkeys(("first_seconds", "seconds", "process_seconds", "memory_bytes")) | {"loads": 0}
    later = found[1:] or found
    return {
        "loads": len(found),
        "first_seconds": found[0]["seconds"],
        "seconds": statistic([one["seconds"] for one in later]),
        "process_seconds": statistic([one["process_seconds"] for one in later]),
        "memory_bytes": found[-1]["memory_bytes"],
    }


def _cells(bundle: Bundle, settings: SessionSettings, asked: _Asked) -> Sequence[Cell]:
    beams = asked.beams or (1, 4)
    if asked.texts is not None:
        given = {"source_lang": asked.source_lang, "target_lang": asked.target_lang, "max_new_tokens": asked.new_tokens}
        options = {name: value for name, value in given.items() if value is not None}
        return texts_cells(bundle, settings, asked.texts, asked.batches, beams, options)
    if _generates(bundle):
        return generating_cells(bundle, settings, asked.batches, beams, asked.source_length, asked.new_tokens)
    return reading_cells(bundle, settings, asked.batches, asked.lengths)


def _meter(cells: Sequence[Cell], settings: SessionSettings) -> RateMeter | None:
    """For a floor, which only what runs on the CPU has."""
    works = cells[0].works.values()
    if not works or provider_names(settings.provider) != [CPU]:
        return None
    threads: int = describe(settings.threads)["threads"]
    return RateMeter([work.size for work in works], {kind for work in works for kind in work.kinds}, threads)


def _rates(meter: RateMeter | None) -> dict[str, Any]:
    """Of a product's multiply-add as two operations, as such rates are told."""
    if meter is None:
        return {"read": None, "multiplies_gflops": None}
    read = [{"bytes": size, "gb_per_second": speed / 1e9} for size, speed in sorted(meter.rates.read.items())]
    return {"read": read, "multiplies_gflops": {kind: 2e-9 * each for kind, each in meter.rates.multiplied.items()}}


def _describe(bundle: Bundle, cells: Sequence[Cell]) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "folder": str(bundle.folder),
        "task": manifest.task,
        "family": manifest.family,
        "parameters": manifest.parameters,
        "precision": manifest.precision.name,
        "weights_bytes": (bundle.folder / ports.WEIGHTS_FILE).stat().st_size,
        "file_bytes": sum(path.stat().st_size for path in bundle.folder.iterdir() if path.is_file()),
        "work": {
            name: {"weights_bytes": work.size, "multiply_adds": dict(work.each), "scoring": dict(work.scored)}
            for name, work in cells[0].works.items()
        },
    }


def _tell(report: dict[str, Any], json_path: Path | None) -> None:
    """The table first: whatever happens to the file, what was measured is told."""
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    if str(json_path) == "-":
        click.echo(text, nl=False)
        return
    reporting.show(report)
    if json_path is not None:
        json_path.write_text(text, encoding="utf-8")
