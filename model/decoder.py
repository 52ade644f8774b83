"""The decoder stack: cache in, cache out.

An empty past has length 0, so one forward pass serves a first token, a step, and several tokens with a past.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diptych.model import architecture as arch
from diptych.model.attention import Attention, KeyValue
from diptych.model.embedding import Embedding
from diptych.model.feed_forward import FeedForward
from diptych.model.masks import causal_bias, padding_bias
from diptych.model.norms import make_norm, make_slots
from diptych.model.relative import RelativeBias


class DecoderLayer(nn.Module):
    def __init__(self, width: int, spec: arch.Layer) -> None:
        super().__init__()
        self.self_attention_input_norm, self.self_attention_output_norm = make_slots(width, spec)
        self.self_attention = Attention(width, spec.attention)
        self.cross_attention_input_norm, self.cross_attention_output_norm = make_slots(width, spec)
        self.cross_attention = Attention(width, spec.attention)
        self.feed_forward_input_norm, self.feed_forward_output_norm = make_slots(width, spec)
        self.feed_forward = FeedForward(width, spec.feed_forward)

    def forward(
        self, hidden: Tensor, bias: Tensor, past: KeyValue, cross: KeyValue, cross_bias: Tensor
    ) -> tuple[Tensor, KeyValue]:
        normed = self.self_attention_input_norm(hidden)
        key, value = self.self_attention.project(normed)
        present = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        attended = self.self_attention(normed, *present, bias)
        hidden = self.self_attention_output_norm(hidden + attended)
        looked_back = self.cross_attention(self.cross_attention_input_norm(hidden), *cross, cross_bias)
        hidden = self.cross_attention_output_norm(hidden + looked_back)
        fed = self.feed_forward(self.feed_forward_input_norm(hidden))
        return self.feed_forward_output_norm(hidden + fed), present


class Head(nn.Module):
    """The projection to the vocabulary. Its weight is [V, width], as an embedding's, so that it can be one."""

    def __init__(self, width: int, vocab_size: int, spec: arch.Head) -> None:
        super().__init__()
        self.weight: Tensor = nn.Parameter(torch.empty(vocab_size, width))
        self.bias = nn.Parameter(torch.empty(vocab_size)) if spec.bias else None
        self.scale = spec.scale

    def forward(self, hidden: Tensor) -> Tensor:
        """[R, T, width] -> logits [R, T, V]."""
        if self.scale != 1.0:
            hidden = hidden * self.scale
        logits = hidden @ self.weight.T
        return logits if self.bias is None else logits + self.bias


class Decoder(nn.Module):
    def __init__(self, spec: arch.Stack, head: arch.Head) -> None:
        super().__init__()
        self.embedding = Embedding(spec.width, spec.embedding)
        self.layers = nn.ModuleList(DecoderLayer(spec.width, spec.layer) for _ in range(spec.depth))
        self.norm = make_norm(spec.width, spec.final_norm)
        heads = spec.layer.attention.heads
        self.relative = RelativeBias(heads, spec.relative, both_ways=False) if spec.relative else None
        self.head = Head(spec.width, spec.embedding.vocab_size, head)
        if head.tied:
            self.head.weight = self.embedding.tokens.weight

    def project_cross(self, memory: Tensor) -> list[KeyValue]:
        """memory [B, S, width] -> each layer's cross-attention keys and values [B, H, S, D]: once per source."""
        entries = []
        for layer in self.layers:
            assert isinstance(layer, DecoderLayer)
            entries.append(layer.cross_attention.project(memory))
        return entries

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        attention_mask: Tensor,
        encoder_attention_mask: Tensor,
        cross: Sequence[KeyValue],
        past: Sequence[KeyValue],
    ) -> tuple[Tensor, list[KeyValue]]:
        """Run T new tokens of R = K·B rows after P cached ones.

        input_ids, position_ids [R, T]; attention_mask [R, P + T]; encoder_attention_mask [B, S]; cross, layer by layer,
        [B, H, S, D]; past [R, H, P, D] -> logits [R, T, V] and the present [R, H, P + T, D].
        """
        hidden = self.embedding(input_ids, position_ids)
        bias = causal_bias(attention_mask, input_ids.shape[1], hidden.dtype)
        if self.relative is not None:
            bias = bias + self.relative(input_ids.shape[1], attention_mask.shape[1])
        cross_bias = padding_bias(encoder_attention_mask, hidden.dtype)
        present = []
        for layer, layer_past, layer_cross in zip(self.layers, past, cross, strict=True):
            hidden, layer_present = layer(hidden, bias, layer_past, layer_cross, cross_bias)
            present.append(layer_present)
        return self.head(self.norm(hidden)), present
