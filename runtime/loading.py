"""`load`: from a bundle on disk to something that can be called."""

from pathlib import Path
from typing import Any

from diptych.runtime.bundle import Bundle
from diptych.runtime.providers import SessionSettings
from diptych.runtime.tasks import task_of


def load(bundle: Path | str, *, provider: str = "cpu", threads: int = 0, strict_provider: bool = False) -> Any:
    """Open a bundle for what it is for: something to call with a text, or with a list of them.

    translate, summarise, generate give a `TextGenerator`, embed an `Embedder`, classify a `Classifier`, tag a `Tagger`,
    answer an `Answerer`, fill a `Filler`. provider: an execution provider of the installed ONNX Runtime, by its short
    name or ONNX Runtime's own. threads: for one operator, 0 = one per core. strict_provider: refuse operators that
    would fall back to the CPU. Raises BundleNotFoundError (a FileNotFoundError), BundleError or ProviderError
    (ValueErrors).
    """
    opened = Bundle.open(bundle)
    return task_of(opened).open(opened, SessionSettings(provider, threads, strict_provider))
