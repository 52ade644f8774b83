"""Graphs that are made for ONNX Runtime on a CPU: the same modules, looking with its kernels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diptych.export import graph_spec as spec
from diptych.export.graph_spec import GraphSpec, KeyValue
from diptych.export.kernels import in_place
from diptych.export.ranking import rank
from diptych.model.kernels import Back
from diptych.model.masks import padding_bias
from diptych.model.networks import EncoderDecoder
from diptych.runtime import ports


class InPlaceGraph(nn.Module):
    """A decoder that looks back, for one new token of each row.

    Its cache is a buffer that ONNX Runtime's CPU kernels write in place. Out come logits, and the best as of `rank`.
    """

    def __init__(self, network: EncoderDecoder, *, with_attention: bool = False) -> None:
        super().__init__()
        self.decoder = network.decoder
        self.head = network.head
        self.with_attention = with_attention

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        decoder_attention_mask: Tensor,
        encoder_attention_mask: Tensor,
        cross: Sequence[KeyValue],
        past: Sequence[KeyValue],
        past_sequence_length: Tensor,
        beam_width: Tensor,
        cache_indirection: Tensor,
        num_top_logits: Tensor,
    ) -> tuple[Tensor, list[KeyValue], list[Tensor], tuple[Tensor, Tensor, Tensor]]:
        decoder, weights = self.decoder, list[Tensor]()
        kernels = in_place(decoder, past, decoder_attention_mask, past_sequence_length, beam_width, cache_indirection)
        bias = padding_bias(encoder_attention_mask, decoder.embedding.tokens.weight.dtype)
        collect = weights.append if self.with_attention else None
        back = [Back(entry, bias, collect) for entry in cross]
        logits = self.head(decoder.decode(input_ids, position_ids, kernels, back)[:, -1])
        attentions = [torch.stack(weights, dim=1)] if self.with_attention else []
        best = rank(logits, num_top_logits)
        return logits, [kernel.present for kernel in kernels], attentions, best


def in_place_graph(network: EncoderDecoder, *, with_attention: bool = False) -> GraphSpec:
    layers = network.spec.decoder.layers
    cross = spec.cross_attentions(layers, with_attention=with_attention)
    shapes = [(spec.ROWS, layer.attention.heads, spec.MAX_LENGTH, layer.attention.head_dim) for layer in layers]
    arguments = (
        spec.ids(spec.ROWS, spec.TARGET_LENGTH),
        spec.ids(spec.ROWS, spec.TARGET_LENGTH),
        spec.ones(spec.ROWS, spec.PAST_LENGTH + spec.TARGET_LENGTH).to(torch.int32),
        spec.ones(spec.SOURCES, spec.SOURCE_LENGTH),
        [spec.entry(attention, spec.SOURCES, spec.SOURCE_LENGTH) for attention in cross],
        [(torch.zeros(shape), torch.zeros(shape)) for shape in shapes],
        torch.tensor([spec.PAST_LENGTH], dtype=torch.int32),
        torch.tensor([spec.ROWS // spec.SOURCES], dtype=torch.int32),
        torch.zeros(spec.SOURCES, spec.ROWS // spec.SOURCES, spec.MAX_LENGTH, dtype=torch.int32),
        torch.tensor(spec.KEPT),
    )
    return GraphSpec(
        ports.DECODER_FILE,
        InPlaceGraph(network, with_attention=with_attention).eval(),
        arguments,
        ports.in_place_inputs(len(layers)),
        ports.in_place_outputs(len(layers), with_attention=with_attention),
    )
