"""BART (Lewis et al. 2019), from the layout that transformers saves."""

from collections.abc import Sequence
from math import sqrt

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.rules import TRANSPOSE_LINEARS, Rename, Rule, Squeeze

ACTIVATIONS: dict[str, arch.Activation] = {"gelu": "gelu", "relu": "relu", "silu": "silu", "swish": "silu"}


def architecture(config: Config) -> arch.EncoderDecoder:
    width = config.size("d_model")
    config.refuse("normalize_before", False, "which is mBART's layout")
    config.refuse("add_final_layer_norm", False, "which is mBART's layout")
    config.refuse("normalize_embedding", True, "which BART always does")
    config.refuse("add_bias_logits", False, "which transformers does not read either")
    config.refuse("tie_word_embeddings", True, "but BART's embeddings and head are one matrix")
    return arch.EncoderDecoder(
        encoder=_stack(config, width, "encoder"),
        decoder=_stack(config, width, "decoder"),
        head=arch.Head(tied=True, bias=True),
        shared_embedding=True,
    )


def _stack(config: Config, width: int, side: str) -> arch.Stack:
    heads = config.size(f"{side}_attention_heads")
    if width % heads:
        config.fail(f"d_model {width} is not a multiple of {side}_attention_heads {heads}")
    norm = arch.LayerNorm(1e-5)
    activation = config.choose("activation_function", ACTIVATIONS, "gelu")
    return arch.Stack(
        width=width,
        depth=config.size(f"{side}_layers"),
        embedding=arch.Embedding(
            vocab_size=config.size("vocab_size"),
            positions=arch.Learned(config.size("max_position_embeddings"), offset=2),
            scale=sqrt(width) if config.get("scale_embedding", bool, False) else 1.0,
            norm=norm,
        ),
        layer=arch.Layer(
            arch.Attention(heads, width // heads),
            arch.FeedForward(config.size(f"{side}_ffn_dim"), activation),
            norm,
            norm_place="output",
        ),
    )


def rules(config: Config) -> Sequence[Rule]:
    return (
        Rename(r"^model\.", ""),
        Squeeze(r"^final_logits_bias$"),
        Rename(r"^final_logits_bias$", "decoder.head.bias"),
        Rename(r"^lm_head\.weight$", "decoder.head.weight"),
        Rename(r"^shared\.weight$", "decoder.embedding.tokens.weight"),
        Rename(r"\.embed_tokens\.", ".embedding.tokens."),
        Rename(r"\.embed_positions\.", ".embedding.positions."),
        Rename(r"\.layernorm_embedding\.", ".embedding.norm."),
        Rename(r"\.self_attn_layer_norm\.", ".self_attention_output_norm."),
        Rename(r"\.encoder_attn_layer_norm\.", ".cross_attention_output_norm."),
        Rename(r"\.final_layer_norm\.", ".feed_forward_output_norm."),
        Rename(r"\.self_attn\.", ".self_attention."),
        Rename(r"\.encoder_attn\.", ".cross_attention."),
        Rename(r"\.q_proj\.", ".query."),
        Rename(r"\.k_proj\.", ".key."),
        Rename(r"\.v_proj\.", ".value."),
        Rename(r"\.out_proj\.", ".output."),
        Rename(r"\.fc1\.", ".feed_forward.up."),
        Rename(r"\.fc2\.", ".feed_forward.down."),
        TRANSPOSE_LINEARS,
    )
