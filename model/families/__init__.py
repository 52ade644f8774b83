"""One file per family: what its `config.json` means, and what its tensors are called."""

from collections.abc import Sequence
from typing import Protocol

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families import bart, transformer
from diptych.model.rules import Rule


class Family(Protocol):
    """What a family's module offers."""

    def architecture(self, config: Config) -> arch.EncoderDecoder: ...
    def rules(self, config: Config) -> Sequence[Rule]: ...


FAMILIES: dict[str, Family] = {"bart": bart, "transformer": transformer}
