"""From a checkpoint folder to a network: the door where every layout becomes ours."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.model.config import Config, read_json
from diptych.model.encoder_decoder import EncoderDecoder
from diptych.model.errors import CheckpointError, CheckpointNotFoundError
from diptych.model.families import FAMILIES
from diptych.model.loading import load_tensors
from diptych.model.rules import apply_rules
from diptych.model.weights import find_weights, read_tensors


@dataclass(frozen=True)
class Checkpoint:
    """A loaded network and what its folder says about using it.

    config, generation: the values of `config.json` and `generation_config.json` (empty if there is none). files: every
    file that was read.
    """

    folder: Path
    family: str
    network: EncoderDecoder
    config: dict[str, Any]
    generation: dict[str, Any]
    files: list[Path]


def load_checkpoint(folder: Path, ignored_keys: Collection[str] = ()) -> Checkpoint:
    """Read `config.json`, `generation_config.json` and the weights of `folder`; float32, ready for inference.

    Raises CheckpointNotFoundError (a FileNotFoundError) if there is no such folder, CheckpointError (a ValueError) for
    anything in it that is missing, damaged, unknown or does not fit.
    """
    config = _read_config(folder)
    family = FAMILIES[config.values["model_type"]]
    spec = family.architecture(config)
    rules = family.rules(config)
    config.finish(ignored_keys)
    network = EncoderDecoder(spec)
    tensors, clashes = apply_rules(rules, read_tensors(folder))
    load_tensors(network, tensors, clashes, str(folder))
    generation_path = folder / "generation_config.json"
    generation_files = [generation_path] if generation_path.is_file() else []
    return Checkpoint(
        folder=folder,
        family=config.values["model_type"],
        network=network.eval().requires_grad_(False),
        config=config.values,
        generation=read_json(generation_path) if generation_files else {},
        files=[config.path, *generation_files, *find_weights(folder)],
    )


def _read_config(folder: Path) -> Config:
    if not folder.is_dir():
        raise CheckpointNotFoundError(f"{folder}: no such folder; expected a checkpoint with config.json and weights")
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder}: no config.json; expected it beside the weights")
    config = Config(read_json(path), path)
    model_type = config.values.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        config.fail(f"model_type is {model_type!r}; supported are {', '.join(sorted(FAMILIES))}")
    return config
