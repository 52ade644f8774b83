"""LLaMA 1 to 3.x (Touvron et al. 2023): RMSNorm, rotary positions, SwiGLU, grouped queries."""

from collections.abc import Mapping, Sequence

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families import _causal
from diptych.model.families._activations import ACTIVATIONS
from diptych.model.families._rotary import rotary
from diptych.model.rules import TRANSPOSE_LINEARS, Ignore, Rename, Rule


def tasks(config: Config) -> Mapping[str, Sequence[str]]:
    return _causal.tasks(config, tied=False)


def architecture(config: Config, task: str) -> arch.DecoderOnly:
    width, heads = config.divided("hidden_size", "num_attention_heads")
    head_dim = config.size("head_dim", width // heads)
    _, kv_heads = config.divided("num_attention_heads", "num_key_value_heads", heads)
    if head_dim % 2:
        config.fail(f"the head width is {head_dim}; rotary positions need an even one")
    norm = arch.RMSNorm(config.get("rms_norm_eps", float, 1e-6))
    activation = config.choose("hidden_act", ACTIVATIONS, "silu")
    layer = arch.Layer(
        arch.Attention(heads, head_dim, config.get("attention_bias", bool, False), kv_heads=kv_heads),
        arch.FeedForward(config.size("intermediate_size"), activation, config.get("mlp_bias", bool, False), gated=True),
        norm,
        "input",
    )
    config.refuse("rope_interleaved", supported=False, because="which turns neighbouring channels, not halves")
    for key in ("is_llama_config", "transformers.js_config", "max_sequence_length"):
        config.pass_over(key)
    context = config.size("max_position_embeddings", 2048)
    positions = rotary(config, context)
    context = max(context, config.size("max_sequence_length", context))  # Of derivatives trained on longer texts.
    if isinstance(positions.scaling, arch.Dynamic):
        context = int(context * positions.scaling.factor)
    stack = arch.Stack(
        width,
        (layer,) * config.size("num_hidden_layers"),
        arch.Embedding(config.size("vocab_size"), None),
        norm,
        positions,
        context,
    )
    return arch.DecoderOnly(stack, arch.Head(config.get("tie_word_embeddings", bool, False)))


def rules(config: Config, task: str) -> Sequence[Rule]:
    return (
        Rename(r"^(model|transformer)\.", ""),
        Ignore(r"rotary_emb\.inv_freq$"),
        Rename(r"^lm_head\.", "head."),
        Rename(r"^embed_tokens\.", "decoder.embedding.tokens."),
        Rename(r"^norm\.", "decoder.norm."),
        Rename(r"^layers\.", "decoder.layers."),
        Rename(r"\.input_layernorm\.", ".self_attention_input_norm."),
        Rename(r"\.post_attention_layernorm\.", ".feed_forward_input_norm."),
        Rename(r"\.self_attn\.q_proj\.", ".self_attention.query."),
        Rename(r"\.self_attn\.k_proj\.", ".self_attention.key."),
        Rename(r"\.self_attn\.v_proj\.", ".self_attention.value."),
        Rename(r"\.self_attn\.o_proj\.", ".self_attention.output."),
        Rename(r"\.mlp\.(gate|up|down)_proj\.", r".feed_forward.\1."),
        TRANSPOSE_LINEARS,
    )
