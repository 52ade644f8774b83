"""Decoders alone: language models, and their states."""

from typing import Any

from families.case import ENDS, GENERATE, POSITIONS, START, VOCAB, Case, Values

COMMON: Values = {**ENDS, "bos_token_id": START, "vocab_size": VOCAB}
GPT: Values = {**COMMON, "n_positions": POSITIONS, "n_embd": 24, "n_layer": 1, "n_head": 3}
OPT: Values = {
    **COMMON,
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "ffn_dim": 40,
    "max_position_embeddings": POSITIONS,
}
OPT_350M: Values = {"do_layer_norm_before": False, "word_embed_proj_dim": 16}
GPT_NEO: Values = {
    **COMMON,
    "max_position_embeddings": POSITIONS,
    "hidden_size": 24,
    "num_layers": 2,
    "attention_types": [[["global", "local"], 1]],
    "num_heads": 3,
    "window_size": 4,
}
LLAMA: Values = {
    **COMMON,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "head_dim": 10,
    "max_position_embeddings": POSITIONS,
}
BIASES: Values = {"attention_bias": True, "mlp_bias": True}


def _writer(family: str, model: str, usual: Values, name: str = "", changes: Values | None = None, **how: Any) -> Case:
    return Case(family, GENERATE, model, usual | (changes or {}), name, **how)


def _gpt2(name: str = "", exported: bool = False, **changes: Any) -> Case:
    return _writer("gpt2", "GPT2LMHeadModel", GPT, name, changes, exported=exported)


def _gpt(name: str = "", exported: bool = False, **changes: Any) -> Case:
    return _writer("openai-gpt", "OpenAIGPTLMHeadModel", GPT, name, changes, exported=exported)


def _opt(name: str, exported: bool = False, **changes: Any) -> Case:
    return _writer("opt", "OPTForCausalLM", OPT, name, changes, exported=exported)


def _neo(name: str = "", exported: bool = False, **changes: Any) -> Case:
    return _writer("gpt_neo", "GPTNeoForCausalLM", GPT_NEO, name, changes, exported=exported)


def _llama(name: str = "", **changes: Any) -> Case:
    return _writer("llama", "LlamaForCausalLM", LLAMA, name, changes)


def _turned(kind: str, name: str = "", how: Values | None = None, trained: int = POSITIONS, **scaling: Any) -> Case:
    """A LLaMA whose positions are stretched."""
    rope = {"rope_type": kind, "rope_theta": 1000.0, **scaling}
    changes = {"rope_parameters": rope, "max_position_embeddings": trained}
    return _writer("llama", "LlamaForCausalLM", LLAMA, name or f"{kind} positions", changes, **(how or {}))


BEYOND: Values = {"exported": True, "alone": True}
DECODERS = [
    _gpt2(exported=True),
    _gpt2("five layers, each with its scale, untied", n_layer=5, scale_attn_by_inverse_layer_idx=True,
          tie_word_embeddings=False, n_inner=50),
    _gpt2("unscaled attention", scale_attn_weights=False, n_layer=2),
    _gpt(exported=True),
    _gpt("five layers, ReLU", n_layer=5, afn="relu"),
    _opt("as OPT-125M"),
    _opt("as OPT-350M", exported=True, **OPT_350M),
    _opt("five layers, no biases", enable_bias=False, num_hidden_layers=5),
    _opt("untied", tie_word_embeddings=False),
    _neo(exported=True),
    _neo("five layers", num_layers=5, attention_types=[[["global", "local"], 2], [["local"], 1]]),
    _llama(),
    _llama("tied", tie_word_embeddings=True, num_hidden_layers=1),
    _llama("five layers, biases, no groups", **BIASES, num_hidden_layers=5, head_dim=8, num_attention_heads=3,
           num_key_value_heads=3),
    _turned("linear", factor=2.5),
    _turned("dynamic", factor=2.0),
    # Tokens turn as the length of their text so far says: those that were cached earlier, less.
    _turned("dynamic", "dynamic positions, longer than trained", BEYOND, 6, factor=6.0),
    _turned("yarn", "YaRN positions", factor=4.0, original_max_position_embeddings=10),
    _turned("llama3", "LLaMA 3 positions", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=16),
    Case("gpt2", "embed", "GPT2Model", GPT, exported=True),
    Case("openai-gpt", "embed", "OpenAIGPTModel", GPT),
    Case("opt", "embed", "OPTModel", OPT),
    Case("gpt_neo", "embed", "GPTNeoModel", GPT_NEO),
    Case("llama", "embed", "LlamaModel", LLAMA),
]  # fmt: skip
