"""`diptych run`: one result a line, in input order."""

import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from diptych.runtime import ports
from diptych.runtime.bundle import Bundle, file_digest
from diptych.runtime.console import debug_option, note, progress, warn
from diptych.runtime.corpus.job import Job
from diptych.runtime.corpus.lines import FEW, MANY, chunks
from diptych.runtime.corpus.pace import Pace
from diptych.runtime.corpus.rows import InputFormat, format_of, row_reader, row_writer
from diptych.runtime.corpus.streams import check_paths, opened_input, opened_output
from diptych.runtime.engine import onnxruntime
from diptych.runtime.memory_limit import read_size
from diptych.runtime.provider_options import provider_options, workers_option
from diptych.runtime.providers import SessionSettings
from diptych.runtime.run_options import TaskCommand, check_belong, mode_of, task_options
from diptych.runtime.tasks import Task, task_of
from diptych.runtime.verification import read_verdict

_EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_LONG = 10.0
# What results have that a line of text has no place for.
_IN_JSON = ("output_scores", "output_attentions")


@click.command("run", cls=TaskCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("texts", metavar="[TEXT]...", nargs=-1)
@click.option("--input", "input_path", type=_EXISTING_FILE, help="Read texts from a file, one a line.")
@click.option("--input-format", type=click.Choice(["text", "jsonl"]), help="jsonl: a JSON object or string a line.")
@click.option("--output", "output_path", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
@click.option("--restart", is_flag=True, help="Do all of --output anew, whatever an interrupted run has left.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Texts run together.")
@click.option("--batch-tokens", type=click.IntRange(min=1), help="Most tokens of those, padding included.")
@click.option("--memory-limit", metavar="SIZE", help="Most memory in use, 2GB say; batches are as it allows.")
@provider_options
@workers_option
@task_options
@debug_option
def command(
    bundle: Path,
    texts: tuple[str, ...],
    input_path: Path | None,
    input_format: InputFormat | None,
    output_path: Path | None,
    restart: bool,
    as_json: bool,
    settings: SessionSettings,
    batch_size: int,
    batch_tokens: int | None,
    memory_limit: str | None,
    **task_values: Any,
) -> int:
    """Do what BUNDLE is for with each TEXT, or each line of --input, or of stdin.

    One result a line, in input order; several of a text are separated by tabs. Two texts that are read together, such
    as a question and its context, are one line, a<TAB>b, or in JSON lines text and second. A line that cannot be read
    gives an empty line, is told on stderr, and makes the exit status 1. Where --output is interrupted, even by a power
    cut, the same command goes on with it.

    \b
    Examples:
      diptych run my-bundle "How are you?" "Thank you."
      diptych run my-bundle --input english.txt --output french.txt
      echo "How are you?" | diptych run my-bundle --num-beams 4 --json
    """
    if texts and input_path:
        raise click.UsageError("give TEXT arguments or --input, not both")
    if restart and not output_path:
        raise click.UsageError("--restart begins an interrupted --output anew; there is no --output")
    check_paths(input_path, output_path)
    options = {name: value for name, value in task_values.items() if value is not None}
    batches: dict[str, Any] = {"batch_size": batch_size}
    if batch_tokens is not None:
        batches["batch_tokens"] = batch_tokens
    input_format = input_format or format_of(input_path)
    if memory_limit is not None:
        settings = replace(settings, memory_limit=read_size(memory_limit))
    opened = Bundle.open(bundle)
    facts = _facts(opened, settings) | options | {"input_format": input_format, "json": as_json}
    task = _open(opened, settings, options)
    for name in _IN_JSON:
        if options.get(name) and not as_json:
            raise click.UsageError(f"--{name.replace('_', '-')} is told in JSON; add --json")
    _tell_unverified(opened)
    typed = not texts and input_path is None and sys.stdin is not None and sys.stdin.isatty()
    if typed:
        note("Reading lines from the terminal; Ctrl-D ends.")
    job = Job(
        row_reader(task, input_format), partial(task.attempt, **batches, **options), row_writer(task, as_json=as_json)
    )
    with ExitStack() as stack:
        reader = stack.enter_context(opened_input(texts, input_path))
        output = stack.enter_context(opened_output(output_path, facts, restart=restart))
        show = stack.enter_context(progress(task.doing, reader.total, quiet=typed or output.is_terminal))
        pace = Pace(reader.total, show)
        most = MANY if output_path else 1 if typed else FEW if output.is_terminal else MANY
        bad = job.run(chunks(reader, min(FEW, most), most), output, pace)
    if pace.seconds >= _LONG:
        note(f"{pace.lines:,} lines, {bad:,} bad, {pace.seconds:,.0f} s")
    return 1 if bad else 0


def _facts(bundle: Bundle, settings: SessionSettings) -> dict[str, Any]:
    """What results depend on, of what is installed, of the bundle, and of its sessions.

    Not how many texts run together: whoever ran out of memory may go on with fewer.
    """
    return {
        "provider": settings.provider,
        "provider_options": dict(settings.options),
        "threads": settings.threads,
        "diptych": version("diptych"),
        "onnxruntime": onnxruntime.__version__,
        "bundle": file_digest(bundle.folder / ports.MANIFEST_FILE),
    }


def _open(bundle: Bundle, settings: SessionSettings, options: dict[str, Any]) -> Task[Any, Any]:
    """The bundle's task, which takes these options."""
    kind = task_of(bundle)
    check_belong(options, bundle.manifest.task)
    kind = mode_of(options, kind)
    task = kind.open(bundle, settings)
    task.check_options(**options)
    return task


def _tell_unverified(bundle: Bundle) -> None:
    verdict = read_verdict(bundle)
    if not verdict.verified:
        tell = note if verdict.report is None else warn
        tell(f"{bundle.folder} is not verified ({verdict.told}); diptych verify compares it with its checkpoint.")
