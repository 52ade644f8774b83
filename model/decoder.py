"""The decoder stack: cache in, cache out.

An empty past has length 0, so one forward pass serves a first token, a step, and several tokens with a past.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diptych.model import architecture as arch
from diptych.model.attention import Attention, Collect, KeyValue
from diptych.model.embedding import Embedding
from diptych.model.feed_forward import FeedForward
from diptych.model.masks import causal_bias, padding_bias
from diptych.model.norms import make_norm, make_slots
from diptych.model.relative import make_bias
from diptych.model.rotary import Rotation, make_rotary


class DecoderLayer(nn.Module):
    """Cross-attention is there if the architecture looks back at an encoder."""

    def __init__(self, width: int, spec: arch.Layer) -> None:
        super().__init__()
        self.self_attention_input_norm, self.self_attention_output_norm = make_slots(width, spec)
        self.self_attention = Attention(width, spec.attention)
        self.cross_attention = None
        if spec.cross_attention is not None:
            self.cross_attention_input_norm, self.cross_attention_output_norm = make_slots(width, spec)
            self.cross_attention = Attention(width, spec.cross_attention)
        self.feed_forward_input_norm, self.feed_forward_output_norm = make_slots(width, spec)
        self.feed_forward = FeedForward(width, spec.feed_forward)

    def forward(
        self,
        hidden: Tensor,
        bias: Tensor,
        rotation: Rotation | None,
        past: KeyValue,
        cross: KeyValue | None,
        cross_bias: Tensor | None,
        collect: Collect | None = None,
    ) -> tuple[Tensor, KeyValue]:
        normed = self.self_attention_input_norm(hidden)
        key, value = self.self_attention.project(normed, rotation)
        present = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        attended = self.self_attention(normed, *present, bias, rotation)
        hidden = self.self_attention_output_norm(hidden + attended)
        if self.cross_attention is not None:
            assert cross is not None
            normed = self.cross_attention_input_norm(hidden)
            looked_back = self.cross_attention(normed, *cross, cross_bias, collect=collect)
            hidden = self.cross_attention_output_norm(hidden + looked_back)
        fed = self.feed_forward(self.feed_forward_input_norm(hidden))
        return self.feed_forward_output_norm(hidden + fed), present


class Decoder(nn.Module):
    def __init__(self, spec: arch.Stack) -> None:
        super().__init__()
        self.embedding = Embedding(spec.width, spec.embedding)
        self.layers = nn.ModuleList(DecoderLayer(spec.width, layer) for layer in spec.layers)
        self.norm = make_norm(spec.width, spec.final_norm)
        self.relative = make_bias(spec, both_ways=False)
        self.rotary = make_rotary(spec)
        self.windows = sorted({layer.attention.window for layer in spec.layers}, key=lambda window: window or 0)

    def project_cross(self, memory: Tensor) -> list[KeyValue]:
        """memory [B, S, width] -> each layer's cross-attention keys and values [B, G, S, D]: once per source."""
        entries = []
        for layer in self.layers:
            assert isinstance(layer, DecoderLayer)
            assert layer.cross_attention is not None
            entries.append(layer.cross_attention.project(memory))
        return entries

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        attention_mask: Tensor,
        past: Sequence[KeyValue],
        cross: Sequence[KeyValue] | None = None,
        encoder_attention_mask: Tensor | None = None,
        collect: Collect | None = None,
    ) -> tuple[Tensor, list[KeyValue]]:
        """Run T new tokens of R = K·B rows after P cached ones.

        input_ids, position_ids [R, T]; attention_mask [R, P + T]; past, layer by layer, [R, G, P, D]; and where it
        looks back at an encoder, cross [B, G, S, D] and encoder_attention_mask [B, S] -> last hidden state
        [R, T, width] and the present [R, G, P + T, D]. collect: given each layer's weights of cross-attention,
        [R, H, T, S], in the order of the layers.
        """
        hidden = self.embedding(input_ids, position_ids)
        biases = {
            window: self._bias(attention_mask, input_ids.shape[1], hidden.dtype, window) for window in self.windows
        }
        rotation = None if self.rotary is None else self.rotary(position_ids)
        cross_bias = None if encoder_attention_mask is None else padding_bias(encoder_attention_mask, hidden.dtype)
        entries: Sequence[KeyValue | None] = [None] * len(past) if cross is None else cross
        present = []
        for layer, layer_past, layer_cross in zip(self.layers, past, entries, strict=True):
            assert isinstance(layer, DecoderLayer)
            bias = biases[layer.self_attention.window]
            hidden, layer_present = layer(hidden, bias, rotation, layer_past, layer_cross, cross_bias, collect)
            present.append(layer_present)
        return self.norm(hidden), present

    def _bias(self, mask: Tensor, length: int, dtype: torch.dtype, window: int | None) -> Tensor:
        bias = causal_bias(mask, length, dtype, window)
        return bias if self.relative is None else bias + self.relative(length, mask.shape[1])
