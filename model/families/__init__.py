"""One file per family: what its `config.json` means, and what its tensors are called."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families import (
    bart,
    bert,
    diptych,
    distilbert,
    gpt2,
    gpt_neo,
    llama,
    m2m_100,
    marian,
    mbart,
    openai_gpt,
    opt,
    pegasus,
    roberta,
    t5,
    transformer,
)
from diptych.model.rules import Rule


class Family(Protocol):
    """What a family's module offers.

    tasks: those its checkpoints may do, the likeliest first, with the patterns of tensor names that each needs.
    architecture, rules: for a task. One of states alone ("embed") may be given as for any other: what stands on the
    states is then left out.
    """

    @property
    def tasks(self) -> Callable[[Config], Mapping[str, Sequence[str]]]: ...
    @property
    def architecture(self) -> Callable[[Config, str], arch.Architecture]: ...
    @property
    def rules(self) -> Callable[[Config, str], Sequence[Rule]]: ...


FAMILIES: dict[str, Family] = {
    "bart": bart,
    "bert": bert,
    "camembert": roberta,
    "diptych": diptych,
    "distilbert": distilbert,
    "gpt2": gpt2,
    "gpt_neo": gpt_neo,
    "llama": llama,
    "m2m_100": m2m_100,
    "marian": marian,
    "mbart": mbart,
    "mt5": t5,
    "openai-gpt": openai_gpt,
    "opt": opt,
    "pegasus": pegasus,
    "roberta": roberta,
    "t5": t5,
    "transformer": transformer,
    "xlm-roberta": roberta,
}
