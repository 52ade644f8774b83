"""`diptych export`: checkpoint in, verified bundle out."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from diptych.export.errors import told_as_export_errors
from diptych.export.lines import read_lines
from diptych.export.parity.display.table import show as show_report
from diptych.export.parity.report import Report
from diptych.export.pipeline import export_checkpoint
from diptych.export.precision.choose import AGREEMENT
from diptych.model.tasks import TASKS
from diptych.runtime.console import debug_option, note
from diptych.runtime.info_command import told_precision
from diptych.runtime.manifest import PRECISIONS, TARGETS, Manifest

_QUALITY = "--quality"


class _Command(click.Command):
    """Lets a path follow `--quality`, whose share may be left out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, list(with_shares(args)))


def with_shares(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments, with the share that `--quality` stands for where what follows is no number."""
    options = True
    for place, argument in enumerate(arguments):
        options &= argument != "--"
        following = arguments[place + 1 : place + 2]
        alone = not any(re.match(r"\.?\d", each) for each in following)
        yield f"{_QUALITY}={AGREEMENT:g}" if options and argument == _QUALITY and alone else argument


@click.command("export", cls=_Command)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--task", type=click.Choice(TASKS), help="What the bundle is for; else what the checkpoint was made for.")
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    default=TARGETS[0],
    help="What the graphs are made for: any engine, or ONNX Runtime on a CPU, faster.",
)
@click.option("--with-attention", is_flag=True, help="The decoder puts out its cross-attention, too.")
@click.option("--precision", type=click.Choice(PRECISIONS), default=PRECISIONS[0], help="What the graphs compute in.")
@click.option(
    _QUALITY,
    type=float,
    is_flag=False,
    flag_value=AGREEMENT,
    metavar="[SHARE]",
    help=f"Keep layers in more bits until this share of predictions stays the same; alone, {AGREEMENT:g}.",
)
@click.option(
    "--texts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Lines to measure quality on, or to find what overflows; else texts that come along.",
)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Stands for its config.json.")
@click.option("--force", is_flag=True, help="Replace an earlier bundle.")
@click.option("--no-verify", is_flag=True, help="Do not compare the graphs with PyTorch.")
@click.option("--ignore-config-key", "ignored", multiple=True, metavar="KEY", help="Pass over an unknown key.")
@debug_option
def export(
    checkpoint: Path,
    bundle: Path,
    task: str | None,
    target: str,
    with_attention: bool,
    precision: str,
    quality: float | None,
    texts: Path | None,
    config: Path | None,
    force: bool,
    no_verify: bool,
    ignored: tuple[str, ...],
) -> None:
    """Export the folder CHECKPOINT (config.json, weights, tokenizer.json) as the folder BUNDLE.

    The graphs are compared with PyTorch before the bundle appears; if they differ, there is none.

    \b
    Examples:
      diptych export my-checkpoint my-bundle
      diptych export my-checkpoint my-bundle --force
      diptych export my-checkpoint my-bundle --config my-model.json
      diptych export my-checkpoint my-bundle --precision int8 --quality 0.99 --texts my.txt
    """
    with told_as_export_errors():
        report = export_checkpoint(
            checkpoint,
            bundle,
            task=task,
            target=target,
            config=config,
            force=force,
            verify=not no_verify,
            with_attention=with_attention,
            precision=precision,
            quality=quality,
            texts=None if texts is None else read_lines(texts),
            ignored_keys=ignored,
            announce=lambda stage: note(f"{stage} …"),
        )
    show(bundle, report)


def show(bundle: Path, report: Report | None) -> None:
    """The bundle's files and the parity summary, as a person reads them."""
    console = Console(highlight=False, markup=False)
    files = Table("file", "bytes", title=Text(str(bundle)), title_justify="left")
    files.columns[1].justify = "right"
    for path in sorted(bundle.iterdir()):
        files.add_row(path.name, f"{path.stat().st_size:,}")
    console.print(files)
    precision = Manifest.read(bundle).precision
    if precision.name != PRECISIONS[0]:
        console.print(told_precision(asdict(precision)))
    if report is None:
        console.print("Not compared with PyTorch.")
        return
    show_report(report, console)
