"""A mistake in an architecture is one message that says where it is, what was found and what was expected."""

import json
from pathlib import Path
from typing import Any

import pytest
from own_models import ENCODER, LAYER, PANELS, TAGGER, WRITER, changed, own_checkpoint

from diptych.model import CheckpointError, load_checkpoint

Mistake = tuple[str, Any, str]

PANELS_MISTAKES: list[Mistake] = [
    ("type", ..., 'architecture: "type" is missing; expected one of EncoderDecoder, EncoderOnly'),
    ("type", "encoderdecoder", "(did you mean 'EncoderDecoder'?)"),
    ("type", ["EncoderDecoder"], 'architecture: "type" is ["EncoderDecoder"]; expected'),
    ("encoder", ..., "architecture: a field of EncoderDecoder is missing; expected 'encoder' (Stack)"),
    ("encoder", 3, "architecture.encoder: found 3, expected an object: Stack"),
    ("encoder", "Stack", 'architecture.encoder: found "Stack", expected an object: Stack'),
    ("encoder.type", "Stock", 'encoder: "type" is "Stock" (did you mean \'Stack\'?); expected one of'),
    ("decoder", None, "architecture.decoder: found null, expected an object: Stack"),
    ("encoder.witdh", 8, "encoder: Stack has no field 'witdh' (did you mean 'width'?); it has width, "),
    ("encoder.width", "8", 'architecture.encoder.width: found "8", expected a whole number'),
    ("encoder.width", 8.0, "architecture.encoder.width: found 8.0, expected a whole number"),
    ("encoder.width", True, "architecture.encoder.width: found true, expected a whole number"),
    ("encoder.width", 0, "architecture.encoder.width: found 0, expected more than 0"),
    ("encoder.width", -8, "architecture.encoder.width: found -8, expected more than 0"),
    ("decoder.width", 6, "decoder.width: 6, but it looks back at an encoder of width 8"),
    ("shared_embedding", 1, "architecture.shared_embedding: found 1, expected true or false"),
    ("decoder.embedding.vocab_size", 12, "[11, 8] of the encoder and [12, 8] of the decoder"),
    ("decoder.embedding.token_types", 2, "decoder.embedding.token_types: more than 1, but a decoder"),
    ("encoder.embedding.token_types", 2, "encoder.embedding.token_types: more than 1, but a source"),
    ("encoder.embedding.scale", float("nan"), "embedding.scale: found NaN, expected a number"),
    ("encoder.embedding.scale", 10**400, "embedding.scale: found 1000"),
    ("encoder.embedding.scale", 0, "embedding.scale: found 0.0, expected more than 0"),
    ("encoder.embedding.unplaced", 11, "embedding.unplaced: 11, not a token; vocab_size is 11"),
    ("encoder.embedding.positions", ..., "a field of Embedding is missing; expected 'positions' (Sin"),
    ("encoder.embedding.positions", {"count": 4}, 'positions: "type" is missing; expected one of Sinu'),
    ("encoder.embedding.positions", "Learned", "a field of Learned is missing; expected 'count' (a"),
    ("encoder.embedding.positions.type", "Learnt", "(did you mean 'Learned'?); expected one of Sinusoi"),
    ("encoder.embedding.positions.offset", -1, "positions.offset: found -1, expected 0 or more"),
    ("encoder.context", 9, "encoder.context: the positions of the embedding say how long"),
    ("encoder.layers", [], "architecture.encoder.layers: none; expected at least one"),
    ("encoder.layers", LAYER, 'encoder.layers: found {"attention": {"heads": 2'),
    ("encoder.layers", 2, "encoder.layers: found 2, expected a list, each Layer"),
    ("encoder.layers", [2], "encoder.layers[0]: found 2, expected an object: Layer"),
    ("encoder.layers.count", 0, 'encoder.layers: found {"count": 0'),
    ("encoder.layers.count", 10**30, 'encoder.layers: found {"count": 1000'),
    ("encoder.layers.count", "2", 'expected {"count": …, "of": …}: a number from 1 to 10000, and La'),
    ("encoder.layers.of", ..., 'encoder.layers: found {"count": 2}, expected {"count"'),
    ("encoder.layers.layer", LAYER, 'expected {"count": …, "of": …}'),
    ("encoder.layers.of.norm_place", "Input", '(did you mean \'input\'?), expected "input" or "output"'),
    ("encoder.layers.of.norm", None, "layers.of.norm: found null, expected an object: LayerNorm or"),
    ("encoder.layers.of.norm", {"type": "LayerNorm", "eps": -1.0}, "norm.eps: found -1.0, expected 0"),
    ("encoder.layers.of.feed_forward.activation", "gleu", 'activation: found "gleu" (did you mean \'gel'),
    ("encoder.layers.of.attention.heads", ..., "layers.of.attention: a field of Attention is missing"),
    ("encoder.layers.of.attention.kv_heads", 3, "attention: 2 heads cannot share 3 kv_heads evenly"),
    ("decoder.layers.of.cross_attention.kv_heads", 4, "cross_attention: 2 heads cannot share 4 kv_he"),
    ("decoder.layers.of.attention.kv_heads", 0, "attention.kv_heads: found 0, expected more than 0"),
    ("decoder.embedding.unplaced", 1, "decoder.embedding.unplaced: only an encoder can leave a token without"),
    ("decoder.layers.of.attention.window", 0, "attention.window: found 0, expected more than 0"),
    ("encoder.layers.of.attention.window", 3, "encoder.layers[0].attention.window: only a decoder's"),
    ("decoder.layers.of.cross_attention.window", 3, "cross_attention.window: only a decoder's self-att"),
    ("decoder.layers.of.cross_attention", None, "missing; every decoder layer looks back at the enc"),
    ("encoder.layers.of.cross_attention", {"heads": 2, "head_dim": 4}, "has nothing to look back at"),
    ("head", {"type": "TokenHead", "classes": 2}, 'head: "type" is "TokenHead"; expected one of Head'),
]
TAGGER_MISTAKES: list[Mistake] = [
    ("head", ..., "a field of EncoderOnly is missing; expected 'head' (Head, TokenHead, TextHead or null)"),
    ("head.classes", 0, "architecture.head.classes: found 0, expected more than 0"),
    ("encoder.relative", {"type": "Bucketed", "count": 3, "farthest": 9}, "expected at least 4, and above"),
    ("encoder.relative", {"type": "Bucketed", "count": 9, "farthest": 2}, "expected at least 4, and above 2"),
]
WRITER_MISTAKES: list[Mistake] = [
    ("decoder.relative", {"type": "Bucketed", "count": 8, "farthest": 4}, "expected at least 2, and above 4"),
    ("decoder.relative", {"type": "Rotary", "base": 1}, "relative.base: found 1.0, expected more than 1"),
    ("decoder.layers.of.cross_attention", {"heads": 2, "head_dim": 4}, "a decoder alone has nothing to look"),
]

