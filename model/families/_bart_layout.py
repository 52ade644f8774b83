"""What BART and its relatives share: configuration keys, tensor names, and one plan with three choices."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.rules import TRANSPOSE_LINEARS, Ignore, Rename, Rule, Squeeze, Zeros

ACTIVATIONS: dict[str, arch.Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


@dataclass(frozen=True)
class Layout:
    """A family of these. pre_norm: norms before each branch and after each stack; else after each branch.

    embedding_norm: the embeddings are normalised. sinusoidal: positions are computed; else they are learned, after two
    unused rows.
    """

    pre_norm: bool
    embedding_norm: bool
    sinusoidal: bool

    @property
    def place(self) -> arch.NormPlace:
        return "input" if self.pre_norm else "output"

    def architecture(self, config: Config) -> arch.EncoderDecoder:
        self._refuse_other_layouts(config)
        shared = config.get("share_encoder_decoder_embeddings", bool, True)
        vocab_size = config.size("vocab_size")
        return arch.EncoderDecoder(
            encoder=self._stack(config, "encoder", vocab_size),
            decoder=self._stack(config, "decoder", _target_vocabulary(config)),
            head=arch.Head(config.get("tie_word_embeddings", bool, True), bias=True),
            shared_embedding=shared,
        )

    def rules(self, config: Config) -> Sequence[Rule]:
        return (
            Rename(r"^model\.", ""),
            *([Ignore(r"^(encoder|decoder)\.embed_positions\.weight$")] if self.sinusoidal else []),
            Squeeze(r"^final_logits_bias$"),
            Rename(r"^final_logits_bias$", "decoder.head.bias"),
            Rename(r"^lm_head\.weight$", "decoder.head.weight"),
            Rename(r"^shared\.weight$", "decoder.embedding.tokens.weight"),
            Rename(r"\.embed_tokens\.", ".embedding.tokens."),
            Rename(r"\.embed_positions\.", ".embedding.positions."),
            Rename(r"\.layernorm_embedding\.", ".embedding.norm."),
            Rename(r"^(encoder|decoder)\.layer_norm\.", r"\1.norm."),
            Rename(r"\.self_attn_layer_norm\.", f".self_attention_{self.place}_norm."),
            Rename(r"\.encoder_attn_layer_norm\.", f".cross_attention_{self.place}_norm."),
            Rename(r"\.final_layer_norm\.", f".feed_forward_{self.place}_norm."),
            Rename(r"\.self_attn\.", ".self_attention."),
            Rename(r"\.encoder_attn\.", ".cross_attention."),
            Rename(r"\.q_proj\.", ".query."),
            Rename(r"\.k_proj\.", ".key."),
            Rename(r"\.v_proj\.", ".value."),
            Rename(r"\.out_proj\.", ".output."),
            Rename(r"\.fc1\.", ".feed_forward.up."),
            Rename(r"\.fc2\.", ".feed_forward.down."),
            TRANSPOSE_LINEARS,
            Zeros("decoder.head.bias", _target_vocabulary(config)),
        )

    def _stack(self, config: Config, side: str, vocab_size: int) -> arch.Stack:
        width, heads = config.size("d_model"), config.size(f"{side}_attention_heads")
        if width % heads:
            config.fail(f"d_model {width} is not a multiple of {side}_attention_heads {heads}")
        count = config.size("max_position_embeddings")
        norm = arch.LayerNorm(1e-5)
        return arch.Stack(
            width=width,
            depth=config.size(f"{side}_layers"),
            embedding=arch.Embedding(
                vocab_size,
                arch.Sinusoidal(count, interleaved=False) if self.sinusoidal else arch.Learned(count, offset=2),
                scale=sqrt(width) if config.get("scale_embedding", bool, False) else 1.0,
                norm=norm if self.embedding_norm else None,
            ),
            layer=arch.Layer(
                arch.Attention(heads, width // heads),
                arch.FeedForward(
                    config.size(f"{side}_ffn_dim"), config.choose("activation_function", ACTIVATIONS, "gelu")
                ),
                norm,
                self.place,
            ),
            final_norm=norm if self.pre_norm else None,
        )

    def _refuse_other_layouts(self, config: Config) -> None:
        because = f"but {config.values['model_type']} always is otherwise"
        config.refuse("normalize_before", self.pre_norm, because)
        config.refuse("add_final_layer_norm", self.pre_norm, because)
        config.refuse("normalize_embedding", self.embedding_norm, because)
        config.refuse("static_position_embeddings", self.sinusoidal, because)
        config.refuse("add_bias_logits", False, because)


def _target_vocabulary(config: Config) -> int:
    """Marian's decoder may have a vocabulary of its own."""
    return config.size("decoder_vocab_size", config.size("vocab_size"))
