"""Execution providers: their names, which of several is used, and what one that is missing needs."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, TypeVar

from diptych.runtime.engine import onnxruntime as ort
from diptych.runtime.errors import OptionError, ProviderError
from diptych.runtime.plugins import PLUGINS, installed_plugins

CPU = "CPUExecutionProvider"
_SUFFIX = "ExecutionProvider"
_OTHER_NAMES = {f"Dml{_SUFFIX}": "directml", f"NvTensorRTRTX{_SUFFIX}": "tensorrt-rtx"}
_log = logging.getLogger(__name__)

OpenedT = TypeVar("OpenedT")


@dataclass(frozen=True)
class SessionSettings:
    """How sessions are made: the provider, intra-op threads (0 = one per core), and whether the CPU may help out.

    provider: a short name, or ONNX Runtime's own; several, with commas between them, are tried in order. workers:
    batches that run at the same time, each with so many threads; one where memory has a limit. lean: matrices
    stay in the mapped file, of which ONNX Runtime else keeps copies, transposed or in the order that its kernels like
    best, and memory goes back to the system after each run. tuned: the graphs are made for this engine's CPU. options:
    of the provider, by its own names. memory_limit: bytes that the process may have in memory while it runs texts, or
    no limit.
    """

    provider: str = "cpu"
    threads: int = 0
    strict: bool = False
    workers: int = 1
    lean: bool = False
    tuned: bool = False
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    memory_limit: int | None = None


def settings_for(
    provider: str | Sequence[str] = "cpu",
    *,
    threads: int = 0,
    workers: int = 1,
    strict_provider: bool = False,
    provider_options: Mapping[str, Any] | None = None,
    memory_limit: int | None = None,
) -> SessionSettings:
    """The settings that a call's arguments mean; several providers may come as a list. Raises OptionError."""
    if type(threads) is not int or threads < 0:
        raise OptionError(f"threads is {threads!r}; expected a whole number, 0 for one per core")
    if type(workers) is not int or workers < 1:
        raise OptionError(f"workers is {workers!r}; expected a whole number from 1")
    names = provider if isinstance(provider, str) else ",".join(provider)
    options = dict(provider_options or {})
    return SessionSettings(names, threads, strict_provider, workers, options=options, memory_limit=memory_limit)


def affinities(settings: SessionSettings) -> str:
    """Which core each thread but the caller's stays on, as ONNX Runtime wants to be told, or nothing.

    Where there are as many threads as cores that this process may use, the system at times has two on one core. Several
    batches at a time have more threads than that, and no core of their own. Without a number, ONNX Runtime decides.
    """
    if settings.threads < 2 or settings.workers > 1 or not hasattr(os, "sched_getaffinity"):
        return ""
    cores = sorted(os.sched_getaffinity(0))
    return ";".join(str(core + 1) for core in cores[1:]) if settings.threads == len(cores) else ""


def short_name(provider: str) -> str:
    """`CUDAExecutionProvider` -> `cuda`"""
    return _OTHER_NAMES.get(provider, provider.removesuffix(_SUFFIX).lower())


def provider_names(wanted: str) -> list[str]:
    """ONNX Runtime's names of the providers to try, in order.

    Raises ProviderError, with those that are alike, for a name that no provider has.
    """
    names = list(dict.fromkeys(provider_name(name) for name in wanted.split(",") if name.strip()))
    if not names:
        raise ProviderError(f"no execution provider is named; available here: {', '.join(available_providers())}")
    return names


def provider_name(name: str) -> str:
    """ONNX Runtime's name of one provider, whether it is installed or not. Raises ProviderError if there is none."""
    known = {short: full for full in _known() for short in (short_name(full), full.removesuffix(_SUFFIX).lower())}
    spellings = {_key(short): full for short, full in known.items()} | {"trt": f"Tensorrt{_SUFFIX}"}
    if _key(name) in spellings:
        return spellings[_key(name)]
    alike = get_close_matches(_key(name), known, n=3)
    hint = f"did you mean {' or '.join(alike)}? " if alike else ""
    raise ProviderError(
        f"no execution provider is called {name.strip()!r}; {hint}available here: {', '.join(available_providers())}"
    )


def available_providers() -> list[str]:
    """Short names of the providers of the installed ONNX Runtime and of the installed plug-ins: `cpu`, `cuda`, …"""
    names = dict.fromkeys([*ort.get_available_providers(), *installed_plugins()])
    return [short_name(name) for name in names if "." not in name]  # OpenVINOExecutionProvider.AUTO is a device of one.


def first_working(settings: SessionSettings, opening: Callable[[SessionSettings], OpenedT]) -> OpenedT:
    """What is opened with the first of the providers that works; those that did not are told on stderr.

    Raises ProviderError if none does, and at once for a name that no provider has.
    """
    names = provider_names(settings.provider)
    if len(names) == 1:
        return opening(replace(settings, provider=names[0]))
    failures: dict[str, ProviderError] = {}
    for name in names:
        options = {} if name == CPU else settings.options
        try:
            opened = opening(replace(settings, provider=name, options=options))
        except ProviderError as error:
            failures[name] = error
            continue
        for failed, failure in failures.items():
            short = short_name(failed)
            why = str(failure).removeprefix(f"{short} did not start: ")
            _log.warning("%s did not start (%s); running on %s", short, why, short_name(name))
        return opened
    raise ProviderError("\n".join(["none of the execution providers works", *map(str, failures.values())]))


def _known() -> list[str]:
    names = {*ort.get_all_providers(), *ort.get_available_providers(), *PLUGINS}
    return sorted(name for name in names if "." not in name)


def _key(name: str) -> str:
    return name.strip().lower().removesuffix(_SUFFIX.lower()).replace("-", "").replace("_", "")
