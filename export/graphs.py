"""The graphs as modules: what each computes, on which example inputs it is traced."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diptych.export import graph_spec as spec
from diptych.export.cpu_graphs import in_place_graph
from diptych.export.errors import ExportError
from diptych.export.graph_spec import GraphSpec, KeyValue
from diptych.export.grouped_graph import grouped_graph
from diptych.model.networks import DecoderOnly, EncoderDecoder, EncoderOnly, Network
from diptych.runtime import ports


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
    """A decoder that looks back, and its head, under their full names: weights and scopes are called as in the network.

    Logits of the last `num_logits_to_keep` new tokens, of all if it is 0: a long prompt needs those of its end only.
    with_attention: where all new tokens look in the source comes out, too, [R, layers, H, T, S].
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
        num_logits_to_keep: Tensor,
    ) -> tuple[Tensor, list[KeyValue], list[Tensor]]:
        weights: list[Tensor] = []
        collect = weights.append if self.with_attention else None
        hidden, present = self.decoder(
            input_ids, position_ids, decoder_attention_mask, past, cross, encoder_attention_mask, collect
        )
        attentions = [torch.stack(weights, dim=1)] if self.with_attention else []
        return self.head(_last(hidden, num_logits_to_keep)), present, attentions


class CausalGraph(nn.Module):
    """The same of a decoder that looks back at nothing but itself."""

    def __init__(self, network: DecoderOnly) -> None:
        super().__init__()
        self.decoder = network.decoder
        self.head = network.head

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        attention_mask: Tensor,
        past: Sequence[KeyValue],
        num_logits_to_keep: Tensor,
    ) -> tuple[Tensor, list[KeyValue]]:
        hidden, present = self.decoder(input_ids, position_ids, attention_mask, past)
        assert self.head is not None
        return self.head(_last(hidden, num_logits_to_keep)), present


def _last(hidden: Tensor, count: Tensor) -> Tensor:
    """[R, T, width] -> the last `count` of T, or all if it is 0: minus 0 is the start."""
    kept = count.item()
    torch._check(kept >= 0)  # type: ignore[no-untyped-call]  # noqa: SLF001  A size, torch.export must know.
    return hidden[:, -kept:]


class TextGraph(nn.Module):
    """Whole texts in; what an encoder's head says of them out, or its states."""

    def __init__(self, network: EncoderOnly) -> None:
        super().__init__()
        self.encoder = network.encoder
        self.head = network.head

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        hidden: Tensor = self.encoder(input_ids, attention_mask, token_type_ids)
        return hidden if self.head is None else self.head(hidden)


class AnswerGraph(TextGraph):
    """The head's two numbers for each token apart: where an answer starts, and where it ends."""

    def forward(  # type: ignore[override]
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        return super().forward(input_ids, attention_mask, token_type_ids).unbind(-1)


class StatesGraph(nn.Module):
    """Whole texts in, a decoder's states out: each token has seen those before it, and nothing is cached."""

    def __init__(self, network: DecoderOnly) -> None:
        super().__init__()
        self.decoder = network.decoder
        self.layers = network.spec.decoder.layers

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        rows = input_ids.shape[0]
        past = [
            (hidden, hidden)
            for layer in self.layers
            for hidden in [torch.zeros(rows, layer.attention.cached_heads, 0, layer.attention.head_dim)]
        ]
        positions = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
        hidden, _ = self.decoder(input_ids, positions, attention_mask, past)
        states: Tensor = hidden
        return states


def graphs(network: Network, task: str, *, target: str = "portable", with_attention: bool = False) -> list[GraphSpec]:
    """The graphs of a network: an encoder's and a decoder's, or one.

    target: one of `diptych.runtime.manifest.TARGETS`. with_attention: the decoder's puts out its cross-attention.
    Raises ExportError if there is none, or its layers have different numbers of heads.
    """
    match network:
        case EncoderDecoder():
            decoder = decoder_graph if target == "portable" else in_place_graph
            return [encoder_graph(network), decoder(network, with_attention=with_attention)]
        case _ if with_attention:
            raise ExportError(
                f"{ports.CROSS_ATTENTIONS}: expected an encoder-decoder, found one graph, made to {task}, which looks "
                "back at no encoder; leave out --with-attention"
            )
        case DecoderOnly() if network.head is not None:
            return [
                _causal_graph(network) if target == "portable" else GraphSpec(ports.MODEL_FILE, *grouped_graph(network))
            ]
        case DecoderOnly() | EncoderOnly():
            return [_text_graph(network, task)]


def encoder_graph(network: EncoderDecoder) -> GraphSpec:
    layers = len(network.spec.decoder.layers)
    ids, mask = spec.ids(spec.SOURCES, spec.SOURCE_LENGTH), spec.ones(spec.SOURCES, spec.SOURCE_LENGTH)
    return GraphSpec(
        ports.ENCODER_FILE,
        EncoderGraph(network).eval(),
        (ids, mask),
        ports.encoder_inputs(),
        ports.encoder_outputs(layers),
    )


def decoder_graph(network: EncoderDecoder, *, with_attention: bool = False) -> GraphSpec:
    layers = network.spec.decoder.layers
    cross = spec.cross_attentions(layers, with_attention=with_attention)
    arguments = (
        spec.ids(spec.ROWS, spec.TARGET_LENGTH),
        spec.ids(spec.ROWS, spec.TARGET_LENGTH),
        spec.ones(spec.ROWS, spec.PAST_LENGTH + spec.TARGET_LENGTH),
        spec.ones(spec.SOURCES, spec.SOURCE_LENGTH),
        [spec.entry(attention, spec.SOURCES, spec.SOURCE_LENGTH) for attention in cross],
        [spec.entry(layer.attention, spec.ROWS, spec.PAST_LENGTH) for layer in layers],
        torch.tensor(spec.KEPT),
    )
    return GraphSpec(
        ports.DECODER_FILE,
        DecoderGraph(network, with_attention=with_attention).eval(),
        arguments,
        ports.decoder_inputs(len(layers)),
        ports.decoder_outputs(len(layers), with_attention=with_attention),
    )


def _causal_graph(network: DecoderOnly) -> GraphSpec:
    layers = network.spec.decoder.layers
    arguments = (
        spec.ids(spec.ROWS, spec.TARGET_LENGTH),
        spec.ids(spec.ROWS, spec.TARGET_LENGTH),
        spec.ones(spec.ROWS, spec.PAST_LENGTH + spec.TARGET_LENGTH),
        [spec.entry(layer.attention, spec.ROWS, spec.PAST_LENGTH) for layer in layers],
        torch.tensor(spec.KEPT),
    )
    return GraphSpec(
        ports.MODEL_FILE,
        CausalGraph(network).eval(),
        arguments,
        ports.causal_inputs(len(layers)),
        ports.causal_outputs(len(layers)),
    )


def _text_graph(network: EncoderOnly | DecoderOnly, task: str) -> GraphSpec:
    ids, mask = spec.ids(spec.SOURCES, spec.SOURCE_LENGTH), spec.ones(spec.SOURCES, spec.SOURCE_LENGTH)
    if isinstance(network, DecoderOnly):
        module: nn.Module = StatesGraph(network)
        types = False
    else:
        module = AnswerGraph(network) if task == "answer" else TextGraph(network)
        types = network.spec.encoder.embedding.token_types > 1
    return GraphSpec(
        ports.MODEL_FILE,
        module.eval(),
        (ids, mask, spec.ids(spec.SOURCES, spec.SOURCE_LENGTH)) if types else (ids, mask),
        ports.text_inputs(token_types=types),
        ports.text_outputs(task),
    )
