"""Encoders and decoders together."""

from families.case import ENDS, EOS, GENERATE, POSITIONS, START, VOCAB, Case, Values

PAIR: Values = {**ENDS, "vocab_size": VOCAB, "d_model": 24, "decoder_start_token_id": START}
BART: Values = {
    **PAIR,
    "max_position_embeddings": POSITIONS,
    "forced_eos_token_id": EOS,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 3,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 36,
}
DEEP: Values = {"encoder_layers": 2, "decoder_layers": 5}
T5: Values = {
    **PAIR,
    "d_kv": 10,
    "d_ff": 40,
    "num_heads": 3,
    "num_layers": 1,
    "num_decoder_layers": 1,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
}
TORCH: Values = {
    **PAIR,
    "nhead": 3,
    "num_encoder_layers": 1,
    "num_decoder_layers": 1,
    "dim_feedforward": 40,
    "norm_first": False,
    "positions": "sinusoidal",
    "max_position_embeddings": POSITIONS,
}
TWO_VOCABULARIES: Values = {"decoder_vocab_size": 59, "share_encoder_decoder_embeddings": False}
SCALED: Values = {"scale_embedding": True}
GATED: Values = {"feed_forward_proj": "gated-gelu"}


def _pairs(family: str, task: str, model: str, *forms: tuple[str, Values]) -> list[Case]:
    """Those whose names end with an asterisk are exported."""
    return [
        Case(family, task, model, config, name.removesuffix("*"), exported=name.endswith("*")) for name, config in forms
    ]


PAIRS = [
    *_pairs(
        "transformer", "translate", "TorchTransformer",
        ("*", TORCH),
        ("norms first, five layers", TORCH | {"norm_first": True, "num_encoder_layers": 5}),
    ),
    *_pairs(
        "bart", GENERATE, "BartForConditionalGeneration",
        ("*", BART),
        ("five layers, scaled", BART | DEEP | SCALED),
    ),
    *_pairs(
        "mbart", "translate", "MBartForConditionalGeneration",
        ("*", BART | SCALED | {"decoder_layers": 2}),
        ("five layers, unscaled", BART | DEEP),
    ),
    *_pairs(
        "marian", "translate", "MarianMTModel",
        ("", BART | SCALED | {"activation_function": "swish"}),
        ("two vocabularies*", BART | TWO_VOCABULARIES | {"activation_function": "relu"}),
        ("five layers, unscaled", BART | DEEP),
    ),
    *_pairs(
        "pegasus", "summarise", "PegasusForConditionalGeneration",
        ("*", BART | SCALED | {"activation_function": "relu"}),
        ("five layers, unscaled", BART | DEEP),
    ),
    *_pairs(
        "m2m_100", "translate", "M2M100ForConditionalGeneration",
        ("*", BART | SCALED | {"activation_function": "relu"}),
        ("five layers, unscaled", BART | DEEP),
    ),
    *_pairs(
        "t5", GENERATE, "T5ForConditionalGeneration",
        ("as T5 1.0*", T5),
        ("as T5 1.1", T5 | GATED | {"tie_word_embeddings": False}),
        ("five layers", T5 | {"num_layers": 5, "num_decoder_layers": 4}),
    ),
    *_pairs(
        "mt5", GENERATE, "MT5ForConditionalGeneration",
        ("*", T5 | GATED),
        ("five layers", T5 | GATED | {"num_layers": 5}),
    ),
    Case("bart", "embed", "BartModel", BART),
    Case("t5", "embed", "T5EncoderModel", T5, exported=True),
]  # fmt: skip
