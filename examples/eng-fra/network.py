"""The network that is trained: `torch.nn.Transformer` between a shared embedding and its transpose.

Nothing here knows of diptych: the checkpoint is what anyone who trains on `torch.nn.Transformer` would save.
"""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tokenizer import BOS_ID, EOS_ID, PAD_ID


@dataclass(frozen=True)
class Architecture:
    vocab_size: int = 5000
    d_model: int = 256
    nhead: int = 4
    num_encoder_layers: int = 5
    num_decoder_layers: int = 2
    dim_feedforward: int = 1024
    activation: str = "relu"
    norm_first: bool = True
    max_position_embeddings: int = 256


class TranslationNetwork(nn.Module):
    def __init__(self, architecture: Architecture, dropout: float = 0.0) -> None:
        super().__init__()
        self.architecture = architecture
        self.embedding = nn.Embedding(architecture.vocab_size, architecture.d_model, padding_idx=PAD_ID)
        self.transformer = nn.Transformer(
            d_model=architecture.d_model,
            nhead=architecture.nhead,
            num_encoder_layers=architecture.num_encoder_layers,
            num_decoder_layers=architecture.num_decoder_layers,
            dim_feedforward=architecture.dim_feedforward,
            dropout=dropout,
            activation=architecture.activation,
            norm_first=architecture.norm_first,
            batch_first=True,
        )
        self.dropout = PooledDropout(dropout)
        self.register_buffer("positions", _sinusoids(architecture), persistent=False)
        _replace_dropout(self.transformer, dropout)
        nn.init.normal_(self.embedding.weight, std=architecture.d_model**-0.5)
        with torch.no_grad():
            self.embedding.weight[PAD_ID].zero_()

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """source [B, S], target [B, T] -> logits [B, T, V]; both padded on the right with `PAD_ID`."""
        padding = source == PAD_ID
        causal = nn.Transformer.generate_square_subsequent_mask(target.shape[1]).isinf()
        hidden = self.transformer(
            self._embed(source),
            self._embed(target),
            tgt_mask=causal,
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        return F.linear(hidden, self.embedding.weight)

    def config(self) -> dict[str, object]:
        """The `config.json` of the checkpoint: the constructor's own words, and what surrounds it."""
        return {
            "model_type": "transformer",
            **asdict(self.architecture),
            "positions": "sinusoidal",
            "scale_embedding": True,
            "tie_word_embeddings": True,
            "pad_token_id": PAD_ID,
            "bos_token_id": BOS_ID,
            "eos_token_id": EOS_ID,
            "decoder_start_token_id": BOS_ID,
        }

    def _embed(self, ids: Tensor) -> Tensor:
        scaled = self.embedding(ids) * math.sqrt(self.architecture.d_model)
        return self.dropout(scaled + self.positions[: ids.shape[1]])


class PooledDropout(nn.Module):
    """Dropout whose mask is a window, at a random place, of a pool drawn once.

    Drawing a fresh mask each time, as `nn.Dropout` does, takes half of a training step on a CPU.
    """

    pool_size = 1 << 23

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.pool: Tensor | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        if not self.training or not self.probability:
            return hidden
        if self.pool is None or self.pool.dtype != hidden.dtype:
            kept = torch.rand(self.pool_size) >= self.probability
            self.pool = kept.to(hidden.dtype) / (1 - self.probability)
        start = int(torch.randint(self.pool_size - hidden.numel(), ()))
        return hidden * self.pool[start : start + hidden.numel()].view(hidden.shape)


def _replace_dropout(network: nn.Module, probability: float) -> None:
    """Every `nn.Dropout` becomes a `PooledDropout`; attention weights are not dropped."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, PooledDropout(probability))
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0


def _sinusoids(architecture: Architecture) -> Tensor:
    """[positions, d_model]: sine and cosine interleaved, as in section 3.5 of "Attention Is All You Need"."""
    position = torch.arange(architecture.max_position_embeddings, dtype=torch.float64)[:, None]
    channel = torch.arange(0, architecture.d_model, 2, dtype=torch.float64)
    angle = position / 10000 ** (channel / architecture.d_model)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()
