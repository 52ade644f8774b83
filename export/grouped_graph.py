"""A decoder alone as a graph for ONNX Runtime's CPU: its cache is a buffer that is written in place.

Rows have lengths of their own: row r's tokens take the first places of its buffer, new ones follow them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diptych.export.errors import ExportError
from diptych.export.ranking import rank
from diptych.model.attention import Attention, KeyValue
from diptych.model.networks import DecoderOnly
from diptych.model.rotary import RotaryPositions, Rotation
from diptych.runtime import ports

# As for the other graphs: distinct and at least 2.
_ROWS, _LENGTH, _PLACES, _KEPT, _BEST = 6, 4, 11, 3, 2
# Head widths that the kernel takes are multiples of this, and those that it turns.
_WIDTHS, _TURNED_WIDTHS = 8, 16


class Grouped:
    """New tokens look at those before them and at what is cached, in groups of queries that share keys and values.

    `com.microsoft.GroupQueryAttention`: past [R, G, M, D], M places; last [R], int32, the place of each row's last
    token; total, int32: T where nothing is cached, else the most tokens of a row. Several tokens of several rows can
    only be the first ones. tables: cosine and sine of each place, [total, D / 2], if the operator is to turn queries
    and keys; its places are the positions. present: past, written.
    """

    present: KeyValue

    def __init__(self, past: KeyValue, last: Tensor, total: Tensor, tables: Rotation | None) -> None:
        self.past = past
        self.lengths = last, total
        self.tables = tables

    def __call__(self, attention: Attention, hidden: Tensor, rotation: Rotation | None) -> Tensor:
        query, key, value = (projected(hidden) for projected in (attention.query, attention.key, attention.value))
        if rotation is not None and self.tables is None:
            query, key = _rotated(query, rotation), _rotated(key, rotation)
        looked, *present = torch.onnx.ops.symbolic_multi_out(
            "com.microsoft::GroupQueryAttention",
            (query, key, value, *self.past, *self.lengths, *(self.tables or ())),
            {
                "num_heads": attention.heads,
                "kv_num_heads": attention.cached_heads,
                "do_rotary": int(self.tables is not None),
                "scale": attention.scale,
                "local_window_size": -1 if attention.window is None else attention.window,
            },
            dtypes=[query.dtype] * 3,
            shapes=[query.shape, self.past[0].shape, self.past[1].shape],
            version=1,
        )
        self.present = present[0], present[1]
        output: Tensor = attention.output(looked)
        return output


def _tables(rotary: RotaryPositions | None, total: Tensor) -> Rotation | None:
    """As `Grouped` takes them, or nothing where it cannot turn: heads too narrow, or turns by the length of a row."""
    if rotary is None or rotary.dynamic is not None or 2 * len(rotary.frequencies) % _TURNED_WIDTHS:
        return None
    places = total.item()
    torch._check(places >= 1)  # type: ignore[no-untyped-call]  # noqa: SLF001  A size, torch.export must know.
    cosine, sine = (each[:, 0, : len(rotary.frequencies)] for each in rotary(torch.arange(places)))
    return cosine, sine


def _rotated(projected: Tensor, rotation: Rotation) -> Tensor:
    """[R, T, H·D], by tables that have a line for each token."""
    half = rotation[0].shape[-1] // 2
    rows, length, _ = projected.shape
    lines = torch.arange(rows * length).view(rows, length)
    tables = [each[:, :, 0, :half].reshape(rows * length, half) for each in rotation]
    rotated: Tensor = torch.onnx.ops.symbolic(
        "com.microsoft::RotaryEmbedding",
        (projected, lines, *tables),
        dtype=projected.dtype,
        shape=projected.shape,
        version=1,
    )
    return rotated


class GroupedGraph(nn.Module):
    """A decoder and its head. New tokens of rows that have fewer than others are padded on the right.

    Out come the logits of each row's last `num_logits_to_keep` tokens, of all T if it is 0, those of shorter rows
    behind padding; and the best of the last token's as `rank` gives them.
    """

    def __init__(self, network: DecoderOnly) -> None:
        super().__init__()
        self.decoder = network.decoder
        self.head = network.head

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor,
        seqlens_k: Tensor,
        total_sequence_length: Tensor,
        past: Sequence[KeyValue],
        num_logits_to_keep: Tensor,
        num_top_logits: Tensor,
    ) -> tuple[Tensor, list[KeyValue], tuple[Tensor, Tensor, Tensor]]:
        assert self.head is not None
        tables = _tables(self.decoder.rotary, total_sequence_length)
        kernels = [Grouped(entry, seqlens_k, total_sequence_length, tables) for entry in past]
        hidden = self.decoder.decode(input_ids, position_ids, kernels, None)
        logits = self.head(_last(hidden, seqlens_k, num_logits_to_keep))
        return logits, [kernel.present for kernel in kernels], rank(logits[:, -1], num_top_logits)


def _last(hidden: Tensor, last: Tensor, count: Tensor) -> Tensor:
    """[R, T, width] -> of each row the last `count` that are no padding, or all T if it is 0, those behind padding."""
    kept = count.item()
    torch._check(kept >= 0)  # type: ignore[no-untyped-call]  # noqa: SLF001  A size, torch.export must know.
    rows, length, width = hidden.shape
    # Of a row with a past all new tokens count, and it is longer than these.
    padding = (length - 1 - last.to(torch.int64)).clamp(min=0)
    places = (torch.arange(length)[-kept:] - padding[:, None]).clamp(min=0)
    flat = places + length * torch.arange(rows)[:, None]
    return hidden.reshape(rows * length, width)[flat]


def grouped_graph(
    network: DecoderOnly,
) -> tuple[nn.Module, tuple[object, ...], list[ports.Port], list[ports.Port]]:
    """The module, example arguments, inputs and outputs. Raises ExportError for attention that the kernel lacks."""
    _check(network)
    layers = network.spec.decoder.layers
    shapes = [(_ROWS, layer.attention.cached_heads, _PLACES, layer.attention.head_dim) for layer in layers]
    arguments = (
        torch.zeros(_ROWS, _LENGTH, dtype=torch.int64),
        torch.zeros(_ROWS, _LENGTH, dtype=torch.int64),
        torch.full((_ROWS,), _LENGTH - 1, dtype=torch.int32),
        torch.tensor(_LENGTH, dtype=torch.int32),
        [(torch.zeros(shape), torch.zeros(shape)) for shape in shapes],
        torch.tensor(_KEPT),
        torch.tensor(_BEST),
    )
    return (
        GroupedGraph(network).eval(),
        arguments,
        ports.grouped_inputs(len(layers)),
        ports.grouped_outputs(len(layers)),
    )


def _check(network: DecoderOnly) -> None:
    decoder = network.decoder
    if decoder.relative is not None:
        raise ExportError(
            "--target cpu: attention has no place for a bias by distance; export the decoder without --target cpu"
        )
    for place, layer in enumerate(network.spec.decoder.layers):
        width = layer.attention.head_dim
        if width % _WIDTHS:
            raise ExportError(
                f"--target cpu: layer {place} has heads {width} wide, expected a multiple of {_WIDTHS}; export the "
                "decoder without --target cpu"
            )
