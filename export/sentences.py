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
    prompt = _read_optional(folder / "config_sentence_transformers.json").get("default_prompt_name")
    if prompt is not None:
        raise ExportError(
            f"{folder}: texts get the prompt {prompt!r} before them (default_prompt_name), which is not supported; "
            "set it to null in config_sentence_transformers.json and give the texts with it"
        )
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
        Pooling(_mode(_read_optional(pooling), pooling), "Normalize" in kinds, _longest(kinds["Transformer"])),
    )


def default_pooling(spec: arch.Architecture) -> Pooling:
    """Where nothing says otherwise: the mean of what an encoder says, the last of what a decoder says."""
    return Pooling("last" if isinstance(spec, arch.DecoderOnly) else "mean", normalize=True)


def _mode(values: dict[str, Any], path: Path) -> Mode:
    named = values.get("pooling_mode")
    chosen = [named] if named else [key for key, on in values.items() if key.startswith("pooling_mode_") and on is True]
    if len(chosen) != 1 or not isinstance(chosen[0], str) or chosen[0] not in _MODES:
        raise ExportError(f"{path}: pooling by {', '.join(map(str, chosen))}; supported is one of {', '.join(_MODES)}")
    return _MODES[chosen[0]]


def _read_optional(path: Path) -> dict[str, Any]:
    """A JSON object; empty if there is no such file."""
    found = _read(path) if path.is_file() else {}
    if not isinstance(found, dict):
        raise ExportError(f"{path}: expected a JSON object, found {type(found).__name__}")
    return found


def _longest(folder: Path) -> int | None:
    """The tokens after which texts are cut: of the transformer's own settings, else of its tokenizer's."""
    for name, key in (("sentence_*_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        for path in sorted(folder.glob(name)):
            found = _read_optional(path)
            if found.get("do_lower_case") and name.startswith("sentence"):
                raise ExportError(
                    f"{path}: do_lower_case is true; supported is a tokenizer that does. If it does, set this to false"
                )
            longest = found.get(key)
            if type(longest) is int and longest >= 1:
                return longest
            if longest is not None and name.startswith("sentence"):
                raise ExportError(f"{path}: {key} is {longest!r}; expected a whole number of at least 1")
    return None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ExportError(f"{path}: cannot be read as JSON ({error})") from error
