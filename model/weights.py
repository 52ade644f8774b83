"""Read the tensors of a checkpoint folder: safetensors or torch files, whole or in shards. No code is ever run."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from diptych.model.config import read_json
from diptych.model.errors import CheckpointError
from diptych.model.rules import Tensors

WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def find_weights(folder: Path) -> list[Path]:
    """The files that hold the tensors, an index first; raises CheckpointError if the folder has none."""
    for name in WEIGHT_FILES:
        path = folder / name
        if path.is_file():
            return [path, *_shards(path)] if name.endswith(".index.json") else [path]
    raise CheckpointError(f"{folder}: no weights; expected one of {', '.join(WEIGHT_FILES)}")


def read_tensors(folder: Path) -> Tensors:
    """Every tensor of the checkpoint by its name there, as stored."""
    tensors: Tensors = {}
    for path in find_weights(folder):
        if path.suffix == ".json":
            continue
        tensors.update(_read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path))
    return tensors


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: expected an object 'weight_map' from tensor to file")
    for name in weight_map.values():
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(f"{index}: {name!r} is not the name of a file beside it")
    names = sorted(set(weight_map.values()))
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise CheckpointError(f"{index}: missing shards: {', '.join(missing)}")
    return [index.parent / name for name in names]


def _read_safetensors(path: Path) -> Tensors:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error}); copy it again") from error


def _read_torch(path: Path) -> Tensors:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # The unpickler fails on garbage in whatever way it happens to.
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(
            f"{path}: not a whole torch file of plain tensors ({reason}); "
            "save the state_dict again, best as model.safetensors"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: expected a state_dict, a mapping from name to tensor")
    return state
