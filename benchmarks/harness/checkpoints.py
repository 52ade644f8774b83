"""Models of a stated geometry with random weights, as checkpoints that every system reads.

Weights as training starts with them (normal, 0.02) make a decoder that repeats one token: the last token's embedding
passes through all layers and is tied to the head. Here matrices keep the size of what they multiply (standard deviation
1/√inputs); queries and keys are twice as large so that attention chooses, attention's outputs half and feed-forward
outputs four times as large so that states are more what layers made of a token than the token; and logits have a
standard deviation of 2. So outputs depend on the source and on every token before, and beams overtake each other: of a
best hypothesis' tokens, more than half come from another slot than the one before. The rows of EOS and padding are
zero: their logit is 0, never among the best of thousands, so nothing ends early and no system needs a filter for that.
"""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.folders import MODELS

EOS, UNKNOWN = 0, 1
_LOGITS = 2.0
# By parts of names, the first that fits: how much larger than that a matrix is.
_GAINS = {"q_proj": 2.0, "k_proj": 2.0, "query": 2.0, "key": 2.0, "out_proj": 0.5, "o_proj": 0.5, "fc2": 4.0}


# What CTranslate2's converter asks of a BERT, and transformers no longer writes.
_POSITIONS = {"position_embedding_type": "absolute"}


@dataclass(frozen=True)
class Geometry:
    """kind: a class of transformers and its configuration's, by what they begin with. settings: the configuration."""

    kind: str
    head: str
    settings: Mapping[str, Any]

    @property
    def vocabulary(self) -> int:
        return self.settings["vocab_size"]


def _marian(layers: int, width: int, heads: int, feed_forward: int, vocabulary: int) -> Geometry:
    sides = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in {"layers": layers, "attention_heads": heads, "ffn_dim": feed_forward}.items()
    }
    pad = vocabulary - 1
    tokens = {"pad_token_id": pad, "decoder_start_token_id": pad, "eos_token_id": EOS, "forced_eos_token_id": None}
    return Geometry(
        "Marian",
        "MTModel",
        {"d_model": width, "vocab_size": vocabulary, "max_position_embeddings": 512, "scale_embedding": True}
        | {"activation_function": "swish", "share_encoder_decoder_embeddings": True}
        | sides
        | tokens,
    )


GEOMETRIES = {
    "base": _marian(layers=6, width=512, heads=8, feed_forward=2048, vocabulary=58_101),
    "small": _marian(layers=3, width=256, heads=8, feed_forward=1024, vocabulary=8_000),
    "llama": Geometry(
        "Llama",
        "ForCausalLM",
        {"hidden_size": 1024, "num_hidden_layers": 22, "num_attention_heads": 16, "num_key_value_heads": 4}
        | {"intermediate_size": 2816, "vocab_size": 32_000, "max_position_embeddings": 2048, "head_dim": 64}
        | {"tie_word_embeddings": False, "eos_token_id": EOS, "bos_token_id": UNKNOWN, "pad_token_id": EOS},
    ),
    "bert": Geometry("Bert", "Model", {"vocab_size": 30_522} | _POSITIONS),
    "tiny": _marian(layers=2, width=32, heads=4, feed_forward=64, vocabulary=100),
    "tiny-llama": Geometry(
        "Llama",
        "ForCausalLM",
        {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
        | {"intermediate_size": 256, "vocab_size": 300, "max_position_embeddings": 512, "head_dim": 32}
        | {"tie_word_embeddings": False, "eos_token_id": EOS, "bos_token_id": UNKNOWN, "pad_token_id": EOS},
    ),
    "tiny-bert": Geometry(
        "Bert",
        "Model",
        {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        | {"intermediate_size": 64}
        | _POSITIONS,
    ),
}


def random_checkpoint(size: str) -> Path:
    """The folder of a geometry's checkpoint, made if it is not there: the same weights on every machine."""
    folder = MODELS / size / "checkpoint"
    if folder.is_dir():
        return folder
    unfinished = folder.with_name("checkpoint.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    _make(GEOMETRIES[size], unfinished)
    unfinished.rename(folder)
    return folder


def _make(geometry: Geometry, folder: Path) -> None:
    # Here, since workers in other environments import this package, and most have neither.
    import torch  # noqa: PLC0415
    import transformers  # noqa: PLC0415

    torch.manual_seed(1)
    config = getattr(transformers, f"{geometry.kind}Config")(**geometry.settings)
    model = getattr(transformers, geometry.kind + geometry.head)(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _fill(name, parameter, parameter.normal_, tied=geometry.settings.get("tie_word_embeddings", True))
    model.save_pretrained(folder)
    tokenizer(folder, geometry.vocabulary)


def _fill(name: str, weight: Any, normal: Callable[..., Any], tied: bool) -> None:
    if "norm" in name.lower():
        weight.fill_(0.0 if name.endswith("bias") else 1.0)
    elif weight.ndim == 1:
        normal(std=0.02)
    elif "lm_head" in name or (tied and ("shared" in name or "embed_tokens" in name)):
        normal(std=_LOGITS / math.sqrt(weight.shape[1]))
        weight[[EOS, -1]] = 0.0
    elif "embed_positions" not in name:
        normal(std=1.0 if "embed" in name else 1 / math.sqrt(weight.shape[1]))
        weight *= next((gain for part, gain in _GAINS.items() if part in name), 1.0)


def tokenizer(folder: Path, vocabulary: int) -> None:
    """A tokenizer of words t0, t1, …, since converters ask for one; benchmarks go from ids to ids."""
    special = {EOS: "</s>", UNKNOWN: "<unk>", vocabulary - 1: "<pad>"}
    words = {special.get(index, f"t{index}"): index for index in range(vocabulary)}
    added = [
        {"id": index, "content": word, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for index, word in special.items()
    ]
    content = {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
    }
    names = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<unk>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
