"""What a network is made of, as small records. A choice is a type; absence is `None`."""

from dataclasses import dataclass
from typing import Literal

Activation = Literal["relu", "gelu", "gelu_tanh", "gelu_quick", "silu", "tanh"]
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

    count: positions in the table; position 0 is its row `offset`. channels: sine and cosine alternate by channel, as in
    the paper ("interleaved"); all sines come first ("halves"); or so, with the last wavelength exactly 10000·2π, as in
    tensor2tensor ("halves_inclusive").
    """

    count: int
    channels: Literal["interleaved", "halves", "halves_inclusive"] = "interleaved"
    offset: int = 0


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
class Interpolated:
    """Positions are divided by `factor` (Chen et al. 2023, position interpolation)."""

    factor: float


@dataclass(frozen=True)
class Dynamic:
    """Beyond `trained` tokens the base grows with the row ("dynamic NTK"), by itself, whatever it is batched with."""

    factor: float
    trained: int


@dataclass(frozen=True)
class Yarn:
    """Slow channels are interpolated, fast ones are not, and queries and keys grow by `magnitude` (Peng et al. 2023).

    trained: the length trained on. fast, slow: turns over that length that bound the blend. truncate: the blend's ends
    are whole channels.
    """

    factor: float
    trained: int
    magnitude: float
    fast: float = 32.0
    slow: float = 1.0
    truncate: bool = True


@dataclass(frozen=True)
class Llama3:
    """Wavelengths above trained / low are stretched, those under trained / high are kept, with a blend between."""

    factor: float
    trained: int
    low: float
    high: float


@dataclass(frozen=True)
class Rotary:
    """Positions turn the two halves of each query and key against each other (Su et al. 2021)."""

    base: float = 10000.0
    scaling: Interpolated | Dynamic | Yarn | Llama3 | None = None


@dataclass(frozen=True)
class Embedding:
    """Token vectors times `scale`, plus positions unless attention has them, then an optional normalisation.

    token_types: kinds of segments with a vector each. unplaced: a token that takes no position, so that positions count
    the others. width: of the token vectors, where a projection leads to the stack's.
    """

    vocab_size: int
    positions: Positions | None
    scale: float = 1.0
    norm: Norm | None = None
    token_types: int = 0
    unplaced: int | None = None
    width: int | None = None

    @property
    def longest(self) -> int | None:
        """The most tokens that have positions; `None` is no limit."""
        return None if self.positions is None else self.positions.count


@dataclass(frozen=True)
class Attention:
    """Multi-head attention; `bias` speaks of the projections, `scale` of the scores (`None`: 1/√head_dim).

    output_bias: of the last projection, where it differs. kv_heads: fewer keys and values than queries, each shared by
    a group (Ainslie et al. 2023). window: a token sees so many tokens, itself included; `None` is all.
    """

    heads: int
    head_dim: int
    bias: bool = True
    scale: float | None = None
    output_bias: bool | None = None
    kv_heads: int | None = None
    window: int | None = None

    @property
    def cached_heads(self) -> int:
        """Heads of keys and values."""
        return self.heads if self.kv_heads is None else self.kv_heads


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
    """One layer: self-attention, in a decoder that looks back also cross-attention, and a feed-forward network.

    norm_place: "input" normalises what enters each residual branch (pre-norm), "output" the sum that leaves it
    (post-norm, the original Transformer).
    """

    attention: Attention
    feed_forward: FeedForward
    norm: Norm
    norm_place: NormPlace
    cross_attention: Attention | None = None


@dataclass(frozen=True)
class Stack:
    """An encoder or a decoder: layers of hidden size `width` between an embedding and a final norm.

    relative: positions that act in self-attention. context: the most tokens it was made for, where the embedding has no
    table that says so.
    """

    width: int
    layers: tuple[Layer, ...]
    embedding: Embedding
    final_norm: Norm | None = None
    relative: Bucketed | Rotary | None = None
    context: int | None = None

    @property
    def longest(self) -> int | None:
        """The most tokens that can be placed; `None` is no limit."""
        return self.context if self.embedding.longest is None else self.embedding.longest


@dataclass(frozen=True)
class Transform:
    """A dense layer of the hidden size, an activation, and a norm: what BERT puts before its vocabulary."""

    activation: Activation
    norm: Norm


@dataclass(frozen=True)
class Head:
    """The projection to the vocabulary; `tied` shares the token matrix, `scale` multiplies what enters."""

    tied: bool
    bias: bool = False
    scale: float = 1.0
    transform: Transform | None = None


@dataclass(frozen=True)
class TokenHead:
    """A number for each token and class: tags, or the start and the end of an answer."""

    classes: int


@dataclass(frozen=True)
class TextHead:
    """A number for each class, from the first token through a dense layer of the hidden size."""

    classes: int
    activation: Activation


@dataclass(frozen=True)
class EncoderDecoder:
    """The two panels. `shared_embedding`: one token matrix serves both."""

    encoder: Stack
    decoder: Stack
    head: Head
    shared_embedding: bool


@dataclass(frozen=True)
class EncoderOnly:
    """An encoder with a head, or with none: its hidden states."""

    encoder: Stack
    head: Head | TokenHead | TextHead | None


@dataclass(frozen=True)
class DecoderOnly:
    """A decoder that looks back at nothing but itself, with a head, or with none: its hidden states."""

    decoder: Stack
    head: Head | None


Architecture = EncoderDecoder | EncoderOnly | DecoderOnly
