"""Where a command's sessions run: `--provider` and what belongs to it, as one decorator."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from diptych.runtime.providers import SessionSettings, settings_for


class _KeyValue(click.ParamType[tuple[str, str]]):
    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        key, equals, rest = str(value).partition("=")
        if not key or not equals:
            self.fail(f"{value!r} is not KEY=VALUE", param, ctx)
        return key, rest


def provider_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--provider`, `--strict-provider`, `--provider-option`, `--threads`: as `settings`."""

    @click.option(
        "--provider",
        default="cpu",
        show_default=True,
        metavar="NAME[,NAME]...",
        help="Execution provider: cpu, cuda, openvino, …; of several, the first that works.",
    )
    @click.option("--strict-provider", is_flag=True, help="Fail where an operator would fall back to the CPU.")
    @click.option(
        "--provider-option",
        "provider_option",
        type=_KeyValue(),
        multiple=True,
        metavar="KEY=VALUE",
        help="An option of the provider, by its own name; may be repeated.",
    )
    @click.option("--threads", type=click.IntRange(min=0), default=0, help="Threads; 0 is one per core.")
    @functools.wraps(command)
    def with_settings(
        *arguments: Any,
        provider: str,
        strict_provider: bool,
        provider_option: tuple[tuple[str, str], ...],
        threads: int,
        **rest: Any,
    ) -> Any:
        settings = settings_for(
            provider,
            threads=threads,
            strict_provider=strict_provider,
            provider_options=dict(provider_option),
        )
        return command(*arguments, settings=settings, **rest)

    return with_settings


def workers_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--workers`, of commands that run batches; below `provider_options`, whose settings have them then."""

    @click.option(
        "--workers", type=click.IntRange(min=1), default=1, help="Batches at a time, each with so many threads."
    )
    @functools.wraps(command)
    def with_workers(*arguments: Any, settings: SessionSettings, workers: int, **rest: Any) -> Any:
        return command(*arguments, settings=replace(settings, workers=workers), **rest)

    return with_workers
