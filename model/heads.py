"""What stands on a stack: the vocabulary, classes of tokens, classes of texts."""

import torch
from torch import Tensor, nn

from diptych.model import architecture as arch
from diptych.model.activations import ACTIVATIONS
from diptych.model.linear import Linear
from diptych.model.norms import make_norm


class VocabularyHead(nn.Module):
    """The projection to the vocabulary. Its weight is [V, width], as an embedding's, so that it can be one."""

    def __init__(self, width: int, embedding: arch.Embedding, spec: arch.Head) -> None:
        super().__init__()
        self.transform = Transform(width, spec.transform) if spec.transform else nn.Identity()
        self.projection = Linear(width, embedding.width, bias=False) if embedding.width else nn.Identity()
        self.weight: Tensor = nn.Parameter(torch.empty(embedding.vocab_size, embedding.width or width))
        self.bias = nn.Parameter(torch.empty(embedding.vocab_size)) if spec.bias else None
        self.scale = spec.scale

    def forward(self, hidden: Tensor) -> Tensor:
        """[R, T, width] -> logits [R, T, V]."""
        hidden = self.projection(self.transform(hidden))
        if self.scale != 1.0:
            hidden = hidden * self.scale
        logits = hidden @ self.weight.T
        return logits if self.bias is None else logits + self.bias


class Transform(nn.Module):
    """The dense layer before BERT's vocabulary (Devlin et al. 2018, masked language model)."""

    def __init__(self, width: int, spec: arch.Transform) -> None:
        super().__init__()
        self.dense = Linear(width, width, bias=True)
        self.activation = ACTIVATIONS[spec.activation]
        self.norm = make_norm(width, spec.norm)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.norm(self.activation(self.dense(hidden)))


class TokenHead(nn.Module):
    def __init__(self, width: int, spec: arch.TokenHead) -> None:
        super().__init__()
        self.output = Linear(width, spec.classes, bias=True)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, width] -> logits [B, S, classes]."""
        return self.output(hidden)


class TextHead(nn.Module):
    def __init__(self, width: int, spec: arch.TextHead) -> None:
        super().__init__()
        self.dense = Linear(width, width, bias=True)
        self.activation = ACTIVATIONS[spec.activation]
        self.output = Linear(width, spec.classes, bias=True)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, width] -> logits [B, classes]."""
        return self.output(self.activation(self.dense(hidden[:, 0])))
