"""One file per family: what its `config.json` means, and what its tensors are called."""

from collections.abc import Callable, Sequence
from typing import Protocol

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families import bart, marian, mbart, pegasus, t5, transformer
from diptych.model.rules import Rule


class Family(Protocol):
    """What a family's module offers."""

    @property
    def architecture(self) -> Callable[[Config], arch.EncoderDecoder]: ...
    @property
    def rules(self) -> Callable[[Config], Sequence[Rule]]: ...


FAMILIES: dict[str, Family] = {
    "bart": bart,
    "marian": marian,
    "mbart": mbart,
    "mt5": t5,
    "pegasus": pegasus,
    "t5": t5,
    "transformer": transformer,
}
