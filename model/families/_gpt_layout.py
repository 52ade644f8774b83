"""What GPT and GPT-2 share: configuration keys, tensor names, weights stored [in, out] with the projections fused."""

from collections.abc import Sequence

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.rules import Ignore, Rename, Rule, Split


def architecture(config: Config, activation: arch.Activation, place: arch.NormPlace) -> arch.DecoderOnly:
    width, heads = config.divided("n_embd", "n_head")
    for key in ("n_ctx", *(f"summary_{part}" for part in ("type", "use_proj", "activation", "proj_to_labels"))):
        config.pass_over(key)
    config.pass_over("summary_first_dropout")
    norm = arch.LayerNorm(config.get("layer_norm_epsilon", float, 1e-5))
    feed_forward = arch.FeedForward(config.size("n_inner", 4 * width), activation)
    layers = tuple(
        arch.Layer(arch.Attention(heads, width // heads, scale=scale), feed_forward, norm, place)
        for scale in _scales(config, width // heads)
    )
    embedding = arch.Embedding(config.size("vocab_size"), arch.Learned(config.size("n_positions")))
    stack = arch.Stack(width, layers, embedding, norm if place == "input" else None)
    return arch.DecoderOnly(stack, arch.Head(config.get("tie_word_embeddings", bool, True)))


def _scales(config: Config, head_dim: int) -> list[float]:
    """What each layer's scores are multiplied by."""
    scale = head_dim**-0.5 if config.get("scale_attn_weights", bool, True) else 1.0
    by_depth = config.get("scale_attn_by_inverse_layer_idx", bool, False)
    return [scale / (index + 1) if by_depth else scale for index in range(config.size("n_layer"))]


def rules(tokens: str, positions: str, place: arch.NormPlace) -> Sequence[Rule]:
    return (
        Rename(r"^transformer\.", ""),
        Ignore(r"\.attn\.(masked_)?bias$"),  # The causal mask, kept as a buffer by earlier versions.
        Ignore(r"^multiple_choice_head\."),
        Rename(r"^lm_head\.", "head."),
        Rename(rf"^{tokens}\.", "decoder.embedding.tokens."),
        Rename(rf"^{positions}\.", "decoder.embedding.positions."),
        Rename(r"^ln_f\.", "decoder.norm."),
        Rename(r"^h\.", "decoder.layers."),
        Rename(r"\.ln_1\.", f".self_attention_{place}_norm."),
        Rename(r"\.ln_2\.", f".feed_forward_{place}_norm."),
        Split(
            r"\.attn\.c_attn\.(weight|bias)$",
            tuple(rf".self_attention.{part}.\1" for part in ("query", "key", "value")),
            axis=-1,
        ),
        Rename(r"\.attn\.c_proj\.", ".self_attention.output."),
        Rename(r"\.mlp\.c_fc\.", ".feed_forward.up."),
        Rename(r"\.mlp\.c_proj\.", ".feed_forward.down."),
    )
