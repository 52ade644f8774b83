"""OPT (Zhang et al. 2022), an open GPT-3; its 350M has norms after each branch and narrower token vectors."""

from collections.abc import Sequence

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families._activations import ACTIVATIONS
from diptych.model.families._causal import tasks
from diptych.model.rules import TRANSPOSE_LINEARS, Ignore, Rename, Rule

__all__ = ["architecture", "rules", "tasks"]


def architecture(config: Config, task: str) -> arch.DecoderOnly:
    width, heads = config.divided("hidden_size", "num_attention_heads")
    config.refuse("layer_norm_elementwise_affine", supported=True, because="norms without weights are not supported")
    bias = config.get("enable_bias", bool, True)
    norm = arch.LayerNorm(1e-5)
    layer = arch.Layer(
        arch.Attention(heads, width // heads, bias),
        arch.FeedForward(config.size("ffn_dim"), config.choose("activation_function", ACTIVATIONS, "relu"), bias),
        norm,
        _norm_place(config),
    )
    token_width = config.size("word_embed_proj_dim", width)
    if task == "embed" and token_width != width:
        config.fail("embeddings where word_embed_proj_dim is not hidden_size are not supported; supported is generate")
    embedding = arch.Embedding(
        config.size("vocab_size"),
        arch.Learned(config.size("max_position_embeddings"), offset=2),
        width=None if token_width == width else token_width,
    )
    removed = config.get("_remove_final_layer_norm", bool, False)
    final_norm = _norm_place(config) == "input" and not removed
    stack = arch.Stack(width, (layer,) * config.size("num_hidden_layers"), embedding, norm if final_norm else None)
    return arch.DecoderOnly(stack, arch.Head(config.get("tie_word_embeddings", bool, True)))


def rules(config: Config, task: str) -> Sequence[Rule]:
    place = _norm_place(config)
    return (
        Rename(r"^(model\.)?decoder\.", "decoder."),
        Ignore(r"^decoder\.version$"),
        Rename(r"^lm_head\.", "head."),
        Rename(r"^decoder\.embed_tokens\.", "decoder.embedding.tokens."),
        Rename(r"^decoder\.embed_positions\.", "decoder.embedding.positions."),
        Rename(r"^decoder\.project_in\.", "decoder.embedding.projection."),
        Rename(r"^decoder\.project_out\.", "head.projection."),
        Rename(r"^decoder\.final_layer_norm\.", "decoder.norm."),
        Rename(r"\.self_attn_layer_norm\.", f".self_attention_{place}_norm."),
        Rename(r"(\.\d+)\.final_layer_norm\.", rf"\1.feed_forward_{place}_norm."),
        Rename(r"\.self_attn\.q_proj\.", ".self_attention.query."),
        Rename(r"\.self_attn\.k_proj\.", ".self_attention.key."),
        Rename(r"\.self_attn\.v_proj\.", ".self_attention.value."),
        Rename(r"\.self_attn\.out_proj\.", ".self_attention.output."),
        Rename(r"\.fc1\.", ".feed_forward.up."),
        Rename(r"\.fc2\.", ".feed_forward.down."),
        TRANSPOSE_LINEARS,
    )


def _norm_place(config: Config) -> arch.NormPlace:
    return "input" if config.get("do_layer_norm_before", bool, True) else "output"
