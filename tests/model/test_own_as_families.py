"""Checkpoints of known families, described in our own terms, are the same networks to the last bit."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from own_models import as_json
from torch import Tensor, nn

from diptych.model import DecoderOnly, EncoderDecoder, Network, load_checkpoint
from diptych.model.config import Config
from diptych.model.families import FAMILIES
from diptych.model.rules import Rule

Randomise = Callable[[nn.Module, int], None]
Description = dict[str, Any]

VOCAB = 37
NORM = {"type": "LayerNorm", "eps": 1e-5}
FINE_NORM = {"type": "LayerNorm", "eps": 1e-12}

GPT2_LAYER = {
    "attention": {"heads": 3, "head_dim": 8},
    "feed_forward": {"width": 96, "activation": "gelu_tanh"},
    "norm": NORM,
    "norm_place": "input",
}
GPT2: Description = {
    "architecture": {
        "type": "DecoderOnly",
        "decoder": {
            "width": 24,
            "embedding": {"vocab_size": VOCAB, "positions": {"type": "Learned", "count": 20}},
            "layers": {"count": 2, "of": GPT2_LAYER},
            "final_norm": NORM,
        },
        "head": {"tied": True},
    },
    "linear_layout": "in_out",
    "rules": [
        {"rename": [r"^transformer\.wte", "decoder.embedding.tokens"]},
        {"rename": [r"^transformer\.wpe", "decoder.embedding.positions"]},
        {"rename": [r"^transformer\.ln_f", "decoder.norm"]},
        {"rename": [r"^transformer\.h", "decoder.layers"]},
        {"rename": [r"ln_1", "self_attention_input_norm"]},
        {"rename": [r"ln_2", "feed_forward_input_norm"]},
        {
            "split": {
                "pattern": r"attn\.c_attn\.(\w+)$",
                "replacements": [rf"self_attention.{part}.\1" for part in ("query", "key", "value")],
                "axis": -1,
            }
        },
        {"rename": [r"attn\.c_proj", "self_attention.output"]},
        {"rename": [r"mlp\.c_fc", "feed_forward.up"]},
        {"rename": [r"mlp\.c_proj", "feed_forward.down"]},
    ],
}

BERT_LAYER = {
    "attention": {"heads": 3, "head_dim": 8},
    "feed_forward": {"width": 40, "activation": "gelu"},
    "norm": FINE_NORM,
    "norm_place": "output",
}
BERT_ENCODER = {
    "width": 24,
    "embedding": {
        "vocab_size": VOCAB,
        "positions": {"type": "Learned", "count": 20},
        "norm": FINE_NORM,
        "token_types": 2,
    },
    "layers": [BERT_LAYER, BERT_LAYER],
}
BERT_RULES = [
    {"rename": [r"^bert\.", ""]},
    {"rename": [r"^embeddings\.word_embeddings", "encoder.embedding.tokens"]},
    {"rename": [r"^embeddings\.position_embeddings", "encoder.embedding.positions"]},
    {"rename": [r"^embeddings\.token_type_embeddings", "encoder.embedding.types"]},
    {"rename": [r"^embeddings\.LayerNorm", "encoder.embedding.norm"]},
    {"rename": [r"^encoder\.layer\.", "encoder.layers."]},
    {"rename": [r"attention\.output\.LayerNorm", "self_attention_output_norm"]},
    {"rename": [r"attention\.output\.dense", "self_attention.output"]},
    {"rename": [r"attention\.self", "self_attention"]},
    {"rename": [r"intermediate\.dense", "feed_forward.up"]},
    {"rename": [r"(\d)\.output\.dense", r"\1.feed_forward.down"]},
    {"rename": [r"(\d)\.output\.LayerNorm", r"\1.feed_forward_output_norm"]},
]
BERT_FILL: Description = {
    "architecture": {
        "type": "EncoderOnly",
        "encoder": BERT_ENCODER,
        "head": {"type": "Head", "tied": True, "bias": True, "transform": {"activation": "gelu", "norm": FINE_NORM}},
    },
    "rules": [
        {"rename": [r"^cls\.predictions\.transform\.LayerNorm", "head.transform.norm"]},
        {"rename": [r"^cls\.predictions\.transform", "head.transform"]},
        {"rename": [r"^cls\.predictions\.(decoder\.)?", "head."]},
        *BERT_RULES,
    ],
}
BERT_CLASSIFY: Description = {
    "architecture": {
        "type": "EncoderOnly",
        "encoder": BERT_ENCODER,
        "head": {"type": "TextHead", "classes": 3, "activation": "tanh"},
    },
    "id2label": {"0": "one", "1": "two", "2": "three"},
    "rules": [
        {"rename": [r"^bert\.pooler\.", "head."]},
        {"rename": [r"^classifier\.", "head.output."]},
        *BERT_RULES,
    ],
}


def bart_stack(side: str) -> Description:
    attention = {"heads": 3, "head_dim": 8}
    layer = {
        "attention": attention,
        "feed_forward": {"width": 40, "activation": "gelu"},
        "norm": NORM,
        "norm_place": "output",
        "cross_attention": attention if side == "decoder" else None,
    }
    return {
        "width": 24,
        "embedding": {"vocab_size": VOCAB, "positions": {"type": "Learned", "count": 20, "offset": 2}, "norm": NORM},
        "layers": {"count": 2, "of": layer},
    }


BART: Description = {
    "architecture": {
        "type": "EncoderDecoder",
        "encoder": bart_stack("encoder"),
        "decoder": bart_stack("decoder"),
        "head": {"tied": True, "bias": True},
        "shared_embedding": True,
    },
    "rules": [
        {"rename": [r"^model\.", ""]},
        {"squeeze": "^final_logits_bias$"},
        {"rename": ["^final_logits_bias$", "head.bias"]},
        {"rename": [r"^shared\.weight$", "head.weight"]},
        {"rename": ["embed_positions", "embedding.positions"]},
        {"rename": ["layernorm_embedding", "embedding.norm"]},
        {"rename": ["self_attn_layer_norm", "self_attention_output_norm"]},
        {"rename": ["encoder_attn_layer_norm", "cross_attention_output_norm"]},
        {"rename": ["final_layer_norm", "feed_forward_output_norm"]},
        {"rename": [r"self_attn\.", "self_attention."]},
        {"rename": [r"encoder_attn\.", "cross_attention."]},
        {"rename": [r"\.q_proj", ".query"]},
        {"rename": [r"\.k_proj", ".key"]},
        {"rename": [r"\.v_proj", ".value"]},
        {"rename": [r"\.out_proj", ".output"]},
        {"rename": [r"fc1\.", "feed_forward.up."]},
        {"rename": [r"fc2\.", "feed_forward.down."]},
    ],
}

BERT_LIKE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
SIZES: dict[str, dict[str, Any]] = {
    "GPT2": {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 20},
    "Bert": {**BERT_LIKE, "max_position_embeddings": 20, "num_labels": 3},
    "Bart": {
        "d_model": 24,
        "max_position_embeddings": 20,
        **{f"{side}_{key}": n for side in ("encoder", "decoder")
           for key, n in (("layers", 2), ("attention_heads", 3), ("ffn_dim", 40))},
    },
    "T5": {"d_model": 24, "d_kv": 6, "d_ff": 40, "num_heads": 3, "num_layers": 2, "feed_forward_proj": "gated-gelu"},
    "Roberta": {**BERT_LIKE, "max_position_embeddings": 20},
    "Llama": {**BERT_LIKE, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
              "rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0,
                                  "original_max_position_embeddings": 8}},
    "GPTNeo": {"hidden_size": 24, "num_layers": 2, "num_heads": 3, "attention_types": [[["global", "local"], 1]],
               "window_size": 3, "max_position_embeddings": 20},
    "OPT": {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "ffn_dim": 40,
            "word_embed_proj_dim": 10, "max_position_embeddings": 20},
}  # fmt: skip


def saved(kind: str, folder: Path, randomise: Randomise) -> Path:
    """What transformers saves of a tiny network of a class such as BertForMaskedLM."""
    name = next(name for name in SIZES if kind.startswith(name) and not kind.startswith(f"{name}Neo"))
    config = getattr(transformers, f"{name}Config")(vocab_size=VOCAB, **SIZES[name])
    network = getattr(transformers, kind)(config)
    randomise(network, 11)
    network.save_pretrained(folder)
    return folder


def numbers(network: Network) -> list[Tensor]:
    """The hidden states and the logits of texts of several lengths."""
    random = torch.Generator().manual_seed(3)
    ids = torch.randint(4, VOCAB, (3, 9), generator=random)
    mask = (torch.arange(9) < torch.tensor([[9], [5], [2]])).long()
    with torch.inference_mode():
        if isinstance(network, EncoderDecoder | DecoderOnly):
            cross = None
            if isinstance(network, EncoderDecoder):
                cross = network.decoder.project_cross(network.encoder(ids, mask))
            past = [
                (empty, empty)
                for layer in network.spec.decoder.layers
                for empty in [torch.zeros(3, layer.attention.cached_heads, 0, layer.attention.head_dim)]
            ]
            positions = torch.arange(9).expand(3, 9)
            seen = None if cross is None else mask
            hidden, _ = network.decoder(ids, positions, torch.ones_like(ids), past, cross, seen)
        else:
            hidden = network.encoder(ids, mask)
        return [hidden, network.head(hidden)]


def assert_the_same(folder: Path, description: Description, task: str | None = None) -> None:
    config = folder / "own.json"
    config.write_text(json.dumps({"model_type": "diptych", **description}), encoding="utf-8")
    family, own = load_checkpoint(folder, task), load_checkpoint(folder, task, config=config)
    assert own.family == "diptych"
    for found, expected in zip(numbers(own.network), numbers(family.network), strict=True):
        assert torch.isfinite(expected).all()
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("kind", "description"),
    [
        ("GPT2LMHeadModel", GPT2),
        ("BertForMaskedLM", BERT_FILL),
        ("BertForSequenceClassification", BERT_CLASSIFY),
        ("BartForConditionalGeneration", BART),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_family_described_by_hand(kind: str, description: Description, tmp_path: Path, randomise: Randomise) -> None:
    assert_the_same(saved(kind, tmp_path, randomise), description)


def rule_as_json(rule: Rule) -> dict[str, Any]:
    return {type(rule).__name__.lower(): {field.name: getattr(rule, field.name) for field in fields(rule)}}


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("T5ForConditionalGeneration", "generate"),
        ("LlamaForCausalLM", "generate"),
        ("GPTNeoForCausalLM", "generate"),
        ("OPTForCausalLM", "generate"),
        ("RobertaForMaskedLM", "fill"),
        ("BertForTokenClassification", "tag"),
    ],
)
def test_a_family_written_out(kind: str, task: str, tmp_path: Path, randomise: Randomise) -> None:
    """All that a family's module says, its rules included, can be said as JSON."""
    folder = saved(kind, tmp_path, randomise)
    loaded = load_checkpoint(folder)
    rules = FAMILIES[loaded.family].rules(Config(loaded.config, folder / "config.json"), task)
    description = {
        "architecture": as_json(loaded.network.spec),
        "linear_layout": "in_out",  # The family's rules transpose.
        "rules": [rule_as_json(rule) for rule in rules],
        "id2label": {str(number): name for number, name in enumerate(loaded.labels or ())},
    }
    assert_the_same(folder, description, task)