MISTAKES = [
    (spec, *mistake)
    for spec, mistakes in ((PANELS, PANELS_MISTAKES), (TAGGER, TAGGER_MISTAKES), (WRITER, WRITER_MISTAKES))
    for mistake in mistakes
]


def failure(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert str(caught.value).startswith(f"{folder / 'config.json'}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("spec", "path", "value", "message"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_told_where_it_is(
    spec: dict[str, Any], path: str, value: Any, message: str, tmp_path: Path
) -> None:
    told = failure(own_checkpoint(tmp_path, changed(spec, path, value)))
    assert told.startswith(f"{tmp_path / 'config.json'}: architecture")
    assert message in told


ODD = {**LAYER, "attention": {"heads": 2, "head_dim": 3}}
ONE_HEAD = {**LAYER, "attention": {"heads": 1, "head_dim": 4}}
BUCKETED = {"type": "Bucketed", "count": 8, "farthest": 9}
NARROW = {"vocab_size": 11, "positions": {"type": "Sinusoidal", "count": 4, "channels": "halves_inclusive"}}


def rotary(kind: str, **values: float) -> dict[str, Any]:
    return {"type": "Rotary", "scaling": {"type": kind, "trained": 8, "factor": 2, **values}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": [ODD], "relative": "Rotary"}, "head_dim 3 must be even"),
        ({"layers": [LAYER, ODD], "relative": "Rotary"}, "all must have one head_dim"),
        ({"layers": [LAYER, ONE_HEAD], "relative": BUCKETED}, "all must have as many heads"),
        ({"width": 2, "embedding": NARROW}, "decoder.width: 2, expected at least 3"),
        ({"relative": rotary("Dynamic", factor=0)}, "relative.scaling.factor: found 0.0, expected more than 0"),
        ({"relative": rotary("Llama3", low=4, high=4)}, "low is 4.0 and high is 4.0"),
        ({"relative": rotary("Yarn", magnitude=1, fast=1, slow=2)}, "slow is 2.0 and fast is 1.0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_parts_that_do_not_fit(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in failure(own_checkpoint(tmp_path, {**WRITER, "decoder": {**ENCODER, **changes}}))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"linear_layot": "in_out"}, "unknown keys: linear_layot (did you mean 'linear_layout'?)"),
        ({"linear_layout": "in"}, "'linear_layout' is 'in'; supported are in_out, out_in"),
        ({"task": "transalte"}, "'task' is 'transalte' (did you mean 'translate'?); this architecture can translate, "),
        ({"task": "fill"}, "'task' is 'fill'; this architecture can translate, summarise, generate, embed"),
        ({"rules": {}}, "'rules' is {}; expected a value of type list"),
        ({"rules": [{"ignor": "x"}]}, "config.json: rules[0]: no rule 'ignor' (did you mean 'ignore'?)"),
    ],
)
def test_other_keys(keys: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in failure(own_checkpoint(tmp_path, PANELS, **keys))


@pytest.mark.parametrize("value", [None, [], "EncoderDecoder", 3])
def test_no_architecture(value: object, tmp_path: Path) -> None:
    assert "architecture" in failure(own_checkpoint(tmp_path, value))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "diptych", "architecure": PANELS}))
    assert "the key 'architecture' is missing; there are model_type, architecure" in failure(tmp_path)


@pytest.mark.parametrize("labels", [{}, {"0": "a"}, {"0": "a", "1": "b", "2": "c"}])
def test_as_many_labels_as_classes(labels: dict[str, str], tmp_path: Path) -> None:
    told = failure(own_checkpoint(tmp_path, TAGGER, id2label=labels))
    assert f"id2label names {len(labels)} classes, architecture.head has 2" in told
