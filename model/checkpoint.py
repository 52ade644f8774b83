"""From a checkpoint folder to a network: the door where every layout becomes ours."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.model import architecture as arch
from diptych.model.config import Config, read_json
from diptych.model.errors import CheckpointError, CheckpointNotFoundError
from diptych.model.families import FAMILIES
from diptych.model.loading import load_tensors
from diptych.model.networks import Network, make_network
from diptych.model.own_rules import read_rules
from diptych.model.rules import ENCODER_ALONE, SHARED_TOKENS, WITHOUT_HEAD, Rule, apply_rules
from diptych.model.tasks import choose_task
from diptych.model.weights import find_weights, read_tensors


@dataclass(frozen=True)
class Checkpoint:
    """A loaded network and what its folder says about using it.

    task: what it was loaded for. labels: the names of its classes, if the task has such. config, generation: the values
    of `config.json` and `generation_config.json` (empty if there is none). files: every file that was read.
    """

    folder: Path
    family: str
    task: str
    network: Network
    labels: tuple[str, ...] | None
    config: dict[str, Any]
    generation: dict[str, Any]
    files: list[Path]


def load_checkpoint(
    folder: Path, task: str | None = None, ignored_keys: Collection[str] = (), config: Path | None = None
) -> Checkpoint:
    """Read `config.json`, `generation_config.json` and the weights of `folder`; float32, ready for inference.

    task: what the network is wanted for; else what the checkpoint was made for. config: a file to read instead of the
    folder's `config.json`. Raises CheckpointNotFoundError (a FileNotFoundError) if there is no such folder or file,
    CheckpointError (a ValueError) for anything in them that is missing, damaged, unknown or does not fit.
    """
    settings = _read_config(folder, config)
    model_type = settings.values["model_type"]
    family = FAMILIES[model_type]
    own_rules = read_rules(settings.get("rules", list, []), f"{settings.path}: rules")
    tensors, own_clashes = apply_rules(own_rules, read_tensors(folder))
    task = choose_task(settings, task, family.tasks(settings), tensors)
    spec, rules = _for_states(task, family.architecture(settings, task), family.rules(settings, task))
    labels = settings.labels() if task in ("classify", "tag") else None
    settings.finish(ignored_keys)
    network = _build(spec, settings)
    tensors, clashes = apply_rules(rules, tensors)
    load_tensors(network, tensors, [*own_clashes, *clashes], str(folder))
    generation_path = folder / "generation_config.json"
    generation_files = [generation_path] if generation_path.is_file() else []
    return Checkpoint(
        folder=folder,
        family=model_type,
        task=task,
        network=network.eval().requires_grad_(False),
        labels=labels,
        config=settings.values,
        generation=read_json(generation_path) if generation_files else {},
        files=[settings.path, *generation_files, *find_weights(folder)],
    )


def read_architecture(config: Path, task: str) -> arch.Architecture:
    """What a configuration file describes, without weights. Errors as of `load_checkpoint`."""
    settings = _read_config(config.parent, config)
    family = FAMILIES[settings.values["model_type"]]
    spec, _ = _for_states(task, family.architecture(settings, task), family.rules(settings, task))
    return spec


def _build(spec: arch.Architecture, settings: Config) -> Network:
    try:
        return make_network(spec)
    except (RuntimeError, TypeError, MemoryError, OverflowError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        settings.fail(f"a network of these sizes cannot be made ({reason:.120})")


def _for_states(task: str, spec: arch.Architecture, rules: Sequence[Rule]) -> tuple[arch.Architecture, Sequence[Rule]]:
    """Where embeddings are asked for: no head, and of two panels the encoder."""
    if task != "embed":
        return spec, rules
    match spec:
        case arch.EncoderDecoder():
            kept = SHARED_TOKENS if spec.shared_embedding else ()
            return arch.EncoderOnly(spec.encoder, None), (*rules, *kept, *ENCODER_ALONE)
        case arch.DecoderOnly():
            return arch.DecoderOnly(spec.decoder, None), (*rules, *WITHOUT_HEAD)
        case arch.EncoderOnly():
            return arch.EncoderOnly(spec.encoder, None), (*rules, *WITHOUT_HEAD)


def _read_config(folder: Path, given: Path | None) -> Config:
    if not folder.is_dir():
        raise CheckpointNotFoundError(f"{folder}: no such folder; expected a checkpoint with config.json and weights")
    if (folder / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{folder}: it is an adapter (adapter_config.json); supported are whole models, so merge it into its base "
            "model (in peft: merge_and_unload) and save that"
        )
    if given is not None and not given.is_file():
        raise CheckpointNotFoundError(f"{given}: no such file; expected what config.json would hold")
    path = given or folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder}: no config.json; expected it beside the weights, or name one with --config")
    config = Config(read_json(path), path)
    model_type = config.values.get("model_type")
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        config.fail(f"model_type is {model_type!r}; supported are {', '.join(sorted(FAMILIES))}")
    return config
