"""What is not supported is named, together with what is; nothing is guessed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from families.cases import CASES
from families.layouts import edit_config, edit_tensors
from families.twins import make_reference

from diptych.model import CheckpointError, load_checkpoint
from diptych.model.families import FAMILIES

MODELS = {case.model: case for case in reversed(CASES)}
ROPE = {"rope_type": "longrope", "short_factor": [1.0] * 5, "long_factor": [2.0] * 5}


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str], Path]:
    def save(model: str) -> Path:
        make_reference(MODELS[model]).save_pretrained(tmp_path)
        return tmp_path

    return save


def message(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert str(folder) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "changes", "named", "supported"),
    [
        ("BertForMaskedLM", {"quantization_config": {"bits": 4}}, "quantization_config", "float16"),
        ("LlamaForCausalLM", {"quantization_config": {"quant_method": "gptq"}}, "gptq", "float16"),
        ("LlamaForCausalLM", {"num_local_experts": 8}, "mixture of experts", "one feed-forward network"),
        ("GPT2LMHeadModel", {"num_experts": 4}, "mixture of experts", "one feed-forward network"),
        ("LlamaForCausalLM", {"sliding_window": 512}, "sliding_window", "the whole text"),
        ("LlamaForCausalLM", {"partial_rotary_factor": 0.5}, "partial_rotary_factor", "1.0"),
        ("LlamaForCausalLM", {"rope_parameters": ROPE}, "longrope", "default, dynamic, linear, llama3, yarn"),
        ("LlamaForCausalLM", {"rope_interleaved": True}, "rope_interleaved", "False"),
        ("LlamaForCausalLM", {"model_type": "mixtral"}, "mixtral", ", ".join(sorted(FAMILIES))),
        ("BertForMaskedLM", {"model_type": None}, "model_type", ", ".join(sorted(FAMILIES))),
        ("BertForMaskedLM", {"hidden_act": "gelu_10"}, "gelu_10", "gelu, gelu_fast"),
        ("LlamaForCausalLM", {"hidden_act": "relu2"}, "relu2", "gelu, gelu_fast"),
        ("GPT2LMHeadModel", {"activation_function": "mish"}, "mish", "gelu, gelu_fast"),
        ("OpenAIGPTLMHeadModel", {"afn": "mish"}, "mish", "gelu, relu"),
        ("T5ForConditionalGeneration", {"feed_forward_proj": "gated-tanh"}, "gated-tanh", "gated-gelu"),
        ("BertForMaskedLM", {"position_embedding_type": "relative_key"}, "relative_key", "absolute"),
        ("RobertaForMaskedLM", {"position_embedding_type": "relative_key_query"}, "relative_key_query", "absolute"),
        ("BertForMaskedLM", {"is_decoder": True}, "is_decoder", "False"),
        ("GPT2LMHeadModel", {"add_cross_attention": True}, "add_cross_attention", "False"),
        ("OPTForCausalLM", {"layer_norm_elementwise_affine": False}, "layer_norm_elementwise_affine", "True"),
        ("GPTNeoForCausalLM", {"attention_types": [[["sparse"], 2]]}, "sparse", "'global' and 'local'"),
        ("BertForMaskedLM", {"architectures": ["BertForMultipleChoice"]}, "BertForMultipleChoice", "--task fill"),
        ("BartForConditionalGeneration", {"architectures": ["BartForVision"]}, "BartForVision", "--task generate"),
        ("BartForConditionalGeneration", {"normalize_before": True}, "normalize_before", "False"),
        ("LlamaForCausalLM", {"attention_sinks": 4}, "attention_sinks", "--ignore-config-key attention_sinks"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_configuration_that_asks_for_more(
    model: str, changes: dict[str, Any], named: str, supported: str, saved: Callable[[str], Path]
) -> None:
    folder = saved(model)
    edit_config(folder, **changes)
    told = message(folder)
    assert named in told
    assert supported in told


def test_a_head_for_multiple_choice(saved: Callable[[str], Path]) -> None:
    """Its classifier alone would pass for one of texts."""
    folder = saved("BertForSequenceClassification")
    edit_config(folder, "id2label", "label2id", architectures=["BertForMultipleChoice"])
    told = message(folder)
    assert "BertForMultipleChoice" in told
    assert "--task classify, tag, embed" in told


def test_an_adapter(saved: Callable[[str], Path]) -> None:
    folder = saved("LlamaForCausalLM")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}), encoding="utf-8")
    told = message(folder)
    assert "adapter_config.json" in told
    assert "merge_and_unload" in told


def test_weights_of_whole_numbers(saved: Callable[[str], Path]) -> None:
    folder = saved("GPT2LMHeadModel")
    edit_tensors(folder, lambda tensors: tensors | {"transformer.ln_f.weight": torch.ones(24, dtype=torch.int8)})
    assert "quantised weights are not supported" in message(folder)


@pytest.mark.parametrize(
    "values", [{"relative_attention_num_buckets": 1}, {"relative_attention_max_distance": 4}, {"num_decoder_layers": 0}]
)
def test_sizes_that_cannot_be(values: dict[str, int], saved: Callable[[str], Path]) -> None:
    folder = saved("T5ForConditionalGeneration")
    edit_config(folder, **values)
    assert next(iter(values)) in message(folder)
