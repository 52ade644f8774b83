"""A checkpoint that is missing, damaged, unknown or hostile is told in one message that names the file."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from diptych.model import CheckpointError, CheckpointNotFoundError, load_checkpoint


@pytest.fixture
def folder(transformer_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    copy = tmp_path / "checkpoint"
    shutil.copytree(transformer_checkpoint, copy)
    return copy


def failure(folder: Path, *ignored: str) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder, ignored_keys=ignored)
    assert str(folder) in str(caught.value)
    return str(caught.value)


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(values), encoding="utf-8")


def replace_weights(folder: Path, name: str, content: bytes) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(content)


def shard(folder: Path, weight_map: Any) -> None:
    replace_weights(folder, "model.safetensors.index.json", json.dumps({"weight_map": weight_map}).encode())


def test_the_undamaged_copy_loads(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    assert [path.name for path in checkpoint.files] == ["config.json", "generation_config.json", "model.safetensors"]
    assert checkpoint.family == "transformer"
    assert checkpoint.config["d_model"] == 32
    assert checkpoint.generation["max_length"] == 40


def test_all_that_does_not_fit_is_in_one_error(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["transformer.encoder.layers.1.linear1.bias"]
    del tensors["transformer.decoder.norm.weight"]
    tensors["surplus.weight"] = torch.zeros(3, 2)
    tensors["transformer.encoder.layers.7.norm1.bias"] = torch.zeros(32)
    tensors["transformer.decoder.layers.0.linear2.weight"] = torch.zeros(32, 5)
    tensors["transformer.encoder.norm.bias"] = torch.zeros(32, dtype=torch.int8)
    save_file(tensors, path)
    problems = [line.strip() for line in failure(folder).splitlines()[1:]]
    assert sorted(problems) == [
        "misshapen: decoder.layers.0.feed_forward.down.weight is [5, 32], expected [48, 32]",
        "missing: decoder.norm.weight [32]",
        "missing: encoder.layers.1.feed_forward.up.bias [48]",
        "not floating point: encoder.norm.bias is torch.int8; quantised weights are not supported",
        "not used: encoder.layers.7.self_attention_input_norm.bias [32]",
        "not used: surplus.weight [3, 2]",
    ]


def test_a_scalar_where_a_fused_matrix_belongs(folder: Path) -> None:
    path = folder / "model.safetensors"
    save_file(load_file(path) | {"transformer.encoder.layers.0.self_attn.in_proj_bias": torch.tensor(1.0)}, path)
    assert "in_proj_bias" in failure(folder)


def test_two_tensors_that_claim_one_name(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"encoder.norm.weight": tensors["transformer.encoder.norm.weight"] + 1}, path)
    message = failure(folder)
    assert "transformer.encoder.norm.weight" in message
    assert "differ" in message


@pytest.mark.parametrize("model_type", ["gpt9", None, 3, ["bart"]])
def test_unknown_family(model_type: object, folder: Path) -> None:
    configure(folder, model_type=model_type)
    message = failure(folder)
    assert f"model_type is {model_type!r}" in message
    assert "bart" in message.split("supported")[1]
    assert "transformer" in message.split("supported")[1]


def test_unknown_keys_are_all_listed(folder: Path) -> None:
    configure(folder, relative_attention=True, attention_window=3)
    message = failure(folder)
    assert "attention_window, relative_attention" in message
    assert "--ignore-config-key attention_window --ignore-config-key relative_attention" in message
    assert "attention_window" not in failure(folder, "attention_window")
    assert load_checkpoint(folder, ignored_keys=["attention_window", "relative_attention"]).family == "transformer"


def test_inert_keys_pass(folder: Path) -> None:
    configure(
        folder, dropout=0.1, architectures=["X"], torch_dtype="float16", transformers_version="4.1", use_cache=True
    )
    assert load_checkpoint(folder).family == "transformer"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("d_model", "32"),
        ("d_model", 32.0),
        ("d_model", True),
        ("d_model", None),
        ("d_model", 0),
        ("d_model", -32),
        ("d_model", [32]),
        ("nhead", 0),
        ("nhead", 5),
        ("nhead", -4),
        ("num_encoder_layers", "2"),
        ("dim_feedforward", -48),
        ("max_position_embeddings", 0),
        ("max_position_embeddings", -1),
        ("norm_first", 1),
        ("norm_first", "false"),
        ("activation", "tanh"),
        ("activation", 1),
        ("positions", "rotary"),
        ("vocab_size", 67.5),
        ("vocab_size", -1),
        ("layer_norm_eps", "1e-5"),
    ],
)
def test_values_that_cannot_be(key: str, value: object, folder: Path) -> None:
    configure(folder, **{key: value})
    assert key in failure(folder)


@pytest.mark.parametrize("layers", [1, 3])
def test_depth_that_is_not_the_checkpoints(layers: int, folder: Path) -> None:
    configure(folder, num_decoder_layers=layers)
    assert "decoder.layers." in failure(folder)


def test_missing_key(folder: Path) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["dim_feedforward"]
    path.write_text(json.dumps(values), encoding="utf-8")
    assert "'dim_feedforward' is missing; expected a value of type int" in failure(folder)


@pytest.mark.parametrize("content", [b"", b'{"model_type": "trans', b"\xff\xfe\x00", b"[1, 2]", b"null", b'"text"'])
@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_json_that_is_none(name: str, content: bytes, folder: Path) -> None:
    (folder / name).write_bytes(content)
    assert name in failure(folder)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 3000, -1000, -1])
def test_truncated_safetensors(length: int, folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    assert "model.safetensors: not a whole safetensors file" in failure(folder)


def test_garbage_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 8)
    assert "model.safetensors" in failure(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b".",
        b"0",
        b"not a checkpoint",
        b"PK\x03\x04 not a whole zip",
        b"\x80\x02",
        b"\x80\x02}q\x00.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        b"<!DOCTYPE html><html></html>",
        bytes(range(256)) * 4,
        bytes(1000),
    ],
)
def test_garbage_torch_file(content: bytes, folder: Path) -> None:
    replace_weights(folder, "pytorch_model.bin", content)
    assert "pytorch_model.bin" in failure(folder)


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.9, 0.999])
def test_truncated_torch_file(fraction: float, folder: Path) -> None:
    path = folder / "pytorch_model.bin"
    torch.save(load_file(folder / "model.safetensors"), path)
    replace_weights(folder, path.name, path.read_bytes()[: int(fraction * path.stat().st_size)])
    assert "pytorch_model.bin: not a whole torch file" in failure(folder)


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"a": 1}, torch.zeros(3), {"state_dict": [1]}], ids=repr)
def test_torch_file_without_a_state_dict(content: object, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")
    assert "expected a state_dict" in failure(folder)


def test_state_dict_may_be_wrapped(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({"state_dict": state}, folder / "pytorch_model.bin")
    assert load_checkpoint(folder).files[-1].name == "pytorch_model.bin"


class Intruder:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_code_in_a_torch_file_is_not_run(zipped: bool, folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was here"
    hostile = {"embedding.weight": Intruder(mark)}
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    torch.save(hostile, path, _use_new_zipfile_serialization=zipped)
    assert "pytorch_model.bin" in failure(folder)
    assert not mark.exists()


def test_code_in_a_bare_pickle_is_not_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was here"
    content = pickle.dumps(Intruder(mark), protocol=2)
    pickle.loads(content)
    assert mark.exists()
    mark.unlink()
    replace_weights(folder, "pytorch_model.bin", content)
    assert "pytorch_model.bin" in failure(folder)
    assert not mark.exists()


def test_missing_shards_are_listed(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "here.safetensors")
    shard(folder, {"a": "one.safetensors", "b": "here.safetensors", "c": "two.safetensors", "d": "one.safetensors"})
    assert "missing shards: one.safetensors, two.safetensors" in failure(folder)


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "", 3, None, ["x"], {"x": 1}]
)
def test_shards_are_files_beside_the_index(name: object, folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder.parent / "model.safetensors")
    shard(folder, {"a": name})
    assert "index.json" in failure(folder)


@pytest.mark.parametrize("weight_map", [None, {}, [], "x"])
def test_index_without_a_map(weight_map: object, folder: Path) -> None:
    shard(folder, weight_map)
    assert "expected an object 'weight_map'" in failure(folder)


def test_shards_whose_names_are_of_several_types(folder: Path) -> None:
    shard(folder, {"a": "one.safetensors", "b": 2})
    assert "index.json" in failure(folder)


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    message = failure(folder)
    assert "no weights" in message
    assert "model.safetensors, model.safetensors.index.json, pytorch_model.bin" in message


def test_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "no config.json" in failure(folder)


@pytest.mark.parametrize("name", ["nowhere", "checkpoint/config.json"])
def test_no_folder(name: str, folder: Path) -> None:
    with pytest.raises(CheckpointNotFoundError, match="no such folder") as caught:
        load_checkpoint(folder.parent / name)
    assert isinstance(caught.value, FileNotFoundError)
    assert isinstance(caught.value, ValueError)
