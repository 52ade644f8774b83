"""Architectures as a person writes them, and as records that together hold every field and parameter there is."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from diptych.model import architecture as arch

LAYER: dict[str, Any] = {
    "attention": {"heads": 2, "head_dim": 4},
    "feed_forward": {"width": 12, "activation": "relu"},
    "norm": "LayerNorm",
    "norm_place": "input",
}
ENCODER: dict[str, Any] = {
    "width": 8,
    "embedding": {"vocab_size": 11, "positions": {"type": "Learned", "count": 16}},
    "layers": {"count": 2, "of": LAYER},
    "final_norm": "LayerNorm",
}
DECODER: dict[str, Any] = {**ENCODER, "layers": {"count": 2, "of": {**LAYER, "cross_attention": LAYER["attention"]}}}
PANELS: dict[str, Any] = {
    "type": "EncoderDecoder",
    "encoder": ENCODER,
    "decoder": DECODER,
    "head": {"tied": True},
    "shared_embedding": True,
}
TAGGER: dict[str, Any] = {"type": "EncoderOnly", "encoder": ENCODER, "head": {"type": "TokenHead", "classes": 2}}
WRITER: dict[str, Any] = {"type": "DecoderOnly", "decoder": ENCODER, "head": {"tied": True}}

NORM, RMS = arch.LayerNorm(1e-6, bias=True), arch.RMSNorm(1e-5)
GROUPED = arch.Attention(4, 6, kv_heads=2, scale=0.5, output_bias=False)
PLAIN = arch.Layer(GROUPED, arch.FeedForward(20, "gelu_tanh", gated=True), NORM, "input")
LOOKING_BACK = arch.Layer(
    arch.Attention(4, 6, window=5), arch.FeedForward(16, "silu"), NORM, "output", cross_attention=GROUPED
)
HEAD = arch.Head(tied=False, bias=True, scale=0.25, transform=arch.Transform("gelu", NORM))


def encoder(width: int = 24, **changes: Any) -> arch.Stack:
    embedding = arch.Embedding(19, arch.Learned(12, offset=2), norm=NORM, token_types=2, unplaced=1, width=10)
    return arch.Stack(width, (PLAIN, PLAIN), **{"embedding": embedding, "final_norm": NORM, **changes})


def decoder(layer: arch.Layer = PLAIN, **changes: Any) -> arch.Stack:
    return arch.Stack(24, (layer,), **{"embedding": arch.Embedding(19, None), "context": 30, **changes})


EVERY: tuple[arch.Architecture, ...] = (
    arch.EncoderDecoder(
        encoder(embedding=arch.Embedding(19, arch.Sinusoidal(30, "halves")), relative=arch.Bucketed(8, 20)),
        decoder(LOOKING_BACK, relative=arch.Bucketed(4, 9), final_norm=RMS),
        arch.Head(tied=True),
        shared_embedding=True,
    ),
    arch.EncoderOnly(encoder(), HEAD),
    arch.EncoderOnly(encoder(), arch.TokenHead(3)),
    arch.EncoderOnly(encoder(), arch.TextHead(5, "tanh")),
    arch.EncoderOnly(encoder(), None),
    *(
        arch.DecoderOnly(decoder(relative=arch.Rotary(500.0, scaling)), HEAD)
        for scaling in (
            None,
            arch.Interpolated(2.0),
            arch.Dynamic(2.0, 16),
            arch.Yarn(4.0, 16, 1.1, truncate=False),
            arch.Llama3(8.0, 16, 1.0, 4.0),
        )
    ),
)


def as_json(value: Any) -> Any:
    """All of a record, with its `type`."""
    if is_dataclass(value):
        fields_of = {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
        return {"type": type(value).__name__, **fields_of}
    return [as_json(item) for item in value] if isinstance(value, tuple) else value


def changed(spec: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with something else at a path; `...` removes what is there."""
    result: dict[str, Any] = json.loads(json.dumps(spec))  # A copy in which nothing is shared.
    *parents, last = path.split(".")
    place = result
    for name in parents:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return result


def own_checkpoint(folder: Path, spec: Any, tensors: dict[str, Tensor] | None = None, **keys: Any) -> Path:
    """A folder with an architecture, as JSON, and tensors, or one that fits nothing."""
    config = {"model_type": "diptych", "architecture": spec, **keys}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    tensors = tensors or {"nothing": torch.zeros(1)}
    own = {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    save_file(own, folder / "model.safetensors")
    return folder
