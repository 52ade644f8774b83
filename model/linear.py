"""A linear layer whose weight is stored the way a matrix product reads it."""

import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """`hidden @ weight + bias` with weight [in, out], so that the exported graph is one MatMul of a named tensor.

    `torch.nn.Linear` keeps [out, in]; loading transposes once what every exported graph would otherwise transpose.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None

    def forward(self, hidden: Tensor) -> Tensor:
        product = hidden @ self.weight
        return product if self.bias is None else product + self.bias
