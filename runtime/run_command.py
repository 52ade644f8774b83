"""`diptych run`: one result a line, in input order."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import click

from diptych.runtime.bundle import Bundle
from diptych.runtime.console import debug_option, note, progress, warn, write_line
from diptych.runtime.errors import InputError
from diptych.runtime.line_files import Line, count_lines, lines_of, standard, written
from diptych.runtime.providers import SessionSettings
from diptych.runtime.run_options import SIMILARITY, TaskCommand, check_belong, task_options
from diptych.runtime.tasks import ResultT, Task, TextT, task_of
from diptych.runtime.tasks.similarity import Similarity
from diptych.runtime.verification import read_verdict

# Lines read, worked on and written at a time: enough to batch those of like length, few enough to see results come.
CHUNK = 256
_EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("run", cls=TaskCommand)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("texts", metavar="[TEXT]...", nargs=-1)
@click.option("--input", "input_path", type=_EXISTING_FILE, help="Read texts from a file, one a line.")
@click.option("--output", "output_path", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--provider", default="cpu", show_default=True, help="Execution provider: cpu, cuda, …")
@click.option("--strict-provider", is_flag=True, help="Fail where an operator would fall back to the CPU.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="Threads; 0 is one per core.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Texts run together.")
@task_options
@debug_option
def command(
    bundle: Path,
    texts: tuple[str, ...],
    input_path: Path | None,
    output_path: Path | None,
    as_json: bool,
    provider: str,
    strict_provider: bool,
    threads: int,
    batch_size: int,
    **task_values: Any,
) -> int:
    """Do what BUNDLE is for with each TEXT, or each line of --input, or of stdin.

    One result a line, in input order; several of a text are separated by tabs. Two texts that are read together, such
    as a question and its context, are one line, a<TAB>b. A line that cannot be read gives an empty line, is told on
    stderr, and makes the exit status 1.

    \b
    Examples:
      diptych run my-bundle "How are you?" "Thank you."
      diptych run my-bundle --input english.txt --output french.txt
      echo "How are you?" | diptych run my-bundle --num-beams 4 --json
    """
    if texts and input_path:
        raise click.UsageError("give TEXT arguments or --input, not both")
    if input_path and output_path and output_path.exists() and input_path.samefile(output_path):
        raise click.UsageError("--input and --output are the same file")
    options = {name: value for name, value in task_values.items() if value is not None}
    opened = Bundle.open(bundle)
    task = _open(opened, SessionSettings(provider, threads, strict_provider), options)
    verdict = read_verdict(opened)
    if not verdict.verified:
        tell = note if verdict.report is None else warn
        tell(f"{bundle} is not verified ({verdict.told}); diptych verify compares it with its checkpoint.")
    with ExitStack() as stack:
        file = stack.enter_context(input_path.open("rb")) if input_path else standard(sys.stdin, "stdin")
        output = stack.enter_context(written(output_path)) if output_path else standard(sys.stdout, "stdout")
        total = len(texts) or (count_lines(input_path) if input_path and input_path.is_file() else None)
        return _run(task, iter(texts) if texts else lines_of(file), output, as_json, total, batch_size, options)


def _open(bundle: Bundle, settings: SessionSettings, options: dict[str, Any]) -> Task[Any, Any]:
    """The bundle's task, which takes these options."""
    kind = task_of(bundle)
    check_belong(options, bundle.manifest.task)
    if options.pop(SIMILARITY, False):
        kind = Similarity
    task = kind.open(bundle, settings)
    task.check_options(**options)
    return task


def _run(
    task: Task[Any, Any],
    lines: Iterator[Line],
    output: BinaryIO,
    as_json: bool,
    total: int | None,
    batch_size: int,
    options: dict[str, Any],
) -> int:
    """Returns the exit status: 1 if any line was bad."""
    number, status = 0, 0
    by_hand = total is None and sys.stdin is not None and sys.stdin.isatty()
    if by_hand:
        note("Reading lines from the terminal; Ctrl-D ends.")
    chunk_size = 1 if by_hand else CHUNK
    with progress(quiet=output.isatty()) as bar:
        shown = bar.add_task(task.doing, total=total)
        while chunk := [_read(task, line) for line in islice(lines, chunk_size)]:
            readable = [text for text in chunk if not isinstance(text, InputError)]
            results = iter(task.attempt(readable, batch_size=batch_size, **options))
            for text in chunk:
                number += 1
                result = text if isinstance(text, InputError) else next(results)
                if isinstance(result, InputError):
                    status = 1
                    warn(f"line {number}: {result}")
                write_line(output, _show(task, result, as_json))
            bar.update(shown, completed=number)
    return status


def _read(task: Task[TextT, Any], line: Line) -> TextT | InputError:
    try:
        return line if isinstance(line, InputError) else task.from_line(line)
    except InputError as error:
        return error


def _show(task: Task[Any, ResultT], result: ResultT | InputError, as_json: bool) -> str:
    if isinstance(result, InputError):
        return json.dumps({"error": str(result)}, ensure_ascii=False) if as_json else ""
    return json.dumps(task.to_json(result), ensure_ascii=False, allow_nan=False) if as_json else task.to_line(result)
