"""`load`: from a bundle on disk to something that can be called."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.runtime.bundle import Bundle
from diptych.runtime.generation.generator import Generator, open_generator
from diptych.runtime.memory_limit import read_size
from diptych.runtime.providers import SessionSettings, settings_for
from diptych.runtime.tasks import task_of


def load(
    bundle: Path | str,
    *,
    provider: str | Sequence[str] = "cpu",
    threads: int = 0,
    workers: int = 1,
    strict_provider: bool = False,
    provider_options: Mapping[str, Any] | None = None,
    memory_limit: str | int | None = None,
) -> Any:
    """Open a bundle for what it is for: something to call with a text, or with a list of them.

    translate, summarise, generate give a `TextGenerator`, embed an `Embedder`, classify a `Classifier`, tag a `Tagger`,
    answer an `Answerer`, fill a `Filler`. provider: an execution provider by its short name or ONNX Runtime's own; of
    several the first that works. threads: for one operator, 0 = one per core. workers: batches
    that run at the same time, each with so many threads. strict_provider: refuse operators that
    would fall back to the CPU. provider_options: the provider's own. memory_limit: the most memory in use, in bytes or
    as "2GB"; texts run together as it allows. Raises BundleNotFoundError (a FileNotFoundError), BundleError,
    ProviderError or OptionError (ValueErrors).
    """
    settings = _settings(provider, threads, workers, strict_provider, provider_options, memory_limit)
    opened = Bundle.open(bundle)
    return task_of(opened).open(opened, settings)


def load_generator(
    bundle: Path | str,
    *,
    provider: str | Sequence[str] = "cpu",
    threads: int = 0,
    workers: int = 1,
    strict_provider: bool = False,
    provider_options: Mapping[str, Any] | None = None,
    memory_limit: str | int | None = None,
) -> Generator:
    """Open a bundle for ids in, ids out; arguments and errors as in `load`."""
    settings = _settings(provider, threads, workers, strict_provider, provider_options, memory_limit)
    return open_generator(Bundle.open(bundle), settings)


def _settings(
    provider: str | Sequence[str],
    threads: int,
    workers: int,
    strict: bool,
    options: Mapping[str, Any] | None,
    limit: str | int | None,
) -> SessionSettings:
    return settings_for(
        provider,
        threads=threads,
        workers=workers,
        strict_provider=strict,
        provider_options=options,
        memory_limit=None if limit is None else read_size(limit),
    )
