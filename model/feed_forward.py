"""The position-wise feed-forward network ("Attention Is All You Need", section 3.3)."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from diptych.model import architecture as arch
from diptych.model.linear import Linear

ACTIVATIONS: dict[arch.Activation, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu}


class FeedForward(nn.Module):
    def __init__(self, width: int, spec: arch.FeedForward) -> None:
        super().__init__()
        self.up = Linear(width, spec.width, bias=spec.bias)
        self.down = Linear(spec.width, width, bias=spec.bias)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(self, hidden: Tensor) -> Tensor:
        """[R, T, width] -> [R, T, width]."""
        return self.down(self.activation(self.up(hidden)))
