"""`diptych run`: one result a line, in input order."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import click

from diptych.runtime import ports
from diptych.runtime.console import debug_option, note, progress, warn, write_line
from diptych.runtime.errors import InputError
from diptych.runtime.options import GenerationOptions
from diptych.runtime.translator import Translation, Translator, load

# Lines read, translated and written at a time: enough to batch those of like length, few enough to see results come.
CHUNK = 256
_EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

Line = str | InputError


class _JsonValue(click.ParamType[Any]):
    """A JSON value; what is no JSON is a string. `GenerationOptions` checks what it may be."""

    name = "value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return json.loads(value)
        except (json.JSONDecodeError, TypeError):
            return value


def generation_options(command: Any) -> Any:
    """One option for each field of `GenerationOptions`, under transformers' names with dashes."""
    for option in reversed(fields(GenerationOptions)):
        flag, meaning = f"--{option.name.replace('_', '-')}", option.metadata["help"]
        text = f"{meaning[0].upper()}{meaning[1:]}."
        command = click.option(flag, option.name, type=_JsonValue(), help=text)(command)
    return command


@click.command("run")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("texts", metavar="[TEXT]...", nargs=-1)
@click.option("--input", "input_path", type=_EXISTING_FILE, help="Read texts from a file, one a line.")
@click.option("--output", "output_path", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: text, ids, score.")
@click.option("--provider", default="cpu", show_default=True, help="Execution provider: cpu, cuda, …")
@click.option("--strict-provider", is_flag=True, help="Fail where an operator would fall back to the CPU.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="Threads; 0 is one per core.")
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True, help="Texts decoded together.")
@generation_options
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
    **generation: Any,
) -> int:
    """Translate each TEXT, or each line of --input, or of stdin.

    One result a line, in input order; several hypotheses of a text are separated by tabs. A line that cannot be
    translated gives an empty line, is told on stderr, and makes the exit status 1.

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
    options = {name: value for name, value in generation.items() if value is not None}
    translator = load(bundle, provider=provider, threads=threads, strict_provider=strict_provider)
    translator.generator.check_options(**options)
    if not (bundle / ports.VERIFICATION_FILE).is_file():
        note(f"{bundle} was exported without comparing it with PyTorch.")
    with ExitStack() as stack:
        file = stack.enter_context(input_path.open("rb")) if input_path else _standard(sys.stdin, "stdin")
        output = stack.enter_context(_written(output_path)) if output_path else _standard(sys.stdout, "stdout")
        total = len(texts) or (_count_lines(input_path) if input_path and input_path.is_file() else None)
        return _run(translator, iter(texts) if texts else _lines(file), output, as_json, total, batch_size, options)


def _standard(stream: TextIO | None, name: str) -> BinaryIO:
    """A service may run us without one."""
    if stream is None:
        raise click.UsageError(f"{name} is closed; name a file instead")
    return stream.buffer


@contextmanager
def _written(path: Path) -> Iterator[BinaryIO]:
    """A file that replaces an earlier one only when it is whole; a pipe or device is written to as it is."""
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    target = path.resolve()
    partial = target.with_name(f"{target.name}.partial")
    with partial.open("wb") as file:
        yield file
    partial.replace(target)


def _run(
    translator: Translator,
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
        task = bar.add_task("translating", total=total)
        while chunk := list(islice(lines, chunk_size)):
            readable = [line for line in chunk if isinstance(line, str)]
            results = iter(translator.attempt(readable, batch_size=batch_size, **options))
            for line in chunk:
                number += 1
                result = line if isinstance(line, InputError) else next(results)
                if isinstance(result, InputError):
                    status = 1
                    warn(f"line {number}: {result}")
                write_line(output, _format(result, as_json))
            bar.update(task, completed=number)
    return status


def _format(result: list[Translation] | InputError, as_json: bool) -> str:
    if isinstance(result, InputError):
        return json.dumps({"error": str(result)}, ensure_ascii=False) if as_json else ""
    if not as_json:
        return "\t".join(translation.text for translation in result)
    best = asdict(result[0])
    if len(result) > 1:
        best["hypotheses"] = [asdict(translation) for translation in result]
    return json.dumps(best, ensure_ascii=False, allow_nan=False)


def _lines(file: BinaryIO) -> Iterator[Line]:
    for number, line in enumerate(file):
        try:
            yield line.rstrip(b"\r\n").decode("utf-8" if number else "utf-8-sig")
        except UnicodeDecodeError as error:
            yield InputError(f"not UTF-8: byte 0x{line[error.start]:02x} at {error.start + 1}; convert the input")


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)
