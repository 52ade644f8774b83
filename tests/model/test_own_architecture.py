"""An architecture written as JSON is the one that is built, for the tasks that it can do."""

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from own_models import ENCODER, EVERY, LAYER, PANELS, TAGGER, WRITER, as_json, changed, own_checkpoint
from torch import nn

from diptych.model import CheckpointError, CheckpointNotFoundError, load_checkpoint, make_network, soundness
from diptych.model import architecture as arch
from diptych.model.linear import Linear
from diptych.model.records import read

Randomise = Callable[[nn.Module, int], None]


def records_in(value: Any) -> Iterator[type]:
    if is_dataclass(value):
        yield type(value)
        value = tuple(getattr(value, field.name) for field in fields(value))
    if isinstance(value, tuple):
        for item in value:
            yield from records_in(item)


def test_every_record_is_tried_here() -> None:
    assert {kind for spec in EVERY for kind in records_in(spec)} == {
        kind for _, kind in inspect.getmembers(arch, is_dataclass)
    }


@pytest.mark.parametrize("spec", EVERY, ids=lambda spec: type(spec).__name__)
def test_what_is_written_is_what_is_read(spec: arch.Architecture) -> None:
    written = json.loads(json.dumps(as_json(spec)))
    assert read(arch.Architecture, written, "here") == spec
    soundness.check(spec, "here")
    assert make_network(spec).spec is spec


def test_what_has_a_default_may_be_left_out() -> None:
    attention = arch.Attention(2, 4)
    layer = arch.Layer(attention, arch.FeedForward(12, "relu"), arch.LayerNorm(), "input")
    stack = arch.Stack(8, (layer, layer), arch.Embedding(11, arch.Learned(16)), arch.LayerNorm())
    assert read(arch.Architecture, TAGGER, "here") == arch.EncoderOnly(stack, arch.TokenHead(2))


def test_layers_may_be_repeated_in_patterns() -> None:
    near, far = ({**LAYER, "attention": {"heads": 2, "head_dim": 4, "window": window}} for window in (3, None))
    written = [{"count": 2, "of": [near, far]}, far, {"count": 1, "of": near}]
    stack = read(arch.Stack, {**ENCODER, "layers": written}, "here")
    assert [layer.attention.window for layer in stack.layers] == [3, None, 3, None, None, 3]


def test_a_whole_number_will_do_for_a_number() -> None:
    assert read(arch.RMSNorm, {"eps": 1}, "here") == arch.RMSNorm(1.0)


def trained(folder: Path, spec: dict[str, Any], randomise: Randomise, **keys: Any) -> Path:
    """A checkpoint with our own names, and our own layout."""
    network = make_network(read(arch.Architecture, spec, "here"))
    randomise(network, 5)
    return own_checkpoint(folder, spec, network.state_dict(), linear_layout="in_out", **keys)


TASKS = {
    "translate summarise generate embed": PANELS,
    "generate embed": WRITER,
    "tag answer embed": TAGGER,
    "tag embed": changed(TAGGER, "head.classes", 3),
    "classify embed": changed(TAGGER, "head", {"type": "TextHead", "classes": 3, "activation": "tanh"}),
    "fill embed": changed(TAGGER, "head", {"type": "Head", "tied": False}),
    "embed": changed(TAGGER, "head", None),
    "embed ": changed(WRITER, "head", None),
}


@pytest.mark.parametrize("names", TASKS)
def test_tasks_follow_from_the_architecture(names: str, tmp_path: Path, randomise: Randomise) -> None:
    spec, (first, *others) = TASKS[names], names.split()
    labels = {str(number): f"class {number}" for number in range((spec["head"] or {}).get("classes", 0))}
    keys = {"id2label": labels} if labels else {}
    folder = trained(tmp_path, spec, randomise, **keys)
    assert load_checkpoint(folder).task == first
    for task in others:
        loaded = load_checkpoint(folder, task)
        assert (loaded.task, loaded.labels) == (task, tuple(labels.values()) if task in ("tag", "classify") else None)
        trained(tmp_path, spec, randomise, task=task, **keys)
        assert load_checkpoint(folder).task == task
    with pytest.raises(CheckpointError, match="this checkpoint supports --task "):
        load_checkpoint(folder, "tag" if first == "fill" else "fill")


def test_embeddings_of_two_panels_with_a_vocabulary_each(tmp_path: Path, randomise: Randomise) -> None:
    """One more token in the decoder's; the encoder's vectors are its own."""
    spec = changed(changed(PANELS, "decoder.embedding.vocab_size", 12), "shared_embedding", value=False)
    folder = trained(tmp_path, spec, randomise)
    both, alone = load_checkpoint(folder).network, load_checkpoint(folder, "embed").network
    ids, mask = torch.tensor([[1, 10, 4]]), torch.ones(1, 3, dtype=torch.int64)
    assert torch.equal(alone.encoder(ids, mask), both.encoder(ids, mask))


def test_matrices_are_those_of_torch_unless_told_otherwise(tmp_path: Path, randomise: Randomise) -> None:
    network = load_checkpoint(trained(tmp_path, PANELS, randomise)).network
    turned = {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, Linear)}
    expected = network.state_dict()
    tensors = {name: value.T if name in turned else value for name, value in expected.items()}
    found = load_checkpoint(own_checkpoint(tmp_path, PANELS, tensors)).network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_a_file_stands_for_config_json(tmp_path: Path, randomise: Randomise) -> None:
    folder = tmp_path / "weights only"
    folder.mkdir()
    trained(folder, WRITER, randomise)
    config = (folder / "config.json").rename(tmp_path / "mine.json")
    loaded = load_checkpoint(folder, config=config)
    assert loaded.files == [config, folder / "model.safetensors"]
    assert loaded.config["architecture"] == WRITER
    with pytest.raises(CheckpointError, match="beside the weights, or name one with --config"):
        load_checkpoint(folder)
    with pytest.raises(CheckpointNotFoundError, match="no such file"):
        load_checkpoint(folder, config=tmp_path / "yours.json")
