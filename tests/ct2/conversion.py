"""The example's checkpoint as a CTranslate2 model, in float32: the same network behind another decoder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import TransformerSpec
from ctranslate2.specs.common_spec import LayerNormSpec, LinearSpec
from ctranslate2.specs.transformer_spec import TransformerDecoderLayerSpec, TransformerEncoderLayerSpec
from safetensors.numpy import load_file

Weights = Mapping[str, np.ndarray]


def convert(checkpoint: Path, folder: Path, unknown: str = "<unk>", quantization: str = "float32") -> list[str]:
    """Write the model into a new `folder`, in float32 or quantised, and return its vocabulary, by id.

    unknown: the token that stands for unknown words. An alignment is the mean over the heads of the last decoder layer.
    """
    folder.mkdir()  # A folder that is there is not written into.
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    weights = {name: tensor.astype(np.float32) for name, tensor in load_file(checkpoint / "model.safetensors").items()}
    tokens = vocabulary(checkpoint)
    spec = TransformerSpec.from_config(
        (config["num_encoder_layers"], config["num_decoder_layers"]),
        config["nhead"],
        pre_norm=config["norm_first"],
        alignment_layer=-1,
        alignment_heads=0,  # All of them.
    )
    positions = _sinusoids(config["max_position_embeddings"], config["d_model"])
    for stack, embeddings in ((spec.encoder, spec.encoder.embeddings[0]), (spec.decoder, spec.decoder.embeddings)):
        embeddings.weight = weights["embedding.weight"]
        stack.position_encodings.encodings = positions
    spec.decoder.projection.weight = weights["embedding.weight"]
    _set_norm(spec.encoder.layer_norm, weights, "transformer.encoder.norm")
    _set_norm(spec.decoder.layer_norm, weights, "transformer.decoder.norm")
    for index, layer in enumerate(spec.encoder.layer):
        _set_encoder_layer(layer, weights, f"transformer.encoder.layers.{index}")
    for index, layer in enumerate(spec.decoder.layer):
        _set_decoder_layer(layer, weights, f"transformer.decoder.layers.{index}")
    spec.register_source_vocabulary(tokens)
    spec.register_target_vocabulary(tokens)
    spec.config.unk_token = unknown
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(folder))
    return tokens


def vocabulary(checkpoint: Path) -> list[str]:
    """The tokenizer's tokens, by id."""
    ids: dict[str, int] = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    return sorted(ids, key=ids.__getitem__)


def _set_encoder_layer(layer: TransformerEncoderLayerSpec, weights: Weights, scope: str) -> None:
    _set_self_attention(layer.self_attention, weights, f"{scope}.self_attn", f"{scope}.norm1")
    _set_feed_forward(layer.ffn, weights, scope, f"{scope}.norm2")


def _set_decoder_layer(layer: TransformerDecoderLayerSpec, weights: Weights, scope: str) -> None:
    _set_self_attention(layer.self_attention, weights, f"{scope}.self_attn", f"{scope}.norm1")
    _set_norm(layer.attention.layer_norm, weights, f"{scope}.norm2")
    packed, bias = (weights[f"{scope}.multihead_attn.in_proj_{kind}"] for kind in ("weight", "bias"))
    width = packed.shape[1]
    query, keys_values, output = layer.attention.linear
    query.weight, query.bias = packed[:width], bias[:width]
    keys_values.weight, keys_values.bias = packed[width:], bias[width:]
    _set_linear(output, weights, f"{scope}.multihead_attn.out_proj")
    _set_feed_forward(layer.ffn, weights, scope, f"{scope}.norm3")


def _set_self_attention(attention: Any, weights: Weights, scope: str, norm: str) -> None:
    _set_norm(attention.layer_norm, weights, norm)
    packed, output = attention.linear
    packed.weight, packed.bias = weights[f"{scope}.in_proj_weight"], weights[f"{scope}.in_proj_bias"]
    _set_linear(output, weights, f"{scope}.out_proj")


def _set_feed_forward(feed_forward: Any, weights: Weights, scope: str, norm: str) -> None:
    _set_norm(feed_forward.layer_norm, weights, norm)
    _set_linear(feed_forward.linear_0, weights, f"{scope}.linear1")
    _set_linear(feed_forward.linear_1, weights, f"{scope}.linear2")


def _set_norm(norm: LayerNormSpec, weights: Weights, scope: str) -> None:
    norm.gamma, norm.beta = weights[f"{scope}.weight"], weights[f"{scope}.bias"]


def _set_linear(linear: LinearSpec, weights: Weights, scope: str) -> None:
    linear.weight, linear.bias = weights[f"{scope}.weight"], weights[f"{scope}.bias"]


def _sinusoids(count: int, width: int) -> np.ndarray:
    """[count, width]: sine and cosine by turns. CTranslate2's own put all sines before all cosines."""
    angles = np.arange(count)[:, None] / 10000 ** (np.arange(0, width, 2) / width)
    return np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(count, width).astype(np.float32)
