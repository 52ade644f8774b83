"""The options of all tasks as flags of one command, shown by task."""

import json
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

import click

from diptych.runtime.tasks import TASKS

SIMILARITY = "similarity"


class _JsonValue(click.ParamType[Any]):
    """A JSON value; what is no JSON is a string. The task checks what it may be."""

    name = "value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return json.loads(value)
        except (json.JSONDecodeError, TypeError):
            return value


class TaskOption(click.Option):
    """An option of some tasks, and what it means in each."""

    def __init__(self, name: str, *, is_flag: bool, default: Any) -> None:
        """default: what it is where it is not given; a flag that is off needs nothing to switch it off."""
        on, off = f"--{name.replace('_', '-')}", f"/--no-{name.replace('_', '-')}"
        if is_flag:
            super().__init__([on if default is False else on + off, name], is_flag=True, default=None)
        else:
            super().__init__([on, name], type=_JsonValue())
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


def _sharing() -> list[list[str]]:
    """The tasks, those with the same options together."""
    together: dict[type, list[str]] = {}
    for name, kind in TASKS.items():
        together.setdefault(kind, []).append(name)
    return list(together.values())


def _all_options() -> dict[str, TaskOption]:
    options = {SIMILARITY: TaskOption(SIMILARITY, is_flag=True, default=False)}
    options[SIMILARITY].meanings["embed"] = "Lines are two texts, a<TAB>b: the cosine of their vectors."
    for task, kind in TASKS.items():
        for item in fields(kind.options):
            is_flag, meaning = item.metadata.get("flag", False), item.metadata["help"]
            option = options.setdefault(item.name, TaskOption(item.name, is_flag=is_flag, default=item.default))
            option.meanings[task] = f"{meaning[0].upper()}{meaning[1:]}."
    return options


_OPTIONS = _all_options()
