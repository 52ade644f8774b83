"""Read a `config.json` without trusting it: every key is used, known to be inert, or named in an error."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, overload

from diptych.model.errors import CheckpointError, did_you_mean

T = TypeVar("T")
_MISSING: Any = object()

# Of training, of bookkeeping, of other libraries, or said again in generation_config.json.
_INERT = frozenset(
    """_attn_implementation _attn_implementation_autoset _flash_attn_2_enabled _name_or_path _num_labels
    activation_dropout adapters add_cross_attention architectures attention_dropout attention_probs_dropout_prob
    attn_pdrop author auto_map batch_first chunk_size_feed_forward classif_dropout classifier_dropout cls_token_id
    cross_attention_hidden_size decoder_layerdrop directionality dropout dropout_rate dtype embd_pdrop embed_dropout
    encoder_layerdrop extra_pos_embeddings finetuning_task force_bos_token_to_be_generated gradient_checkpointing
    hidden_dropout_prob id2label init_std initializer_factor initializer_range is_decoder is_encoder_decoder
    label2id layerdrop license mask_token_id num_hidden_layers num_labels output_attentions output_hidden_states
    output_past pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head pooler_type
    prefix pretraining_tp problem_type pruned_heads qa_dropout replacing_rate resid_dropout resid_pdrop return_dict
    save_step sbert_ce_default_activation_function sentence_transformers sep_token_id seq_classif_dropout
    student_decoder_layers student_encoder_layers task_specific_params tf_legacy_loss tie_encoder_decoder
    tokenizer_class torch_dtype torchscript transformers_version unsloth_fixed unsloth_version use_bfloat16
    use_cache xla_device
    pad_token_id bos_token_id eos_token_id decoder_start_token_id forced_bos_token_id forced_eos_token_id
    suppress_tokens begin_suppress_tokens bad_words_ids max_length min_length max_new_tokens min_new_tokens
    num_beams num_beam_groups num_return_sequences length_penalty early_stopping no_repeat_ngram_size
    encoder_no_repeat_ngram_size repetition_penalty do_sample temperature top_k top_p typical_p diversity_penalty
    exponential_decay_length_penalty remove_invalid_values output_scores return_dict_in_generate""".split()
)

# Named, since passing them over can never be right.
_UNSUPPORTED = {
    "quantization_config": ("quantised weights are", "are float32, float16 and bfloat16; export the original model"),
    **dict.fromkeys(
        ("num_experts", "num_local_experts", "n_routed_experts", "moe_intermediate_size"),
        ("a mixture of experts is", "is one feed-forward network for each layer"),
    ),
    **dict.fromkeys(
        ("sliding_window", "use_sliding_window"), ("a sliding window is", "is attention to the whole text")
    ),
}


class Config:
    """The keys of one `config.json`; those that were asked for are remembered.

    Raises CheckpointError, naming the file and the key, for whatever is missing or of another type.
    """

    def __init__(self, values: Mapping[str, Any], path: Path, within: str = "") -> None:
        """within: of an object inside the file, its name and a colon, for messages."""
        self.values = dict(values)
        self.path = path
        self._within = within
        self._used = {"model_type"}
        self._sections: list[Config] = []

    @overload
    def get(self, key: str, kind: type[T]) -> T: ...
    @overload
    def get(self, key: str, kind: type[T], default: T) -> T: ...
    def get(self, key: str, kind: type[T], default: T = _MISSING) -> T:
        """The value of `key`, which must be a `kind`; a missing key or a null gives `default`, if there is one."""
        self._used.add(key)
        value = self.values.get(key)
        if value is None:
            if default is not _MISSING:
                return default
            self.fail(f"the key {key!r} is missing; expected a value of type {kind.__name__}")
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            self.fail(f"{key!r} is {value!r}; expected a value of type {kind.__name__}")
        return value

    def size(self, key: str, default: int = _MISSING) -> int:
        """A whole number of at least 1."""
        value = self.get(key, int, default)
        if value < 1:
            self.fail(f"{key!r} is {value}; expected at least 1")
        return value

    def divided(self, key: str, parts_key: str, default: int = _MISSING) -> tuple[int, int]:
        """A size, and into how many equal parts it is divided."""
        whole, parts = self.size(key), self.size(parts_key, default)
        if whole % parts:
            self.fail(f"{key} {whole} is not a multiple of {parts_key} {parts}")
        return whole, parts

    def choose(self, key: str, choices: Mapping[str, T], default: str = _MISSING) -> T:
        """The choice that the value of `key` names."""
        name = self.get(key, str, default)
        if name not in choices:
            self.fail(f"{key!r} is {name!r}; supported are {', '.join(sorted(choices))}")
        return choices[name]

    def pass_over(self, key: str) -> None:
        """Accept a key that says again what others say, or nothing that matters here."""
        self._used.add(key)

    def section(self, key: str) -> "Config":
        """The object under `key`, to be read like the whole and finished with it; empty if it is missing."""
        section = Config(self.get(key, dict, {}), self.path, f"{key}: ")
        self._sections.append(section)
        return section

    def labels(self) -> tuple[str, ...]:
        """The names of the classes, in order: `id2label`, else as transformers calls unnamed ones."""
        named = self.get("id2label", dict, {})
        count = len(named) or self.get("num_labels", int, self.get("_num_labels", int, 2))
        names = [named.get(str(place), f"LABEL_{place}") for place in range(count)]
        if not all(isinstance(name, str) for name in names) or (named and {*named} != {*map(str, range(count))}):
            self.fail(f"id2label is {named!r:.80}; expected a name for each number from 0")
        if len(set(names)) < len(names):
            self.fail(f"id2label is {named!r:.80}; expected another name for each class")
        return tuple(names)

    def refuse(self, key: str, supported: object, because: str) -> None:
        """Stop if `key` is there with anything but the one supported value."""
        self._used.add(key)
        value = self.values.get(key, supported)
        if value is not None and value != supported:
            self.fail(f"{key!r} is {value!r}, {because}; supported is {supported!r}")

    def finish(self, ignored: Collection[str] = ()) -> None:
        """Stop if any key is neither used nor inert: what it asks for would be silently left out."""
        for key, (what, supported) in _UNSUPPORTED.items():
            if self.values.get(key) and key not in self._used and key not in ignored:
                self.fail(f"{key!r} is {self.values[key]!r:.80}: {what} not supported; supported {supported}")
        asked = {key for key, value in self.values.items() if value is not None}
        unknown = sorted(asked - self._used - _INERT - _UNSUPPORTED.keys() - set(ignored))
        if unknown:
            listing = ", ".join(f"{key}{did_you_mean(key, self._used)}" for key in unknown)
            self.fail(
                f"unknown keys: {listing}. If they do not change what the network computes, "
                f"pass --ignore-config-key {' --ignore-config-key '.join(unknown)}"
            )
        for section in self._sections:
            section.finish(ignored)

    def fail(self, problem: str) -> NoReturn:
        raise CheckpointError(f"{self.path}: {self._within}{problem}")


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of the checkpoint."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error}); the file may be truncated") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: expected a JSON object, found {type(value).__name__}")
    return value
