"""Your own model: `config.json` holds the architecture itself, as the records of `diptych.model.architecture`.

Besides: `rules` lead from your tensor names to ours (they may for every family), `linear_layout` says how matrices are
stored, `task` what the checkpoint is for, where it could be for several things.
"""

from collections.abc import Mapping, Sequence

from diptych.model import architecture as arch
from diptych.model import soundness
from diptych.model.config import Config
from diptych.model.errors import did_you_mean
from diptych.model.records import read
from diptych.model.rules import TRANSPOSE_LINEARS, Rule

# As torch.nn.Linear keeps its weight, or as it multiplies from the right. A vocabulary's is [V, width] in any case.
LAYOUTS: dict[str, tuple[Rule, ...]] = {"out_in": (TRANSPOSE_LINEARS,), "in_out": ()}

# The likeliest first; an answer has a start and an end. Without its head, each gives embeddings.
TASKS: dict[tuple[type, type], tuple[str, ...]] = {
    (arch.EncoderDecoder, arch.Head): ("translate", "summarise", "generate"),
    (arch.DecoderOnly, arch.Head): ("generate",),
    (arch.EncoderOnly, arch.Head): ("fill",),
    (arch.EncoderOnly, arch.TokenHead): ("tag", "answer"),
    (arch.EncoderOnly, arch.TextHead): ("classify",),
}


def tasks(config: Config) -> Mapping[str, Sequence[str]]:
    offered = _tasks(_read(config))
    first = config.get("task", str, offered[0])
    if first not in offered:
        hint = did_you_mean(first, offered)
        config.fail(f"'task' is {first!r}{hint}; this architecture can {', '.join(offered)}")
    return dict.fromkeys((first, *offered), ())


def architecture(config: Config, task: str) -> arch.Architecture:
    spec = _read(config)
    if task in ("classify", "tag") and isinstance(spec, arch.EncoderOnly):
        assert isinstance(spec.head, arch.TextHead | arch.TokenHead)
        named = len(config.get("id2label", dict, {}))
        if named != spec.head.classes:
            config.fail(f"id2label names {named} classes, architecture.head has {spec.head.classes}; expected as many")
    return spec


def rules(config: Config, task: str) -> Sequence[Rule]:
    return config.choose("linear_layout", LAYOUTS, "out_in")


def _read(config: Config) -> arch.Architecture:
    if "architecture" not in config.values:
        config.fail(f"the key 'architecture' is missing; there are {', '.join(config.values)}")
    where = f"{config.path}: architecture"
    spec: arch.Architecture = read(arch.Architecture, config.get("architecture", dict), where)
    soundness.check(spec, where)
    return spec


def _tasks(spec: arch.Architecture) -> tuple[str, ...]:
    by_head = TASKS.get((type(spec), type(spec.head)), ())
    if isinstance(spec.head, arch.TokenHead) and spec.head.classes != 2:
        by_head = ("tag",)
    return *by_head, "embed"
