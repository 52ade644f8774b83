"""Graphs that are made for ONNX Runtime on a CPU: the same modules, looking with its kernels."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diptych.export import graph_spec as spec
from diptych.export.graph_spec import GraphSpec, KeyValue
from diptych.export.kernels import OPSET, in_place, look_back
from diptych.export.ranking import rank
from diptych.model.networks import EncoderDecoder
from diptych.runtime import ports


class InPlaceGraph(nn.Module):
    """A decoder that looks back, for N new tokens of each source's rows, side by side.

    Its cache is a buffer for each source, written in place. Out come logits, and the best as of `rank`.
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
        write_indices: Tensor,
        slot_positions: Tensor,
        num_logits: Tensor,
        num_top_logits: Tensor,
    ) -> tuple[Tensor, list[KeyValue], list[Tensor], tuple[Tensor, Tensor, Tensor]]:
        decoder = self.decoder
        weights: list[Tensor] | None = [] if self.with_attention else None
        kernels = in_place(decoder, position_ids, decoder_attention_mask, past, write_indices, slot_positions)
        back = look_back(decoder, cross, encoder_attention_mask, weights)
        logits = self.head(decoder.decode(input_ids, position_ids, kernels, back))
        attentions = [torch.stack(weights, dim=1)] if weights else []
        best = rank(logits, num_top_logits)
        # Where none are wanted, they need not leave the buffer in which they were computed.
        told: Any = num_logits.item()
        torch._check(told >= 0)  # type: ignore[no-untyped-call]  # noqa: SLF001  A size, torch.export must know.
        torch._check(told <= logits.shape[1])  # type: ignore[no-untyped-call]  # noqa: SLF001
        return logits.narrow(1, 0, told), [kernel.present for kernel in kernels], attentions, best


def in_place_graph(network: EncoderDecoder, *, with_attention: bool = False) -> GraphSpec:
    layers = network.spec.decoder.layers
    cross = spec.cross_attentions(layers, with_attention=with_attention)
    shapes = [(spec.SOURCES, layer.attention.heads, spec.MAX_LENGTH, layer.attention.head_dim) for layer in layers]
    arguments = (
        spec.ids(spec.SOURCES, spec.TARGET_LENGTH),
        spec.ids(spec.SOURCES, spec.TARGET_LENGTH),
        torch.ones(spec.SOURCES, spec.TARGET_LENGTH, spec.MAX_LENGTH, dtype=torch.bool),
        spec.ones(spec.SOURCES, spec.SOURCE_LENGTH),
        [spec.entry(attention, spec.SOURCES, spec.SOURCE_LENGTH) for attention in cross],
        [(torch.zeros(shape), torch.zeros(shape)) for shape in shapes],
        torch.zeros(spec.SOURCES, dtype=torch.int64),
        spec.ids(spec.SOURCES, spec.MAX_LENGTH),
        torch.tensor(spec.TARGET_LENGTH),
        torch.tensor(spec.KEPT),
    )
    return GraphSpec(
        ports.DECODER_FILE,
        InPlaceGraph(network, with_attention=with_attention).eval(),
        arguments,
        ports.in_place_inputs(len(layers)),
        ports.in_place_outputs(len(layers), with_attention=with_attention),
        opset=OPSET,
    )
