"""T5 (Raffel et al. 2020), T5 1.1 and Flan-T5 (gated GELU), and mT5."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families import _seq2seq
from diptych.model.rules import TRANSPOSE_LINEARS, Copy, Ignore, Rename, Rule

# feed_forward_proj, which wins over the older dense_act_fn and is_gated_act.
FEED_FORWARDS: dict[str, tuple[arch.Activation, bool]] = {
    "relu": ("relu", False),
    "gelu": ("gelu", False),
    "gated-gelu": ("gelu_tanh", True),
    "gated-silu": ("silu", True),
    "gated-relu": ("relu", True),
}


def tasks(config: Config) -> Mapping[str, Sequence[str]]:
    return _seq2seq.tasks(config, "generate")


def architecture(config: Config, task: str) -> arch.EncoderDecoder:
    width, depth = config.size("d_model"), config.size("num_layers")
    vocab_size = config.size("vocab_size")
    activation, gated = config.choose("feed_forward_proj", FEED_FORWARDS, "relu")
    for key in ("dense_act_fn", "is_gated_act", "n_positions"):
        config.pass_over(key)
    norm = arch.RMSNorm(config.get("layer_norm_epsilon", float, 1e-6))
    attention = arch.Attention(config.size("num_heads"), config.size("d_kv"), bias=False, scale=1.0)
    feed_forward = arch.FeedForward(config.size("d_ff"), activation, bias=False, gated=gated)
    layer = arch.Layer(attention, feed_forward, norm, "input")
    relative = arch.Bucketed(
        config.size("relative_attention_num_buckets", 32), config.size("relative_attention_max_distance", 128)
    )
    if relative.count < 4 or relative.farthest <= relative.count // 2:
        config.fail(
            f"relative_attention_num_buckets is {relative.count} and relative_attention_max_distance is "
            f"{relative.farthest}; expected at least 4 buckets, and a distance above half as many"
        )
    embedding = arch.Embedding(vocab_size, None)
    encoder = arch.Stack(width, (layer,) * depth, embedding, norm, relative)
    looking_back = (replace(layer, cross_attention=attention),) * config.size("num_decoder_layers", depth)
    decoder = arch.Stack(width, looking_back, embedding, norm, relative)
    head = arch.Head(tied=False, scale=width**-0.5 if _scaled(config) else 1.0)
    return arch.EncoderDecoder(encoder, decoder, head, shared_embedding=True)


def _tied(config: Config) -> bool:
    """Whether a head that is not in the file is the token matrix; what is in the file counts in any case."""
    return config.get("tie_word_embeddings", bool, True)


def _scaled(config: Config) -> bool:
    """Whether the head reads scaled states: T5 1.0's does, 1.1's and mT5's do not.

    transformers 5 says `scale_decoder_outputs`, and ties whatever the file holds; older versions say only the latter.
    """
    scaled = config.get("scale_decoder_outputs", bool, _tied(config))
    return scaled and config.values["model_type"] != "mt5"


def rules(config: Config, task: str) -> Sequence[Rule]:
    tied = [Copy("head.weight", "decoder.embedding.tokens.weight")] if _tied(config) else []
    return (
        Rename(r"^transformer\.", ""),
        Rename(r"^shared\.", "decoder.embedding.tokens."),
        Rename(r"\.embed_tokens\.", ".embedding.tokens."),
        Rename(r"^lm_head\.", "head."),
        Ignore(r"^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$"),
        Rename(r"^(encoder|decoder)\.block\.0\.layer\.0\.SelfAttention\.relative_attention_bias\.", r"\1.relative."),
        Rename(r"\.block\.(\d+)\.layer\.", r".layers.\1."),
        Rename(r"^(encoder|decoder)\.final_layer_norm\.", r"\1.norm."),
        Rename(r"\.0\.layer_norm\.", ".self_attention_input_norm."),
        Rename(r"^(encoder\..*)\.1\.layer_norm\.", r"\1.feed_forward_input_norm."),
        Rename(r"^(decoder\..*)\.1\.layer_norm\.", r"\1.cross_attention_input_norm."),
        Rename(r"\.2\.layer_norm\.", ".feed_forward_input_norm."),
        Rename(r"\.0\.SelfAttention\.", ".self_attention."),
        Rename(r"\.1\.EncDecAttention\.", ".cross_attention."),
        Rename(r"\.[12]\.DenseReluDense\.", ".feed_forward."),
        Rename(r"\.wi_0\.", ".gate."),
        Rename(r"\.wi(_1)?\.", ".up."),
        Rename(r"\.wo\.", ".down."),
        Rename(r"\.q\.", ".query."),
        Rename(r"\.k\.", ".key."),
        Rename(r"\.v\.", ".value."),
        Rename(r"\.o\.", ".output."),
        TRANSPOSE_LINEARS,
        *tied,
    )
