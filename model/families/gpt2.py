"""GPT-2 (Radford et al. 2019)."""

from collections.abc import Sequence

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families import _gpt_layout
from diptych.model.families._activations import ACTIVATIONS
from diptych.model.families._causal import tasks
from diptych.model.rules import Rule

__all__ = ["architecture", "rules", "tasks"]


def architecture(config: Config, task: str) -> arch.DecoderOnly:
    config.refuse("add_cross_attention", supported=False, because="which makes half an encoder-decoder of it")
    config.pass_over("reorder_and_upcast_attn")  # Of half precision.
    return _gpt_layout.architecture(config, config.choose("activation_function", ACTIVATIONS, "gelu_new"), "input")


def rules(config: Config, task: str) -> Sequence[Rule]:
    return _gpt_layout.rules("wte", "wpe", "input")
