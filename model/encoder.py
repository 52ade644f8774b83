"""The encoder stack: every token sees every other token of its text."""

from collections.abc import Callable

from torch import Tensor, nn

from diptych.model import architecture as arch
from diptych.model.attention import Attention
from diptych.model.embedding import Embedding
from diptych.model.feed_forward import FeedForward
from diptych.model.kernels import Kernel, Whole
from diptych.model.masks import padding_bias
from diptych.model.norms import make_norm, make_slots
from diptych.model.relative import make_bias
from diptych.model.rotary import Rotation, make_rotary


class EncoderLayer(nn.Module):
    def __init__(self, width: int, spec: arch.Layer) -> None:
        super().__init__()
        self.self_attention_input_norm, self.self_attention_output_norm = make_slots(width, spec)
        self.self_attention = Attention(width, spec.attention)
        self.feed_forward_input_norm, self.feed_forward_output_norm = make_slots(width, spec)
        self.feed_forward = FeedForward(width, spec.feed_forward)

    def forward(self, hidden: Tensor, rotation: Rotation | None, attend: Kernel) -> Tensor:
        normed = self.self_attention_input_norm(hidden)
        hidden = self.self_attention_output_norm(hidden + attend(self.self_attention, normed, rotation))
        fed = self.feed_forward(self.feed_forward_input_norm(hidden))
        return self.feed_forward_output_norm(hidden + fed)


class Encoder(nn.Module):
    def __init__(self, spec: arch.Stack) -> None:
        super().__init__()
        self.embedding = Embedding(spec.width, spec.embedding)
        self.layers = nn.ModuleList(EncoderLayer(spec.width, layer) for layer in spec.layers)
        self.norm = make_norm(spec.width, spec.final_norm)
        self.relative = make_bias(spec, both_ways=True)
        self.rotary = make_rotary(spec)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        kernel: Callable[[Tensor], Kernel] = Whole,
    ) -> Tensor:
        """ids, mask and types [B, S], int64 -> last hidden state [B, S, width].

        kernel: what every layer looks with, given the bias [B, 1 or H, 1 or S, S].
        """
        positions = self.embedding.place(input_ids)
        hidden = self.embedding(input_ids, positions, token_type_ids)
        bias = padding_bias(attention_mask, hidden.dtype)
        if self.relative is not None:
            bias = bias + self.relative(input_ids.shape[1], input_ids.shape[1])
        rotation = None if self.rotary is None else self.rotary(positions)
        attend = kernel(bias)
        for layer in self.layers:
            hidden = layer(hidden, rotation, attend)
        return self.norm(hidden)
