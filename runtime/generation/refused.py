"""Options of `transformers` generation that are refused, and why; every other one is in `GenerationOptions`."""

_CACHE = "how the cache lies in memory is the bundle's affair"
_DRAFT = "there are no draft models here; prompt_lookup_num_tokens speculates without one"
_GONE = "transformers 5, whose semantics these options have, dropped it"
_RESULTS = "results are records with ids, scores and, if asked for, attention"

REFUSED = {
    "max_time": "results would depend on the machine's speed; a call's on_step can stop texts instead",
    "num_beam_groups": _GONE,
    "diversity_penalty": _GONE,
    "penalty_alpha": _GONE,
    "dola_layers": _GONE,
    "constraints": f"{_GONE}; see json_schema, regex and grammar",
    "force_words_ids": f"{_GONE}; see json_schema, regex and grammar",
    "guidance_scale": "classifier-free guidance runs the model twice a step, which bundles are not made for",
    "token_healing": "prompts are continued as they are",
    "watermarking_config": "texts are not watermarked",
    "is_assistant": _DRAFT,
    "use_mtp": _DRAFT,
    "speculation_type": _DRAFT,
    "num_assistant_tokens": _DRAFT,
    "num_assistant_tokens_schedule": _DRAFT,
    "assistant_confidence_threshold": _DRAFT,
    "assistant_early_exit": _DRAFT,
    "assistant_lookbehind": _DRAFT,
    "assistant_ensemble_weight": _DRAFT,
    "target_lookbehind": _DRAFT,
    "use_cache": _CACHE,
    "cache_implementation": _CACHE,
    "cache_config": _CACHE,
    "max_cache_len": _CACHE,
    "low_memory": _CACHE,
    "prefill_chunk_size": _CACHE,
    "compile_config": "graphs are compiled by ONNX Runtime",
    "disable_compile": "graphs are compiled by ONNX Runtime",
    "continuous_batching_config": "texts join and leave batches by themselves; see batch_size and batch_tokens",
    "output_hidden_states": "decoder graphs do not give their states",
    "output_logits": _RESULTS,
    "return_dict_in_generate": _RESULTS,
    "pad_token_id": "results are not padded",
    "bos_token_id": "a language model continues the prompt it is given; an empty one is an error",
    "transformers_version": "it is no option of decoding",
    "_from_model_config": "it is no option of decoding",
}
