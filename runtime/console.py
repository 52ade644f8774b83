"""What commands share at the terminal: notes and progress on stderr, and only to a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

DEBUG = "debug"

stderr = Console(stderr=True, highlight=False, soft_wrap=True)


def note(message: str) -> None:
    """Told to a person, not to a log."""
    if stderr.is_terminal:
        stderr.print(message, style="dim", markup=False)


def warn(message: str) -> None:
    """Told to whoever reads stderr."""
    click.echo(message, err=True)


@contextmanager
def progress(doing: str, total: int | None, *, quiet: bool) -> Iterator[Callable[[int, str], None]]:
    """A progress bar: what it yields is told how much is done and where that is, in words.

    Silent if asked to be, or where stderr is no terminal.
    """
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        console=stderr,
        disable=quiet or not stderr.is_terminal,
        transient=True,
    )
    with bar:
        shown = bar.add_task(doing, total=total, told="")
        yield lambda done, told: bar.update(shown, completed=done, told=told)


def debug_option(command: Any) -> Any:
    """`--debug`: a failure shows its traceback instead of one message."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            context.find_root().obj = DEBUG

    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=remember, help="Show the traceback of a failure."
    )(command)
