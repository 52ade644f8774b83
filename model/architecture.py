"""What a network is made of, as small records. A choice is a type; absence is `None`."""

from dataclasses import dataclass
from typing import Literal

Activation = Literal["relu", "gelu", "silu"]
NormPlace = Literal["input", "output"]


@dataclass(frozen=True)
class LayerNorm:
    """Layer normalisation (Ba et al. 2016)."""

    eps: float = 1e-5
    bias: bool = True


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
class Embedding:
    """Token vectors times `scale`, plus positions, then an optional normalisation."""

    vocab_size: int
    positions: Positions
    scale: float = 1.0
    norm: LayerNorm | None = None


@dataclass(frozen=True)
class Attention:
    """Multi-head attention; `bias` speaks of all four projections."""

    heads: int
    head_dim: int
    bias: bool = True


@dataclass(frozen=True)
class FeedForward:
    """The position-wise network: up to `width`, activation, down again."""

    width: int
    activation: Activation
    bias: bool = True


@dataclass(frozen=True)
class Layer:
    """One layer: its attentions are alike, and so are its norms.

    norm_place: "input" normalises what enters each residual branch (pre-norm), "output" the sum that leaves it
    (post-norm, the original Transformer).
    """

    attention: Attention
    feed_forward: FeedForward
    norm: LayerNorm
    norm_place: NormPlace


@dataclass(frozen=True)
class Stack:
    """An encoder or a decoder: `depth` layers of hidden size `width` between an embedding and a final norm."""

    width: int
    depth: int
    embedding: Embedding
    layer: Layer
    final_norm: LayerNorm | None = None


@dataclass(frozen=True)
class Head:
    """The projection to the vocabulary; `tied` shares the decoder's token matrix."""

    tied: bool
    bias: bool = False


@dataclass(frozen=True)
class EncoderDecoder:
    """The two panels. `shared_embedding`: one token matrix serves both."""

    encoder: Stack
    decoder: Stack
    head: Head
    shared_embedding: bool
