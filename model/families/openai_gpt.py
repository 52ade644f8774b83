"""GPT (Radford et al. 2018): norms after each branch, none after the stack."""

from collections.abc import Sequence

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families import _gpt_layout
from diptych.model.families._causal import tasks
from diptych.model.rules import Ignore, Rule

__all__ = ["architecture", "rules", "tasks"]

# Its "gelu" is the approximation by tanh.
ACTIVATIONS: dict[str, arch.Activation] = {"gelu": "gelu_tanh", "relu": "relu", "silu": "silu", "swish": "silu"}


def architecture(config: Config, task: str) -> arch.DecoderOnly:
    config.pass_over("predict_special_tokens")
    config.refuse("n_special", 0, "which adds tokens to the vocabulary")
    return _gpt_layout.architecture(config, config.choose("afn", ACTIVATIONS, "gelu"), "output")


def rules(config: Config, task: str) -> Sequence[Rule]:
    return Ignore(r"(^|\.)position_ids$"), *_gpt_layout.rules("tokens_embed", "positions_embed", "output")
