"""What checkpoint folders look like: written from a model of transformers as various versions and people have done."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from families.hub_configs import HUB_CONFIGS
from families.twins import restore_computed_positions
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]
Change = Callable[[Any, Tensors], Tensors]


@dataclass(frozen=True)
class Layout:
    """write: puts a model into a folder. families: those that have been seen so, or all.

    tasks: of families for which the folder then speaks of another task than usual.
    """

    name: str
    write: Callable[[Any, Path], None]
    families: Collection[str] | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)


def _plain(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)


def _sharded(model: Any, folder: Path) -> None:
    model.save_pretrained(folder, max_shard_size="12KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1


def _bin(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def _sharded_bin(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: f"pytorch_model-0000{place % 2 + 1}-of-00002.bin" for place, name in enumerate(tensors)}
    for file in set(places.values()):
        torch.save({name: value for name, value in tensors.items() if places[name] == file}, folder / file)
    index = json.dumps({"metadata": {}, "weight_map": places})
    (folder / "pytorch_model.bin.index.json").write_text(index, encoding="utf-8")


def _half(kind: torch.dtype) -> Callable[[Any, Path], None]:
    """Nothing is lost if the model's own numbers are first such as that type has."""

    def write(model: Any, folder: Path) -> None:
        with torch.no_grad():
            for value in model.state_dict().values():
                value.copy_(value.to(kind))
        restore_computed_positions(model)
        _changed(lambda _, tensors: {name: value.to(kind) for name, value in tensors.items()})(model, folder)
        edit_config(folder, dtype=str(kind).removeprefix("torch."))

    return write


def _changed(change: Change) -> Callable[[Any, Path], None]:
    """With other tensors or other names."""

    def write(model: Any, folder: Path) -> None:
        model.save_pretrained(folder)
        tensors = load_file(folder / "model.safetensors")
        changed = change(model, tensors)
        assert changed.keys() != tensors.keys() or any(changed[name].dtype != tensors[name].dtype for name in tensors)
        save_file({name: value.contiguous() for name, value in changed.items()}, folder / "model.safetensors")

    return write


def _ties_stored(model: Any, tensors: Tensors) -> Tensors:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _without_prefix(model: Any, tensors: Tensors) -> Tensors:
    return {name.removeprefix(f"{model.base_model_prefix}."): value for name, value in tensors.items()}


def _gamma_and_beta(_: Any, tensors: Tensors) -> Tensors:
    for old, new in (("weight", "gamma"), ("bias", "beta")):
        pattern = re.compile(rf"(?i)(layer_?norm)\.{old}$")
        tensors = {pattern.sub(rf"\1.{new}", name): value for name, value in tensors.items()}
    return tensors


def _besides(**extra: Tensor) -> Change:
    """Tensors that stand beside each one whose name ends so: `{name}` is what comes before."""

    def change(_: Any, tensors: Tensors) -> Tensors:
        found = dict(tensors)
        for pattern, value in extra.items():
            near, _, name = pattern.rpartition("/")
            stems = [stem.removesuffix(near) for stem in tensors if stem.endswith(near)]
            assert stems, near
            found |= {f"{stem}{name}": value.clone() for stem in stems}
        return found

    return change


def _computed_positions(model: Any, tensors: Tensors) -> Tensors:
    sides = {side: getattr(model.model, side).embed_positions for side in ("encoder", "decoder")}
    name = "weight" if hasattr(sides["encoder"], "weight") else "weights"
    tables = {side: getattr(table, name).detach().clone() for side, table in sides.items()}
    return tensors | {f"model.{side}.embed_positions.{name}": table for side, table in tables.items()}


def _config_of_4(model: Any, folder: Path) -> None:
    """Written by transformers 4 or earlier, as on the hub."""
    model.save_pretrained(folder)
    family = model.config.model_type
    sizes = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sizes["torch_dtype"] = sizes.pop("dtype")
    rope = sizes.pop("rope_parameters", None)
    if rope:
        sizes["rope_theta"], sizes["rope_scaling"] = rope["rope_theta"], None
    config = HUB_CONFIGS.get(family, {}) | sizes | {"transformers_version": "4.31.0"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def edit_config(folder: Path, *removed: str, **changes: Any) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in values.items() if k not in removed}), encoding="utf-8")


def edit_tensors(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    path = folder / "model.safetensors"
    save_file({name: value.contiguous() for name, value in change(load_file(path)).items()}, path)


MASK = torch.ones(1, 1, 4, 4).tril()
NUMBERS = torch.arange(4)
BERTS = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert")
PREFIXED = (*BERTS, "gpt2", "openai-gpt", "gpt_neo", "opt", "llama", "bart", "mbart", "marian", "pegasus", "m2m_100")
TIED = (*(name for name in PREFIXED if name != "llama"), "t5", "mt5")
LAYOUTS = [
    Layout("sharded safetensors", _sharded),
    Layout(".bin", _bin),
    Layout("sharded .bin", _sharded_bin),
    Layout("float16", _half(torch.float16)),
    Layout("bfloat16", _half(torch.bfloat16)),
    Layout("config of transformers 4", _config_of_4, tasks={"bart": "summarise"}),
    Layout("tied tensors stored", _changed(_ties_stored), TIED),
    Layout("no prefix", _changed(_without_prefix), PREFIXED),
    Layout("gamma and beta", _changed(_gamma_and_beta), ("bert", "distilbert")),
    Layout(
        "position_ids stored",
        _changed(_besides(**{"word_embeddings.weight/position_ids": NUMBERS[None]})),
        BERTS,
    ),
    Layout("position_ids stored", _changed(_besides(**{"tokens_embed.weight/position_ids": NUMBERS})), ("openai-gpt",)),
    Layout(
        "causal masks stored",
        _changed(
            _besides(**{"attn.c_attn.weight/attn.bias": MASK, "attn.c_attn.bias/attn.masked_bias": torch.tensor(-1e4)})
        ),
        ("gpt2", "openai-gpt"),
    ),
    Layout(
        "causal masks stored",
        _changed(_besides(**{"k_proj.weight/bias": MASK, "q_proj.weight/masked_bias": torch.tensor(-1e9)})),
        ("gpt_neo",),
    ),
    Layout(
        "rotary frequencies stored",
        _changed(_besides(**{"k_proj.weight/rotary_emb.inv_freq": torch.ones(5)})),
        ("llama",),
    ),
    Layout(
        "versions stored",
        _changed(
            _besides(
                **{
                    "encoder.layers.0.fc1.weight/encoder.version": torch.ones(1),
                    "decoder.layers.0.fc1.weight/decoder.version": torch.ones(1),
                }
            )
        ),
        ("bart", "mbart", "m2m_100"),
    ),
    Layout("computed positions stored", _changed(_computed_positions), ("marian", "m2m_100")),
    Layout(
        "next-sentence head stored",
        _changed(
            lambda _, tensors: (
                tensors
                | {"cls.seq_relationship.weight": torch.ones(2, 24), "cls.seq_relationship.bias": torch.ones(2)}
                | {"bert.pooler.dense.weight": torch.ones(24, 24), "bert.pooler.dense.bias": torch.ones(24)}
            )
        ),
        ("bert",),
    ),
]
