"""`diptych.json`: what a bundle's graphs cannot say."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from diptych.runtime import ports
from diptych.runtime.errors import BundleError, BundleNotFoundError

FORMAT_VERSION = 1


@dataclass(frozen=True)
class SpecialTokens:
    """Ids with a meaning; several may end a text. `decoder_start` is what decoding begins with."""

    pad: int
    eos: tuple[int, ...]
    decoder_start: int


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of `weights.data`: where its bytes lie and what they hash to."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The facts of one bundle.

    task: what it is for. family: the `model_type` it came from. source_positions, target_positions: the longest
    source and decoder row, in tokens. generation: the checkpoint's options, resolved. tools: versions it was made with.
    source: SHA-256 of the checkpoint's files. files: SHA-256 of the bundle's other files. tensors: by name.
    """

    task: str
    family: str
    tokens: SpecialTokens
    source_positions: int
    target_positions: int
    generation: dict[str, Any] = field(default_factory=dict)
    tools: dict[str, str] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, TensorEntry] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def weights_size(self) -> int:
        """Bytes in `weights.data`."""
        return max((entry.offset + entry.length for entry in self.tensors.values()), default=0)

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False)
        (folder / ports.MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> "Manifest":
        """Raises BundleNotFoundError if the folder is no bundle, BundleError if its manifest is damaged or newer."""
        if not folder.exists():
            raise BundleNotFoundError(f"{folder}: no such bundle; make one with: diptych export CHECKPOINT {folder}")
        path = folder / ports.MANIFEST_FILE
        if not path.is_file():
            raise BundleError(f"{folder}: not a bundle, it has no {ports.MANIFEST_FILE}; make one with diptych export")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            version = values["format_version"]
        except (UnicodeDecodeError, json.JSONDecodeError, TypeError, KeyError) as error:
            raise BundleError(f"{path}: damaged ({error!r}); export the bundle again") from error
        if version != FORMAT_VERSION:
            raise BundleError(
                f"{path}: format version {version}, this diptych reads {FORMAT_VERSION}; "
                "install the version that made it, or export again"
            )
        try:
            return _from_json(values)
        except (TypeError, KeyError, AttributeError) as error:
            raise BundleError(f"{path}: not as diptych writes it ({error}); export the bundle again") from error


def _from_json(values: dict[str, Any]) -> Manifest:
    names = {item.name for item in fields(Manifest)}
    if values.keys() != names:
        raise KeyError(f"unknown or missing: {', '.join(sorted(values.keys() ^ names))}")
    tokens = values["tokens"]
    return Manifest(
        **values
        | {
            "tokens": SpecialTokens(**tokens | {"eos": tuple(tokens["eos"])}),
            "tensors": {
                name: TensorEntry(**entry | {"shape": tuple(entry["shape"])})
                for name, entry in values["tensors"].items()
            },
        }
    )
