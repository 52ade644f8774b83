"""GPT-Neo (Black et al. 2021): every other layer sees a window only, and scores are not scaled."""

from collections.abc import Sequence

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families._activations import ACTIVATIONS
from diptych.model.families._causal import tasks
from diptych.model.rules import TRANSPOSE_LINEARS, Ignore, Rename, Rule

__all__ = ["architecture", "rules", "tasks"]


def architecture(config: Config, task: str) -> arch.DecoderOnly:
    width, heads = config.divided("hidden_size", "num_heads")
    for key in ("attention_layers", *(f"summary_{part}" for part in ("type", "use_proj", "activation"))):
        config.pass_over(key)
    for key in ("summary_proj_to_labels", "summary_first_dropout"):
        config.pass_over(key)
    norm = arch.LayerNorm(config.get("layer_norm_epsilon", float, 1e-5))
    feed_forward = arch.FeedForward(
        config.size("intermediate_size", 4 * width), config.choose("activation_function", ACTIVATIONS, "gelu_new")
    )
    layers = tuple(
        arch.Layer(
            arch.Attention(heads, width // heads, bias=False, output_bias=True, scale=1.0, window=window),
            feed_forward,
            norm,
            "input",
        )
        for window in _windows(config)
    )
    embedding = arch.Embedding(config.size("vocab_size"), arch.Learned(config.size("max_position_embeddings")))
    return arch.DecoderOnly(
        arch.Stack(width, layers, embedding, norm), arch.Head(config.get("tie_word_embeddings", bool, True))
    )


def _windows(config: Config) -> list[int | None]:
    """What each layer sees: `attention_types` is a list of [[kind, kind, …], repetitions]."""
    window = config.size("window_size", 256)
    depth = config.size("num_layers")
    groups = config.get("attention_types", list, [[["global", "local"], 12]])
    try:
        kinds = [kind for pattern, repetitions in groups for kind in list(pattern) * repetitions]
        windows = [{"global": None, "local": window}[kind] for kind in kinds]
    except (TypeError, ValueError, KeyError):
        config.fail(f"attention_types is {groups!r:.80}; expected pairs of a list of 'global' and 'local' and a count")
    if len(windows) != depth:
        config.fail(f"attention_types speaks of {len(windows)} layers, num_layers of {depth}")
    return windows


def rules(config: Config, task: str) -> Sequence[Rule]:
    return (
        Rename(r"^transformer\.", ""),
        Ignore(r"\.attn\.attention\.(masked_)?bias$"),
        Rename(r"^lm_head\.", "head."),
        Rename(r"^wte\.", "decoder.embedding.tokens."),
        Rename(r"^wpe\.", "decoder.embedding.positions."),
        Rename(r"^ln_f\.", "decoder.norm."),
        Rename(r"^h\.", "decoder.layers."),
        Rename(r"\.ln_1\.", ".self_attention_input_norm."),
        Rename(r"\.ln_2\.", ".feed_forward_input_norm."),
        Rename(r"\.attn\.attention\.q_proj\.", ".self_attention.query."),
        Rename(r"\.attn\.attention\.k_proj\.", ".self_attention.key."),
        Rename(r"\.attn\.attention\.v_proj\.", ".self_attention.value."),
        Rename(r"\.attn\.attention\.out_proj\.", ".self_attention.output."),
        Rename(r"\.mlp\.c_fc\.", ".feed_forward.up."),
        Rename(r"\.mlp\.c_proj\.", ".feed_forward.down."),
        TRANSPOSE_LINEARS,
    )
