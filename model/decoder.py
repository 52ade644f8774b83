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
from diptych.model.kernels import Back, Growing, Kernel
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

    def forward(self, hidden: Tensor, rotation: Rotation | None, attend: Kernel, look_back: Kernel | None) -> Tensor:
        normed = self.self_attention_input_norm(hidden)
        hidden = self.self_attention_output_norm(hidden + attend(self.self_attention, normed, rotation))
        if self.cross_attention is not None:
            assert look_back is not None
            normed = self.cross_attention_input_norm(hidden)
            hidden = self.cross_attention_output_norm(hidden + look_back(self.cross_attention, normed, None))
        fed = self.feed_forward(self.feed_forward_input_norm(hidden))
        return self.feed_forward_output_norm(hidden + fed)


class Decoder(nn.Module):
    def __init__(self, spec: arch.Stack) -> None:
        super().__init__()
        self.embedding = Embedding(spec.width, spec.embedding)
        self.layers = nn.ModuleList(DecoderLayer(spec.width, layer) for layer in spec.layers)
        self.norm = make_norm(spec.width, spec.final_norm)
        self.relative = make_bias(spec, both_ways=False)
        self.rotary = make_rotary(spec)
        self.layer_windows = [layer.attention.window for layer in spec.layers]
        self.windows = sorted(set(self.layer_windows), key=lambda window: window or 0)

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
        dtype = self.embedding.tokens.weight.dtype
        growing = [Growing(*pair) for pair in zip(past, self.biases(attention_mask, input_ids.shape[1]), strict=True)]
        back = None
        if cross is not None and encoder_attention_mask is not None:
            cross_bias = padding_bias(encoder_attention_mask, dtype)
            back = [Back(entry, cross_bias, collect) for entry in cross]
        return self.decode(input_ids, position_ids, growing, back), [kernel.present for kernel in growing]

    def decode(
        self, input_ids: Tensor, position_ids: Tensor, attend: Sequence[Kernel], look_back: Sequence[Kernel] | None
    ) -> Tensor:
        """ids and positions [R, T], and what each layer looks with -> last hidden state [R, T, width]."""
        hidden = self.embedding(input_ids, position_ids)
        rotation = None if self.rotary is None else self.rotary(position_ids)
        backs: Sequence[Kernel | None] = [None] * len(attend) if look_back is None else look_back
        for layer, kernel, back in zip(self.layers, attend, backs, strict=True):
            hidden = layer(hidden, rotation, kernel, back)
        return self.norm(hidden)

    def biases(self, mask: Tensor, length: int) -> list[Tensor]:
        """mask [R, P + T] -> for each layer [R, 1 or H, T, P + T], by its window; those of equal windows are one."""
        dtype = self.embedding.tokens.weight.dtype
        by_window = {window: self._bias(mask, length, dtype, window) for window in self.windows}
        return [by_window[window] for window in self.layer_windows]

    def _bias(self, mask: Tensor, length: int, dtype: torch.dtype, window: int | None) -> Tensor:
        bias = causal_bias(mask, length, dtype, window)
        return bias if self.relative is None else bias + self.relative(length, mask.shape[1])
