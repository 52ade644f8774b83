"""Folders of sentence-transformers: `modules.json` says how token states become one vector."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from diptych.export.errors import ExportError
from diptych.model import architecture as arch
from diptych.runtime.manifest import Pooling

Mode = Literal["mean", "cls", "max", "last"]

# Older files have a flag for each mode, newer ones name one.
_MODES: dict[str, Mode] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
    "mean": "mean",
    "cls": "cls",
    "max": "max",
    "lasttoken": "last",
}
_KINDS = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True)
class SentenceSettings:
    """folder: of the transformer itself."""

    folder: Path
    pooling: Pooling


def read_sentence_settings(folder: Path) -> SentenceSettings | None:
    """What `modules.json` asks for; `None` if there is none. Raises ExportError for a module that is not supported."""
    path = folder / "modules.json"
    if not path.is_file():
        return None
    modules = _read(path)
    try:
        kinds = {str(module["type"]).split(".")[-1]: folder / str(module["path"]) for module in modules}
    except (TypeError, KeyError) as error:
        raise ExportError(f"{path}: expected a list of objects with 'type' and 'path'") from error
    unsupported = [kind for kind in kinds if kind not in _KINDS]
    if unsupported or "Transformer" not in kinds or "Pooling" not in kinds:
        raise ExportError(
            f"{path}: modules {', '.join(kinds)}; supported are a Transformer, a Pooling, and optionally a Normalize. "
            "To export the encoder alone, remove modules.json"
        )
    pooling = kinds["Pooling"] / "config.json"
    return SentenceSettings(
        kinds["Transformer"],
        Pooling(_mode(_read(pooling), pooling), "Normalize" in kinds, _longest(kinds["Transformer"])),
    )


def default_pooling(spec: arch.Architecture) -> Pooling:
    """Where nothing says otherwise: the mean of what an encoder says, the last of what a decoder says."""
    return Pooling("last" if isinstance(spec, arch.DecoderOnly) else "mean", normalize=True)


def _mode(values: dict[str, Any], path: Path) -> Mode:
    named = values.get("pooling_mode")
    chosen = [named] if named else [key for key, on in values.items() if key.startswith("pooling_mode_") and on is True]
    if len(chosen) != 1 or chosen[0] not in _MODES:
        raise ExportError(f"{path}: pooling by {', '.join(map(str, chosen))}; supported is one of {', '.join(_MODES)}")
    return _MODES[chosen[0]]


def _longest(folder: Path) -> int | None:
    """The tokens after which texts are cut: of the transformer's own settings, else of its tokenizer's."""
    for name, key in (("sentence_*_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        for path in sorted(folder.glob(name)):
            found = _read(path)
            if found.get("do_lower_case") and name.startswith("sentence"):
                raise ExportError(
                    f"{path}: do_lower_case is true; supported is a tokenizer that lower-cases. If it does, set it to false"
                )
            if isinstance(found.get(key), int):
                return int(found[key])
    return None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ExportError(f"{path}: cannot be read as JSON ({error})") from error
