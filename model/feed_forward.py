"""The position-wise feed-forward network ("Attention Is All You Need", section 3.3), plain or gated."""

from torch import Tensor, nn

from diptych.model import architecture as arch
from diptych.model.activations import ACTIVATIONS
from diptych.model.linear import Linear


class FeedForward(nn.Module):
    def __init__(self, width: int, spec: arch.FeedForward) -> None:
        super().__init__()
        self.up = Linear(width, spec.width, bias=spec.bias)
        self.gate = Linear(width, spec.width, bias=spec.bias) if spec.gated else None
        self.down = Linear(spec.width, width, bias=spec.bias)
        self.activation = ACTIVATIONS[spec.activation]

    def forward(self, hidden: Tensor) -> Tensor:
        """[R, T, width] -> [R, T, width]."""
        up = self.up(hidden)
        inner = self.activation(up) if self.gate is None else self.activation(self.gate(hidden)) * up
        return self.down(inner)
