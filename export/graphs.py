"""The two graphs as modules: what each computes, on which example inputs it is traced."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diptych.model.encoder_decoder import EncoderDecoder
from diptych.runtime import ports

KeyValue = tuple[Tensor, Tensor]

# Distinct and at least 2: torch.export specialises on 0 and 1, and merges axes of equal length.
_SOURCES, _ROWS, _SOURCE_LENGTH, _TARGET_LENGTH, _PAST_LENGTH = 2, 6, 7, 4, 5


class EncoderGraph(nn.Module):
    """The encoder, and every decoder layer's cross-attention keys and values: computed once per source."""

    def __init__(self, network: EncoderDecoder) -> None:
        super().__init__()
        self.encoder = network.encoder
        self.decoder = network.decoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, list[KeyValue]]:
        hidden = self.encoder(input_ids, attention_mask)
        return hidden, self.decoder.project_cross(hidden)


class DecoderGraph(nn.Module):
    """The decoder under its full name, so that weights and scopes are called the same in graph and network."""

    def __init__(self, network: EncoderDecoder) -> None:
        super().__init__()
        self.decoder = network.decoder

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        decoder_attention_mask: Tensor,
        encoder_attention_mask: Tensor,
        cross: Sequence[KeyValue],
        past: Sequence[KeyValue],
    ) -> tuple[Tensor, list[KeyValue]]:
        result: tuple[Tensor, list[KeyValue]] = self.decoder(
            input_ids, position_ids, decoder_attention_mask, encoder_attention_mask, cross, past
        )
        return result


@dataclass(frozen=True)
class GraphSpec:
    """One graph to be exported: its file, the module, example arguments, and the ports they flatten to."""

    file: str
    module: nn.Module
    arguments: tuple[object, ...]
    inputs: list[ports.Port]
    outputs: list[ports.Port]


def encoder_graph(network: EncoderDecoder) -> GraphSpec:
    layers = network.spec.decoder.depth
    ids, mask = _ids(_SOURCES, _SOURCE_LENGTH), _ones(_SOURCES, _SOURCE_LENGTH)
    return GraphSpec(
        ports.ENCODER_FILE,
        EncoderGraph(network).eval(),
        (ids, mask),
        ports.encoder_inputs(),
        ports.encoder_outputs(layers),
    )


def decoder_graph(network: EncoderDecoder) -> GraphSpec:
    stack = network.spec.decoder
    attention = stack.layer.attention

    def entries(rows: int, length: int) -> list[KeyValue]:
        shape = rows, attention.heads, length, attention.head_dim
        return [(torch.zeros(shape), torch.zeros(shape)) for _ in range(stack.depth)]

    arguments = (
        _ids(_ROWS, _TARGET_LENGTH),
        _ids(_ROWS, _TARGET_LENGTH),
        _ones(_ROWS, _PAST_LENGTH + _TARGET_LENGTH),
        _ones(_SOURCES, _SOURCE_LENGTH),
        entries(_SOURCES, _SOURCE_LENGTH),
        entries(_ROWS, _PAST_LENGTH),
    )
    return GraphSpec(
        ports.DECODER_FILE,
        DecoderGraph(network).eval(),
        arguments,
        ports.decoder_inputs(stack.depth),
        ports.decoder_outputs(stack.depth),
    )


def _ids(rows: int, length: int) -> Tensor:
    return torch.zeros(rows, length, dtype=torch.int64)


def _ones(rows: int, length: int) -> Tensor:
    return torch.ones(rows, length, dtype=torch.int64)
