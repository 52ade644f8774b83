"""What else stands in the `config.json` of well-known checkpoints, besides the sizes; each family's from its own."""

from typing import Any

Values = dict[str, Any]

DROPOUTS: Values = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
# bert-base-multilingual-cased
BERT: Values = {
    **DROPOUTS,
    "directionality": "bidi",
    "gradient_checkpointing": False,
    "hidden_act": "gelu",
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "pooler_fc_size": 768,
    "pooler_num_attention_heads": 12,
    "pooler_num_fc_layers": 3,
    "pooler_size_per_head": 128,
    "pooler_type": "first_token_transform",
    "position_embedding_type": "absolute",
    "use_cache": True,
    "classifier_dropout": None,
}
# xlm-roberta-base
ROBERTA: Values = {
    **DROPOUTS,
    "bos_token_id": 0,
    "hidden_act": "gelu",
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-5,
    "output_past": True,
    "position_embedding_type": "absolute",
    "type_vocab_size": 1,
    "use_cache": True,
}
# distilbert-base-uncased
DISTILBERT: Values = {
    "activation": "gelu",
    "attention_dropout": 0.1,
    "dropout": 0.1,
    "initializer_range": 0.02,
    "qa_dropout": 0.1,
    "seq_classif_dropout": 0.2,
    "sinusoidal_pos_embds": False,
    "tie_weights_": True,
}
SUMMARY: Values = {
    "summary_activation": None,
    "summary_first_dropout": 0.1,
    "summary_proj_to_labels": True,
    "summary_type": "cls_index",
    "summary_use_proj": True,
}
SAMPLING: Values = {"task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}}}
GPT: Values = {
    **SUMMARY,
    **SAMPLING,
    "attn_pdrop": 0.1,
    "embd_pdrop": 0.1,
    "initializer_range": 0.02,
    "layer_norm_epsilon": 1e-5,
    "n_ctx": 40,
    "resid_pdrop": 0.1,
}
# What the BART of 2020 and its relatives say.
SEQ2SEQ: Values = {
    "_num_labels": 3,
    "activation_dropout": 0.0,
    "add_bias_logits": False,
    "attention_dropout": 0.0,
    "classif_dropout": 0.0,
    "classifier_dropout": 0.0,
    "decoder_layerdrop": 0.0,
    "dropout": 0.1,
    "encoder_layerdrop": 0.0,
    "gradient_checkpointing": False,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"},
    "init_std": 0.02,
    "is_encoder_decoder": True,
    "label2id": {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2},
    "max_length": 39,
    "num_beams": 4,
    "num_hidden_layers": 6,
    "use_cache": True,
}
T5: Values = {
    "dropout_rate": 0.1,
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-6,
    "n_positions": 512,
    "output_past": True,
    "use_cache": True,
}
HUB_CONFIGS: dict[str, Values] = {
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "distilbert": DISTILBERT,
    "openai-gpt": {**GPT, "afn": "gelu", "n_special": 0, "predict_special_tokens": True},
    "gpt2": {**GPT, "activation_function": "gelu_new"},
    # EleutherAI/gpt-neo-125m
    "gpt_neo": {
        **SUMMARY,
        "activation_function": "gelu_new",
        "attention_dropout": 0,
        "attention_layers": ["global", "local"],
        "embed_dropout": 0,
        "gradient_checkpointing": False,
        "initializer_range": 0.02,
        "intermediate_size": None,
        "layer_norm_epsilon": 1e-5,
        "resid_dropout": 0,
        "use_cache": True,
    },
    # facebook/opt-125m
    "opt": {
        "_remove_final_layer_norm": False,
        "activation_dropout": 0.0,
        "activation_function": "relu",
        "attention_dropout": 0.0,
        "do_layer_norm_before": True,
        "dropout": 0.1,
        "init_std": 0.02,
        "layerdrop": 0.0,
        "prefix": "</s>",
        "use_cache": True,
    },
    # HuggingFaceTB/SmolLM2-135M
    "llama": {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "initializer_range": 0.04,
        "is_llama_config": True,
        "mlp_bias": False,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-6,
        "rope_interleaved": False,
        "transformers.js_config": {"kv_cache_dtype": {"q4f16": "float16", "fp16": "float16"}},
        "use_cache": True,
    },
    # facebook/bart-large-cnn
    "bart": {
        **SEQ2SEQ,
        "activation_function": "gelu",
        "add_final_layer_norm": False,
        "early_stopping": True,
        "force_bos_token_to_be_generated": True,
        "length_penalty": 2.0,
        "min_length": 5,
        "no_repeat_ngram_size": 3,
        "normalize_before": False,
        "normalize_embedding": True,
        "output_past": True,
        "prefix": " ",
        "scale_embedding": False,
        "static_position_embeddings": False,
        "task_specific_params": {"summarization": {"length_penalty": 1.0, "max_length": 20, "num_beams": 4}},
    },
    # facebook/mbart-large-cc25
    "mbart": {
        **SEQ2SEQ,
        "add_final_layer_norm": True,
        "normalize_before": True,
        "normalize_embedding": True,
        "output_past": True,
        "static_position_embeddings": False,
        "task_specific_params": {"translation_en_to_ro": {"decoder_start_token_id": 3}},
    },
    # Helsinki-NLP/opus-mt-en-de
    "marian": {
        **SEQ2SEQ,
        "add_final_layer_norm": False,
        "bad_words_ids": [[1]],
        "bos_token_id": 0,
        "normalize_before": False,
        "normalize_embedding": False,
        "static_position_embeddings": True,
    },
    # google/pegasus-xsum
    "pegasus": {
        **SEQ2SEQ,
        "add_final_layer_norm": True,
        "extra_pos_embeddings": 1,
        "force_bos_token_to_be_generated": False,
        "length_penalty": 0.6,
        "normalize_before": True,
        "normalize_embedding": False,
        "static_position_embeddings": True,
        "task_specific_params": {"summarization_xsum": {"length_penalty": 0.6, "max_length": 20, "num_beams": 8}},
    },
    # facebook/nllb-200-distilled-600M
    "m2m_100": {**SEQ2SEQ, "early_stopping": True, "max_length": 39, "tokenizer_class": "NllbTokenizer"},
    # t5-small
    "t5": {
        **T5,
        "task_specific_params": {
            "summarization": {"early_stopping": True, "max_length": 30, "num_beams": 4, "prefix": "summarize: "},
            "translation_en_to_fr": {"early_stopping": True, "max_length": 30, "prefix": "translate: "},
        },
    },
    # google/mt5-small
    "mt5": {**T5, "dense_act_fn": "gelu_new", "is_gated_act": True, "tokenizer_class": "T5Tokenizer"},
}
