"""What commands share at the terminal: notes and progress on stderr, and only to a terminal."""

from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

DEBUG = "debug"

stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def note(message: str) -> None:
    """Told to a person, not to a log."""
    if stderr.is_terminal:
        stderr.print(message, style="dim", markup=False)


def warn(message: str) -> None:
    """Told to whoever reads stderr."""
    click.echo(message, err=True)


def progress(*, quiet: bool) -> Progress:
    """A progress bar with an estimate of the time left; silent if asked to be, or where stderr is no terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=stderr,
        disable=quiet or not stderr.is_terminal,
        transient=True,
    )


def debug_option(command: Any) -> Any:
    """`--debug`: a failure shows its traceback instead of one message."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            context.find_root().obj = DEBUG

    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=remember, help="Show the traceback of a failure."
    )(command)


def write_line(file: Any, text: str) -> None:
    """One line of UTF-8, whatever the locale; line breaks inside become `\\n`."""
    escaped = text.replace("\r", "\\r").replace("\n", "\\n")
    file.write(f"{escaped}\n".encode("utf-8", "replace"))
    file.flush()
