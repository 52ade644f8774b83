"""`diptych info`: what is in a bundle."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from diptych.runtime import ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.console import debug_option
from diptych.runtime.provider_options import provider_options
from diptych.runtime.providers import SessionSettings
from diptych.runtime.sessions import placement
from diptych.runtime.verification import read_verdict

_SHOWN = (
    *("task", "family", "tokens", "source_positions", "target_positions"),
    *("generation", "labels", "pooling", "languages", "tools"),
)


@click.command("info")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--json", "json_path", type=click.Path(allow_dash=True, path_type=Path), help="Write JSON to a file or -."
)
@provider_options
@debug_option
def command(bundle: Path, json_path: Path | None, settings: SessionSettings) -> None:
    """Show what is in BUNDLE: task, special tokens, defaults, labels, graphs, files, whether it was verified, and which
    execution provider runs how many of each graph's nodes.

    \b
    Examples:
      diptych info my-bundle
      diptych info my-bundle --json -
      diptych info my-bundle --provider openvino
    """
    facts = describe(Bundle.open(bundle), settings)
    if json_path is None:
        _show(facts)
        return
    text = json.dumps(facts, indent=2, ensure_ascii=False) + "\n"
    if str(json_path) == "-":
        click.echo(text, nl=False)
    else:
        json_path.write_text(text, encoding="utf-8")


def describe(bundle: Bundle, settings: SessionSettings) -> dict[str, Any]:
    """The facts that `info` shows, as JSON-like values."""
    manifest, verdict = bundle.manifest, read_verdict(bundle)
    graphs = bundle.sessions(settings)
    placed = {name: placement(graph.session) for name, graph in graphs.items()}
    return {
        "folder": str(bundle.folder),
        "task": manifest.task,
        "family": manifest.family,
        "parameters": manifest.parameters,
        "target": manifest.target,
        "precision": asdict(manifest.precision),
        "tokens": asdict(manifest.tokens),
        "source_positions": manifest.source_positions,
        "target_positions": manifest.target_positions,
        "generation": manifest.generation,
        "labels": None if manifest.labels is None else asdict(manifest.labels),
        "pooling": None if manifest.pooling is None else asdict(manifest.pooling),
        "languages": None if manifest.languages is None else asdict(manifest.languages),
        "graphs": {
            name: {"inputs": dict(graph.inputs), "outputs": dict(graph.outputs)} for name, graph in graphs.items()
        },
        "placement": {
            name: {where: counts.total() for where, counts in found.items()} for name, found in placed.items()
        },
        "fallback": {
            name: dict(found["cpu"].most_common())
            for name, found in placed.items()
            if "cpu" in found and len(found) > 1
        },
        "files": {path.name: path.stat().st_size for path in sorted(bundle.folder.iterdir())},
        "tools": manifest.tools,
        "verified": verdict.verified,
        "verdict": verdict.told,
        "verification": verdict.report,
    }


def _show(facts: dict[str, Any]) -> None:
    table = Table(title=facts["folder"], show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key in _SHOWN:
        if facts[key] not in (None, {}):
            table.add_row(key.replace("_", " "), _inline(facts[key]))
    table.add_row("parameters", f"{facts['parameters']:,} in {ports.WEIGHTS_FILE}")
    table.add_row("target", facts["target"])
    table.add_row("precision", told_precision(facts["precision"]))
    for name, graph in facts["graphs"].items():
        table.add_row(name, "\n".join(["in", *_ports(graph["inputs"]), "out", *_ports(graph["outputs"])]))
    for name, found in facts["placement"].items():
        left = facts["fallback"].get(name, {})
        table.add_row(f"{name} on", _placed(found, left))
    table.add_row("files", "\n".join(f"{size:>12,}  {name}" for name, size in facts["files"].items()))
    table.add_row("verified", facts["verdict"])
    Console(highlight=False, markup=False).print(table)


def told_precision(precision: Mapping[str, Any]) -> str:
    """`int8, agreement 0.992, …`, and a line for those modules that are in another."""
    quality = "".join(f", {name} {value:.4g}" for name, value in precision["quality"].items())
    kept: dict[str, list[str]] = {name: [] for name in sorted(precision["kept"].values())}
    for module, name in precision["kept"].items():
        kept[name].append(module)
    lines = [f"in {name}: {', '.join(modules)}" for name, modules in kept.items()]
    return "\n".join([precision["name"] + quality, *lines])


def _placed(found: dict[str, int], left: dict[str, int]) -> str:
    """`cpu 130 nodes`, or `openvino 120 nodes, cpu 10 nodes: 6 Shape, 4 Gather`"""
    told = ", ".join(f"{where} {count} nodes" for where, count in found.items())
    return told + (f": {', '.join(f'{count} {operator}' for operator, count in left.items())}" if left else "")


def _ports(shapes: dict[str, Any]) -> list[str]:
    """A line for each port; those of all layers but the first are left out."""
    lines = [f"  {name} [{', '.join(map(str, shape))}]" for name, shape in shapes.items() if not _of_later_layer(name)]
    return lines if len(lines) == len(shapes) else [*lines, f"  and so on: {len(shapes)} in all"]


def _of_later_layer(name: str) -> bool:
    parts = name.split(".")
    return len(parts) > 1 and parts[1] != "0"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_inline(item)}" for key, item in value.items())
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str | int) else str(value)
