"""The options of all tasks as flags of one command, shown by task."""

import json
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.option_fields import Kind
from diptych.runtime.tasks import TASKS, Task
from diptych.runtime.tasks.score import Scorer
from diptych.runtime.tasks.similarity import Similarity

# Other things that bundles made for some tasks can do with lines.
MODES: dict[str, tuple[type[Task[Any, Any]], tuple[str, ...], str]] = {
    "similarity": (Similarity, ("embed",), "Lines are two texts, a<TAB>b: the cosine of their vectors."),
    "score": (
        Scorer,
        ("translate", "summarise", "generate"),
        "Lines are a text and its target, a<TAB>b: the target's log-probability.",
    ),
}


class _JsonValue(click.ParamType[Any]):
    """A JSON value; what is no JSON is a string. The task checks what it may be."""

    name = "value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return json.loads(value)
        except (json.JSONDecodeError, TypeError):
            return value


class _FileText(click.ParamType[str]):
    """A text as it stands, or that of a file, without the line break at its end: @FILE."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not text.startswith("@"):
            return text
        try:
            return Path(text[1:]).read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"{text[1:]} cannot be read: {error}", param, ctx)


_TYPES: dict[Kind, click.ParamType[Any]] = {"text": click.STRING, "file": _FileText(), "json": _JsonValue()}


class TaskOption(click.Option):
    """An option of some tasks, and what it means in each."""

    def __init__(self, name: str, kind: Kind, *, off: bool = False) -> None:
        """off: whether a flag can also be switched off."""
        on = f"--{name.replace('_', '-')}"
        if kind == "flag":
            super().__init__([f"{on}/--no-{on[2:]}" if off else on, name], is_flag=True, default=None)
        else:
            super().__init__([on, name], type=_TYPES[kind])
        self.meanings: dict[str, str] = {}


class TaskCommand(click.Command):
    """Shows what belongs to a task under its name."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        rest = [option for option in self.get_params(context) if not isinstance(option, TaskOption | click.Argument)]
        with formatter.section("Options"):
            formatter.write_dl([row for option in rest if (row := option.get_help_record(context))])
        for tasks in _sharing():
            with formatter.section(f"Options of {', '.join(tasks)}"):
                formatter.write_dl(
                    [
                        (row[0], option.meanings[tasks[0]])
                        for option in _OPTIONS.values()
                        if tasks[0] in option.meanings and (row := option.get_help_record(context))
                    ]
                )


def task_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All options of all tasks."""
    command.__dict__.setdefault("__click_params__", []).extend(reversed(_OPTIONS.values()))
    return command


def check_belong(given: Iterable[str], task: str) -> None:
    """Raises UsageError for an option of another task."""
    for name in given:
        option = _OPTIONS[name]
        if task not in option.meanings:
            owners = ", ".join(option.meanings)
            raise click.UsageError(f"{option.opts[0]} is an option of {owners}; this bundle is made to {task}")


def mode_of(options: dict[str, Any], task: type[Task[Any, Any]]) -> type[Task[Any, Any]]:
    """What is done with lines: what the bundle is for, or what a flag among the options, which is taken out, says.

    Raises UsageError for an option that has no meaning with the flag.
    """
    asked = [name for name in MODES if options.pop(name, False)]
    if not asked:
        return task
    mode = MODES[asked[0]][0]
    for name in sorted(options.keys() - {item.name for item in fields(mode.options)}):
        raise click.UsageError(f"{_OPTIONS[name].opts[0]} has no meaning with --{asked[0]}")
    return mode


def _sharing() -> list[list[str]]:
    """The tasks, those with the same options together."""
    together: dict[type, list[str]] = {}
    for name, kind in TASKS.items():
        together.setdefault(kind, []).append(name)
    return list(together.values())


def _all_options() -> dict[str, TaskOption]:
    options: dict[str, TaskOption] = {}
    for name, (_, owners, meaning) in MODES.items():
        options[name] = TaskOption(name, "flag")
        options[name].meanings |= dict.fromkeys(owners, meaning)
    for task, kind in TASKS.items():
        for item in fields(kind.options):
            meaning, generates = item.metadata["help"], issubclass(kind.options, GenerationOptions)
            if not generates and item.default is not None and item.metadata["kind"] != "flag":
                meaning += f" ({item.default} unless given)"
            # A checkpoint may have switched on what is off by default.
            off = item.default is not False or generates
            option = options.setdefault(item.name, TaskOption(item.name, item.metadata["kind"], off=off))
            option.meanings[task] = f"{meaning[0].upper()}{meaning[1:]}."
    return options


_OPTIONS = _all_options()
