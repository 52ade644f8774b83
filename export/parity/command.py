"""`diptych verify`: does a bundle compute what it was made from?"""

import json
from pathlib import Path

import click
from rich.console import Console

from diptych.export.errors import ExportError, told_as_export_errors
from diptych.export.parity.display.html import page
from diptych.export.parity.display.table import show
from diptych.export.parity.verify import verify_bundle, write_verification
from diptych.runtime.console import debug_option, note, warn
from diptych.runtime.provider_options import provider_options
from diptych.runtime.providers import SessionSettings

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(path_type=Path)


@click.command("verify")
@click.argument("bundle", type=_FOLDER)
@click.option("--checkpoint", type=_FOLDER, help="Compare with this checkpoint, in PyTorch.")
@click.option("--against", type=_FOLDER, metavar="BUNDLE", help="Compare with another bundle, on the CPU.")
@click.option("--config", type=_FOLDER, metavar="FILE", help="Stands for the checkpoint's config.json.")
@click.option(
    "--texts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Compare answers on these texts, one a line.",
)
@click.option("--bisect", is_flag=True, help="Name the first module at fault.")
@click.option("--json", "json_path", type=_FILE, metavar="FILE", help="Write the report as JSON.")
@click.option("--html", "html_path", type=_FILE, metavar="FILE", help="Write the report as one page with pictures.")
@provider_options
@click.option("--ignore-config-key", "ignored", multiple=True, metavar="KEY", help="Pass over an unknown key.")
@debug_option
def verify(
    bundle: Path,
    checkpoint: Path | None,
    against: Path | None,
    config: Path | None,
    texts: Path | None,
    bisect: bool,
    json_path: Path | None,
    html_path: Path | None,
    settings: SessionSettings,
    ignored: tuple[str, ...],
) -> int:
    """Prove that BUNDLE computes what a checkpoint does in PyTorch, or what another bundle does.

    Weights, tensors on shapes never traced, the architecture's properties, generated tokens, and answers to texts. The
    exit status is 1 if anything differs by more than rounding in float32 explains.

    \b
    Examples:
      diptych verify my-bundle --checkpoint my-checkpoint
      diptych verify my-bundle --checkpoint my-checkpoint --texts my.txt --html report.html
      diptych verify my-bundle --against my-other-bundle --bisect
    """
    if (checkpoint is None) == (against is None):
        raise click.UsageError("give --checkpoint or --against: what should the bundle be compared with?")
    for path in (json_path, html_path):
        if path is not None and not path.parent.is_dir():
            raise click.UsageError(f"{path.parent}: no such folder")
    with told_as_export_errors():
        report = verify_bundle(
            bundle,
            checkpoint=checkpoint,
            against=against,
            config=config,
            texts=None if texts is None else _lines(texts),
            bisect=bisect,
            settings=settings,
            ignored_keys=ignored,
            keep=False,
            announce=lambda stage: note(f"{stage} …"),
        )
    if checkpoint is not None:
        try:
            write_verification(bundle, report)
        except OSError as error:
            warn(f"the result is not kept in the bundle: {error}")
    show(report, Console(highlight=False, markup=False))
    if json_path is not None:
        text = json.dumps(report.as_json(), indent=1, sort_keys=True, ensure_ascii=False)
        _write(json_path, text + "\n")
    if html_path is not None:
        _write(html_path, page(report, bundle.resolve().name))
    return 0 if report.passed else 1


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ExportError(f"{path}: cannot be written: {error.strerror}") from error


def _lines(path: Path) -> list[str]:
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise ExportError(f"{path}: not UTF-8 at byte {error.start + 1}; convert it") from error
    if not lines:
        raise ExportError(f"{path}: no text in it; expected one a line")
    return lines
