"""A graph to be exported: the module, and what it is traced with."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diptych.export.errors import ExportError
from diptych.model import architecture as arch
from diptych.runtime import ports

KeyValue = tuple[Tensor, Tensor]

# Distinct and at least 2: torch.export specialises on 0 and 1, and merges axes of equal length.
SOURCES, ROWS, SOURCE_LENGTH, TARGET_LENGTH, PAST_LENGTH, MAX_LENGTH = 2, 6, 7, 4, 5, 11
KEPT = 3
OPSET = 20


@dataclass(frozen=True)
class GraphSpec:
    """One graph to be exported: its file, the module, example arguments, and the ports they flatten to.

    opset: the oldest one with all its operators.
    """

    file: str
    module: nn.Module
    arguments: tuple[object, ...]
    inputs: list[ports.Port]
    outputs: list[ports.Port]
    opset: int = OPSET


def ids(rows: int, length: int) -> Tensor:
    return torch.zeros(rows, length, dtype=torch.int64)


def ones(rows: int, length: int) -> Tensor:
    return torch.ones(rows, length, dtype=torch.int64)


def entry(attention: arch.Attention, rows: int, length: int) -> KeyValue:
    """Keys and values [rows, G, length, D]."""
    shape = rows, attention.cached_heads, length, attention.head_dim
    return torch.zeros(shape), torch.zeros(shape)


def cross_attentions(layers: Iterable[arch.Layer], *, with_attention: bool) -> list[arch.Attention]:
    """Of layers that look back. Raises ExportError if they are to tell where, and their numbers of heads differ."""
    cross = [layer.cross_attention for layer in layers if layer.cross_attention is not None]
    heads = [attention.heads for attention in cross]
    if with_attention and len(set(heads)) > 1:
        raise ExportError(
            f"{ports.CROSS_ATTENTIONS}: the decoder's layers have {', '.join(map(str, heads))} heads, expected as many "
            "in each, for one output has them all; leave out --with-attention"
        )
    return cross
