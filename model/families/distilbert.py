"""DistilBERT (Sanh et al. 2019): BERT without token types and pooler."""

from collections.abc import Mapping, Sequence

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families._activations import ACTIVATIONS
from diptych.model.families._heads import head
from diptych.model.rules import TRANSPOSE_LINEARS, Ignore, Rename, Rule

NORM = arch.LayerNorm(1e-12)

HEADS: dict[str, tuple[Rule, ...]] = {
    "answer": (Rename(r"^qa_outputs\.", "head.output."),),
    "classify": (Rename(r"^pre_classifier\.", "head.dense."), Rename(r"^classifier\.", "head.output.")),
    "tag": (Rename(r"^classifier\.", "head.output."),),
    "fill": (
        Rename(r"^vocab_transform\.", "head.transform.dense."),
        Rename(r"^vocab_layer_norm\.", "head.transform.norm."),
        Rename(r"^vocab_projector\.", "head."),
    ),
    "embed": (),
}


def tasks(config: Config) -> Mapping[str, Sequence[str]]:
    return {
        "answer": (r"^qa_outputs\.weight$",),
        "classify": (r"^classifier\.weight$", r"^pre_classifier\.weight$"),
        "tag": (r"^classifier\.weight$",),
        "fill": (r"^vocab_transform\.weight$",),
        "embed": (r"embeddings\.word_embeddings\.weight$",),
    }


def architecture(config: Config, task: str) -> arch.EncoderOnly:
    width, heads = config.divided("dim", "n_heads")
    config.pass_over("sinusoidal_pos_embds")  # The table is stored either way.
    activation = config.choose("activation", ACTIVATIONS, "gelu")
    layer = arch.Layer(
        arch.Attention(heads, width // heads),
        arch.FeedForward(config.size("hidden_dim"), activation),
        NORM,
        "output",
    )
    embedding = arch.Embedding(
        config.size("vocab_size"), arch.Learned(config.size("max_position_embeddings")), norm=NORM
    )
    tied = config.get("tie_word_embeddings", bool, config.get("tie_weights_", bool, True))
    vocabulary = arch.Head(tied, bias=True, transform=arch.Transform(activation, NORM))
    stack = arch.Stack(width, (layer,) * config.size("n_layers"), embedding)
    return arch.EncoderOnly(stack, head(config, task, "relu", vocabulary))


def rules(config: Config, task: str) -> Sequence[Rule]:
    return (
        Rename(r"^distilbert\.", ""),
        *HEADS[task],
        Ignore(r"^(qa_outputs|classifier|pre_classifier|vocab_transform|vocab_layer_norm|vocab_projector)\."),
        Rename(r"\.gamma$", ".weight"),
        Rename(r"\.beta$", ".bias"),
        Ignore(r"^embeddings\.position_ids$"),
        Rename(r"^embeddings\.word_embeddings\.", "encoder.embedding.tokens."),
        Rename(r"^embeddings\.position_embeddings\.", "encoder.embedding.positions."),
        Rename(r"^embeddings\.LayerNorm\.", "encoder.embedding.norm."),
        Rename(r"^transformer\.layer\.", "encoder.layers."),
        Rename(r"\.sa_layer_norm\.", ".self_attention_output_norm."),
        Rename(r"\.output_layer_norm\.", ".feed_forward_output_norm."),
        Rename(r"\.attention\.q_lin\.", ".self_attention.query."),
        Rename(r"\.attention\.k_lin\.", ".self_attention.key."),
        Rename(r"\.attention\.v_lin\.", ".self_attention.value."),
        Rename(r"\.attention\.out_lin\.", ".self_attention.output."),
        Rename(r"\.ffn\.lin1\.", ".feed_forward.up."),
        Rename(r"\.ffn\.lin2\.", ".feed_forward.down."),
        TRANSPOSE_LINEARS,
    )
