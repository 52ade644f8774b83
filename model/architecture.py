"""What a network is made of, as small records. A choice is a type; absence is `None`."""

from dataclasses import dataclass
from typing import Literal

Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]
NormPlace = Literal["input", "output"]


@dataclass(frozen=True)
class LayerNorm:
    """Layer normalisation (Ba et al. 2016)."""

    eps: float = 1e-5
    bias: bool = True


@dataclass(frozen=True)
class RMSNorm:
    """Root mean square normalisation, without mean or bias (Zhang and Sennrich 2019)."""

    eps: float = 1e-6


Norm = LayerNorm | RMSNorm


@dataclass(frozen=True)
class Sinusoidal:
    """Fixed sine and cosine positions ("Attention Is All You Need", section 3.5).

    count: positions in the table. interleaved: sine and cosine alternate by channel, as in the paper;
    otherwise all sines come first, then all cosines.
    """

    count: int
    interleaved: bool = True


@dataclass(frozen=True)
class Learned:
    """A trained table of positions. Position 0 is row `offset` of it; `count` positions can be used."""

    count: int
    offset: int = 0


Positions = Sinusoidal | Learned


@dataclass(frozen=True)
class Bucketed:
    """Relative positions as a learned bias of the attention scores, one table for all layers (Raffel et al. 2020).

    count: buckets, for both directions together where attention looks both ways. farthest: distances from here on
    share a bucket.
    """

    count: int
    farthest: int


@dataclass(frozen=True)
class Embedding:
    """Token vectors times `scale`, plus positions unless attention has them, then an optional normalisation."""

    vocab_size: int
    positions: Positions | None
    scale: float = 1.0
    norm: Norm | None = None

    @property
    def longest(self) -> int | None:
        """The most tokens that have positions; `None` is no limit."""
        return None if self.positions is None else self.positions.count


@dataclass(frozen=True)
class Attention:
    """Multi-head attention; `bias` speaks of all four projections, `scale` of the scores (`None`: 1/√head_dim)."""

    heads: int
    head_dim: int
    bias: bool = True
    scale: float | None = None


@dataclass(frozen=True)
class FeedForward:
    """The position-wise network: up to `width`, activation, down again.

    gated: the activation of one projection multiplies another (Shazeer 2020).
    """

    width: int
    activation: Activation
    bias: bool = True
    gated: bool = False


@dataclass(frozen=True)
class Layer:
    """One layer: its attentions are alike, and so are its norms.

    norm_place: "input" normalises what enters each residual branch (pre-norm), "output" the sum that leaves it
    (post-norm, the original Transformer).
    """

    attention: Attention
    feed_forward: FeedForward
    norm: Norm
    norm_place: NormPlace


@dataclass(frozen=True)
class Stack:
    """An encoder or a decoder: `depth` layers of hidden size `width` between an embedding and a final norm.

    relative: positions that act in self-attention.
    """

    width: int
    depth: int
    embedding: Embedding
    layer: Layer
    final_norm: Norm | None = None
    relative: Bucketed | None = None


@dataclass(frozen=True)
class Head:
    """The projection to the vocabulary; `tied` shares the decoder's token matrix, `scale` multiplies what enters."""

    tied: bool
    bias: bool = False
    scale: float = 1.0


@dataclass(frozen=True)
class EncoderDecoder:
    """The two panels. `shared_embedding`: one token matrix serves both."""

    encoder: Stack
    decoder: Stack
    head: Head
    shared_embedding: bool
