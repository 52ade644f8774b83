"""Activation functions by their names in an architecture."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.model import architecture as arch


def gelu_quick(hidden: Tensor) -> Tensor:
    """A sigmoid in place of the error function (Hendrycks and Gimpel 2016)."""
    return hidden * torch.sigmoid(1.702 * hidden)


ACTIVATIONS: dict[arch.Activation, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "gelu_quick": gelu_quick,
    "silu": F.silu,
    "tanh": torch.tanh,
}
