"""What BERT and RoBERTa share: configuration keys, tensor names, and post-norm layers over three kinds of embedding."""

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families._activations import ACTIVATIONS
from diptych.model.rules import TRANSPOSE_LINEARS, Ignore, Rename, Rule


def stack(config: Config, positions: arch.Learned, unplaced: int | None) -> arch.Stack:
    width, heads = config.divided("hidden_size", "num_attention_heads")
    config.refuse("is_decoder", supported=False, because="which makes a decoder of an encoder")
    config.refuse("position_embedding_type", "absolute", "which current checkpoints do not use")
    norm = arch.LayerNorm(config.get("layer_norm_eps", float, 1e-12))
    layer = arch.Layer(
        arch.Attention(heads, width // heads),
        arch.FeedForward(config.size("intermediate_size"), activation(config)),
        norm,
        "output",
    )
    embedding = arch.Embedding(
        config.size("vocab_size"),
        positions,
        norm=norm,
        token_types=config.size("type_vocab_size", 2),
        unplaced=unplaced,
    )
    return arch.Stack(width, (layer,) * config.size("num_hidden_layers"), embedding)


def activation(config: Config) -> arch.Activation:
    return config.choose("hidden_act", ACTIVATIONS, "gelu")


def vocabulary_head(config: Config, act: arch.Activation) -> arch.Head:
    norm = arch.LayerNorm(config.get("layer_norm_eps", float, 1e-12))
    return arch.Head(config.get("tie_word_embeddings", bool, True), bias=True, transform=arch.Transform(act, norm))


# Of the stack; names come without the prefix of the base model, and early ones say gamma and beta.
STACK: tuple[Rule, ...] = (
    Rename(r"\.gamma$", ".weight"),
    Rename(r"\.beta$", ".bias"),
    Ignore(r"^embeddings\.position_ids$"),
    Rename(r"^embeddings\.word_embeddings\.", "encoder.embedding.tokens."),
    Rename(r"^embeddings\.position_embeddings\.", "encoder.embedding.positions."),
    Rename(r"^embeddings\.token_type_embeddings\.", "encoder.embedding.types."),
    Rename(r"^embeddings\.LayerNorm\.", "encoder.embedding.norm."),
    Rename(r"^encoder\.layer\.", "encoder.layers."),
    Rename(r"\.attention\.output\.LayerNorm\.", ".self_attention_output_norm."),
    Rename(r"\.attention\.output\.dense\.", ".self_attention.output."),
    Rename(r"\.attention\.self\.", ".self_attention."),
    Rename(r"\.intermediate\.dense\.", ".feed_forward.up."),
    Rename(r"(\.\d+)\.output\.dense\.", r"\1.feed_forward.down."),
    Rename(r"(\.\d+)\.output\.LayerNorm\.", r"\1.feed_forward_output_norm."),
    TRANSPOSE_LINEARS,
)
