"""The original Transformer (Vaswani et al. 2017), as people write it round `torch.nn.Transformer`, or as in d2l.

`config.json` speaks in the words of `torch.nn.Transformer`'s constructor: vocab_size (or source_vocab_size and
target_vocab_size), d_model, nhead, num_encoder_layers, num_decoder_layers, dim_feedforward, activation, norm_first,
layer_norm_eps, bias; and of what stands round it: positions ("sinusoidal" or "learned"), max_position_embeddings,
scale_embedding, tie_word_embeddings (the head is the target embedding), share_embeddings (source and target are one),
attention_bias, head_bias, final_norm (after each stack).

Tensors: `torch.nn.Transformer`'s own, under any one prefix, with `embedding` or `source_embedding` and
`target_embedding`, `source_positions` and `target_positions` if learned, and `head`; the names of PyTorch's
translation tutorial (`src_tok_emb.embedding`, `tgt_tok_emb.embedding`, `generator`); or d2l's (`encoder.blks.block0…`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families import _seq2seq
from diptych.model.rules import TRANSPOSE_LINEARS, Ignore, Rename, Rule, Split

ACTIVATIONS: dict[str, arch.Activation] = {"relu": "relu", "gelu": "gelu", "silu": "silu"}


def tasks(config: Config) -> Mapping[str, Sequence[str]]:
    return _seq2seq.tasks(config, "translate")


def architecture(config: Config, task: str) -> arch.EncoderDecoder:
    width, heads = config.divided("d_model", "nhead")
    if config.values.get("vocab_size") is None:
        source_vocab, target_vocab = config.size("source_vocab_size"), config.size("target_vocab_size")
    else:
        source_vocab = target_vocab = config.size("vocab_size")
    tied = config.get("tie_word_embeddings", bool, True)
    shared = config.get("share_embeddings", bool, source_vocab == target_vocab and tied)
    bias = config.get("bias", bool, True)
    norm = arch.LayerNorm(config.get("layer_norm_eps", float, 1e-5), bias)
    layer = arch.Layer(
        arch.Attention(heads, width // heads, config.get("attention_bias", bool, bias)),
        arch.FeedForward(config.size("dim_feedforward"), config.choose("activation", ACTIVATIONS, "relu"), bias),
        norm,
        _norm_place(config),
    )
    count = config.size("max_position_embeddings")
    positions: dict[str, arch.Positions] = {"sinusoidal": arch.Sinusoidal(count), "learned": arch.Learned(count)}
    position = config.choose("positions", positions, "sinusoidal")
    scale = sqrt(width) if config.get("scale_embedding", bool, True) else 1.0
    final_norm = norm if config.get("final_norm", bool, True) else None
    looking_back = replace(layer, cross_attention=layer.attention)
    return arch.EncoderDecoder(
        encoder=arch.Stack(
            width,
            (layer,) * config.size("num_encoder_layers"),
            arch.Embedding(source_vocab, position, scale),
            final_norm,
        ),
        decoder=arch.Stack(
            width,
            (looking_back,) * config.size("num_decoder_layers"),
            arch.Embedding(target_vocab, position, scale),
            final_norm,
        ),
        head=arch.Head(tied, config.get("head_bias", bool, False)),
        shared_embedding=shared,
    )


def rules(config: Config, task: str) -> Sequence[Rule]:
    slot = f"_{_norm_place(config)}_norm."
    return (*_TORCH, *_D2L, *_norms(slot), *_SURROUNDINGS, TRANSPOSE_LINEARS)


def _norm_place(config: Config) -> arch.NormPlace:
    return "input" if config.get("norm_first", bool, False) else "output"


_TORCH = (
    Rename(r"^(?:\w+\.)?((?:en|de)coder\.(?:layers|norm)\.)", r"\1"),
    Split(r"\.in_proj_(weight|bias)$", (r".query.\1", r".key.\1", r".value.\1")),
    Rename(r"\.multihead_attn\.", ".cross_attention."),
    Rename(r"\.self_attn\.", ".self_attention."),
    Rename(r"\.out_proj\.", ".output."),
    Rename(r"\.linear1\.", ".feed_forward.up."),
    Rename(r"\.linear2\.", ".feed_forward.down."),
)

_D2L = (
    Rename(r"^((?:en|de)coder)\.blks\.(?:block)?(\d+)\.", r"\1.layers.\2."),
    Rename(r"\.addnorm(\d)\.(?:ln|norm)\.", r".norm\1."),
    Rename(r"\.attention1?\.", ".self_attention."),
    Rename(r"\.attention2\.", ".cross_attention."),
    Rename(r"\.W_q\.", ".query."),
    Rename(r"\.W_k\.", ".key."),
    Rename(r"\.W_v\.", ".value."),
    Rename(r"\.W_o\.", ".output."),
    Rename(r"\.ffn\.dense1\.", ".feed_forward.up."),
    Rename(r"\.ffn\.dense2\.", ".feed_forward.down."),
    Rename(r"^((?:en|de)coder)\.embedding\.weight$", r"\1.embedding.tokens.weight"),
    Rename(r"^decoder\.dense\.", "head."),
)


def _norms(slot: str) -> tuple[Rule, ...]:
    return (
        Rename(r"\.norm1\.", f".self_attention{slot}"),
        Rename(r"^(encoder\..*)\.norm2\.", rf"\1.feed_forward{slot}"),
        Rename(r"^(decoder\..*)\.norm2\.", rf"\1.cross_attention{slot}"),
        Rename(r"\.norm3\.", f".feed_forward{slot}"),
    )


_SURROUNDINGS = (
    Ignore(r"^(positional_encoding\.pos_embedding|pos_encoding\.P|(en|de)coder\.pos_encoding\.P)$"),
    Rename(r"^embedding\.weight$", "decoder.embedding.tokens.weight"),
    Rename(r"^(?:source_embedding|src_tok_emb\.embedding)\.weight$", "encoder.embedding.tokens.weight"),
    Rename(r"^(?:target_embedding|tgt_tok_emb\.embedding)\.weight$", "decoder.embedding.tokens.weight"),
    Rename(r"^source_positions\.", "encoder.embedding.positions."),
    Rename(r"^target_positions\.", "decoder.embedding.positions."),
    Rename(r"^generator\.", "head."),
)
