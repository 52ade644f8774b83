"""What BART and its relatives share: configuration keys, tensor names, and one plan with three choices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

from diptych.model import architecture as arch
from diptych.model.config import Config
from diptych.model.families import _seq2seq
from diptych.model.families._activations import ACTIVATIONS
from diptych.model.rules import TRANSPOSE_LINEARS, Ignore, Rename, Rule, Squeeze, Zeros


@dataclass(frozen=True)
class Layout:
    """A family of these. task: what its checkpoints are made for, where nothing else says.

    pre_norm: norms before each branch and after each stack; else after each branch. embedding_norm: the embeddings are
    normalised. positions: "learned" after two unused rows, or computed with sines and cosines in "halves"; M2M100's
    are computed otherwise and count what is not padding.
    """

    task: _seq2seq.Task
    pre_norm: bool
    embedding_norm: bool
    positions: Literal["learned", "halves", "halves_inclusive"]

    @property
    def place(self) -> arch.NormPlace:
        return "input" if self.pre_norm else "output"

    def tasks(self, config: Config) -> Mapping[str, Sequence[str]]:
        return _seq2seq.tasks(config, self.task)

    def architecture(self, config: Config, task: str) -> arch.EncoderDecoder:
        self._refuse_other_layouts(config)
        shared = config.get("share_encoder_decoder_embeddings", bool, True)
        vocab_size = config.size("vocab_size")
        return arch.EncoderDecoder(
            encoder=self._stack(config, "encoder", vocab_size),
            decoder=self._stack(config, "decoder", _target_vocabulary(config)),
            head=arch.Head(config.get("tie_word_embeddings", bool, True), bias=True),
            shared_embedding=shared,
        )

    def rules(self, config: Config, task: str) -> Sequence[Rule]:
        computed = self.positions != "learned"
        return (
            Rename(r"^model\.", ""),
            Ignore(r"^(encoder|decoder)\.version$"),  # Of fairseq's checkpoints.
            *([Ignore(r"^(encoder|decoder)\.embed_positions\.weights?$")] if computed else []),
            Squeeze(r"^final_logits_bias$"),
            Rename(r"^final_logits_bias$", "head.bias"),
            Rename(r"^lm_head\.weight$", "head.weight"),
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
            *([Zeros("head.bias", _target_vocabulary(config))] if task != "embed" else []),
        )

    def _stack(self, config: Config, side: str, vocab_size: int) -> arch.Stack:
        width, heads = config.divided("d_model", f"{side}_attention_heads")
        norm = arch.LayerNorm(1e-5)
        attention = arch.Attention(heads, width // heads)
        layer = arch.Layer(
            attention,
            arch.FeedForward(config.size(f"{side}_ffn_dim"), config.choose("activation_function", ACTIVATIONS, "gelu")),
            norm,
            self.place,
            cross_attention=attention if side == "decoder" else None,
        )
        positions, unplaced = self._positions(config)
        embedding = arch.Embedding(
            vocab_size,
            positions,
            scale=sqrt(width) if config.get("scale_embedding", bool, False) else 1.0,
            norm=norm if self.embedding_norm else None,
            unplaced=unplaced if side == "encoder" else None,  # A decoder is told its positions.
        )
        final_norm = norm if self.pre_norm else None
        return arch.Stack(width, (layer,) * config.size(f"{side}_layers"), embedding, final_norm)

    def _positions(self, config: Config) -> tuple[arch.Positions, int | None]:
        """Also the token that takes no position."""
        count = config.size("max_position_embeddings")
        match self.positions:
            case "learned":
                return arch.Learned(count, offset=2), None
            case "halves":
                return arch.Sinusoidal(count, "halves"), None
            case "halves_inclusive":
                pad = config.get("pad_token_id", int, 1)
                return arch.Sinusoidal(count, "halves_inclusive", offset=pad + 1), pad

    def _refuse_other_layouts(self, config: Config) -> None:
        because = f"but {config.values['model_type']} always is otherwise"
        config.refuse("normalize_before", self.pre_norm, because)
        config.refuse("add_final_layer_norm", self.pre_norm, because)
        config.refuse("normalize_embedding", self.embedding_norm, because)
        config.refuse("static_position_embeddings", self.positions != "learned", because)
        config.refuse("add_bias_logits", False, because)


def _target_vocabulary(config: Config) -> int:
    """Marian's decoder may have a vocabulary of its own."""
    return config.size("decoder_vocab_size", config.size("vocab_size"))
