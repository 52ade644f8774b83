"""The command line `diptych`.

Commands that need more than the runtime come from the entry points `diptych.commands`.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module, metadata

import click

from diptych.runtime.console import DEBUG, debug_option
from diptych.runtime.errors import DiptychError

_OWN = {
    "run": ("diptych.runtime.run_command", "Do with texts what a bundle is for."),
    "info": ("diptych.runtime.info_command", "Show what is in a bundle."),
    "bench": ("diptych.runtime.bench_command", "Measure how fast a bundle is on this machine."),
}
_PLUGGED = {
    "export": "Export a checkpoint as a verified bundle.",
    "verify": "Prove that a bundle computes what it was made from.",
}
_GROUP = "diptych.commands"


class Commands(click.Group):
    """Imports a command when it is chosen: `diptych --help` waits for neither ONNX Runtime nor torch."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*_plugged(), *_OWN]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        plugged = _plugged()
        if name in plugged:
            try:
                command: click.Command = plugged[name].load()
            except ImportError as error:
                raise click.ClickException(
                    f"`diptych {name}` needs what is not installed here ({error}): pip install 'diptych[export,cpu]'"
                ) from error
            return command
        if name in _OWN:
            own: click.Command = import_module(_OWN[name][0]).command
            return own
        return None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(name)) for name in self.list_commands(context)])

    @staticmethod
    def _summary(name: str) -> str:
        return _OWN[name][1] if name in _OWN else _PLUGGED.get(name, "")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="diptych", message="%(package)s %(version)s")
@debug_option
def diptych() -> None:
    """Encoders and decoders from PyTorch to ONNX, and text out of them.

    \b
    Examples:
      diptych export my-checkpoint my-bundle
      diptych run my-bundle "How are you?" --num-beams 4
      diptych info my-bundle
      diptych bench my-bundle
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: 0 = done, 1 = the work failed, 2 = it was not asked for properly, 130 = interrupted."""
    root = None
    try:
        root = diptych.make_context("diptych", list(sys.argv[1:] if arguments is None else arguments))
        with root:
            status = diptych.invoke(root)
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not complain about it when it closes stdout.
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except Exception as error:  # Whatever it is, one message; --debug shows the rest.
        if root is not None and root.obj == DEBUG:
            raise
        click.echo(f"Error: {_message(error)}", err=True)
        sys.exit(error.exit_status if isinstance(error, DiptychError) else 1)


def _message(error: Exception) -> str:
    """What went wrong; for what nobody foresaw, also its type and how to see more."""
    if isinstance(error, DiptychError | OSError):
        return str(error)
    if isinstance(error, MemoryError):
        return "not enough memory; try fewer beams, a smaller --batch-tokens or --batch-size, or shorter texts"
    return f"{type(error).__name__}: {error} (--debug shows where)"


def _plugged() -> dict[str, metadata.EntryPoint]:
    return {point.name: point for point in metadata.entry_points(group=_GROUP)}
