"""A bundle, and all that it is held against."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tokenizers import Tokenizer

from diptych.export.parity.bisection.points import OnnxWatched, Watched
from diptych.export.parity.report import WeightsReport
from diptych.export.parity.sides import Engines, Sides
from diptych.model import architecture as arch
from diptych.runtime.bundle import Bundle
from diptych.runtime.manifest import Manifest

Rounding = Literal["own", "shaken"]


@dataclass(frozen=True)
class Compared:
    """A bundle, and what it is held against.

    manifest: what the bundle's should say of using it. weights: compares those, when called. tokenizers: for each
    tokenizer file of the bundle, what it should be. watched: for a graph's file, its subject, truth and own (or
    shaken) engine with a view of what lies between modules. whole: of a bundle in fewer bits, engines that have all.
    """

    bundle: Bundle
    sides: Sides
    spec: arch.Architecture
    reference: Literal["checkpoint", "bundle"]
    provider: str
    manifest: Manifest
    weights: Callable[[], WeightsReport]
    watched: Callable[[str, Rounding], tuple[OnnxWatched, Watched, Watched]]
    tokenizers: Sequence[tuple[str, Tokenizer]] = ()
    whole: Callable[[], Engines] | None = None
