"""`diptych.json`: what a bundle's graphs cannot say."""

import json
from dataclasses import asdict, dataclass, field, fields
from math import prod
from pathlib import Path
from typing import Any, Literal, TypeVar

from diptych.runtime import ports
from diptych.runtime.errors import BundleError, BundleNotFoundError, OptionError
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.languages import Languages

FORMAT_VERSION = 2
FUNCTIONS = ("softmax", "sigmoid", "none")
POOLINGS = ("mean", "cls", "max", "last")
PORTABLE, CPU_TARGET = TARGETS = ("portable", "cpu")
_SCALES = (".weight.scale", ".table.scale")
PRECISIONS = ("fp32", "fp16", "int8", "int4")

T = TypeVar("T")


@dataclass(frozen=True)
class SpecialTokens:
    """Ids with a meaning; several may end a text. `decoder_start` is what an encoder-decoder starts decoding with.

    unknown: what the tokenizer gives to text it does not know. mask: what stands for a word to be filled in.
    """

    pad: int
    eos: tuple[int, ...] = ()
    decoder_start: int | None = None
    unknown: int | None = None
    mask: int | None = None


@dataclass(frozen=True)
class Labels:
    """The names of the classes, in the order of the logits, and how logits become scores.

    softmax: one class holds. sigmoid: each holds by itself. none: logits are the scores, of a regression.
    """

    names: tuple[str, ...]
    function: Literal["softmax", "sigmoid", "none"] = "softmax"


@dataclass(frozen=True)
class Pooling:
    """How token states become one vector: the mean of all, the first ("cls"), the largest by channel, or the last.

    normalize: the vector has length 1. max_length: longer texts are cut to so many tokens, as the model was trained.
    """

    mode: Literal["mean", "cls", "max", "last"]
    normalize: bool
    max_length: int | None = None


@dataclass(frozen=True)
class Precision:
    """In what the graphs compute: fp32, fp16, int8 or int4.

    kept: modules in another, and in which. quality: what was measured of the reduced graphs, beside those in float32.
    layers: by module, the signal over the noise that fewer bits put into its output, in decibels.
    """

    name: str = "fp32"
    kept: dict[str, str] = field(default_factory=dict)
    quality: dict[str, float] = field(default_factory=dict)
    layers: dict[str, float] = field(default_factory=dict)


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

    task: what it is for. family: the `model_type` it came from. source_vocabulary: ids a text may have, a source where
    there are two sides. source_positions, target_positions: the longest text or source, and the longest decoder row, in
    tokens, or no limit. generation: the checkpoint's options, resolved. labels: of classes or tags. pooling: of
    embeddings. languages: where there are several. target: what its graphs are made for. precision: in what they
    compute. tools: versions it was made with. source: SHA-256 of the checkpoint's files. files: SHA-256 of the bundle's
    other files. tensors: by name.
    """

    task: str
    family: str
    tokens: SpecialTokens
    source_vocabulary: int
    source_positions: int | None
    target_positions: int | None = None
    generation: dict[str, Any] = field(default_factory=dict)
    labels: Labels | None = None
    pooling: Pooling | None = None
    languages: Languages | None = None
    precision: Precision = field(default_factory=Precision)
    target: str = PORTABLE
    tools: dict[str, str] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, TensorEntry] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def weights_size(self) -> int:
        """Bytes in `weights.data`."""
        return max((entry.offset + entry.length for entry in self.tensors.values()), default=0)

    @property
    def parameters(self) -> int:
        """Weights in 4 bits lie two in a byte; scales are none."""
        weights = [entry for name, entry in self.tensors.items() if not name.endswith(_SCALES)]
        return sum(prod(entry.shape) * (2 if entry.dtype == "UINT8" else 1) for entry in weights)

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
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise BundleError(f"{path}: not JSON, so damaged; copy the bundle again, or export it anew") from error
        version = values.get("format_version") if isinstance(values, dict) else None
        if version != FORMAT_VERSION:
            raise BundleError(
                f"{path}: format version {version}, this diptych reads {FORMAT_VERSION}; "
                "install the version that made it, or export again"
            )
        try:
            return _from_json(values)
        except (TypeError, OptionError) as error:
            raise BundleError(f"{path}: not as diptych writes it: {error}; export the bundle again") from error


def _from_json(values: dict[str, Any]) -> Manifest:
    """Raises TypeError or OptionError for whatever is not as `Manifest` says."""
    # Older ones are all portable and in float32, and do not say so.
    values = {"target": PORTABLE, "precision": asdict(Precision())} | values
    _check_names("the manifest", values, Manifest)
    GenerationOptions.from_mapping(_check(values, "generation", dict))
    tensors = _check(values, "tensors", dict)
    for name in ("tools", "source", "files"):
        texts = _check(values, name, dict)
        for key in texts:
            _check(texts, key, str)
    for name in ("task", "family"):
        _check(values, name, str)
    if values["target"] not in TARGETS:
        raise TypeError(f"target is {values['target']!r}, expected one of {', '.join(TARGETS)}")
    _check(values, "source_vocabulary", int)
    for name in ("source_positions", "target_positions"):
        _check_optional(values, name, int)
    return Manifest(
        **values
        | {
            "tokens": _tokens(_check(values, "tokens", dict)),
            "labels": _labels(_check_optional(values, "labels", dict)),
            "pooling": _pooling(_check_optional(values, "pooling", dict)),
            "languages": _languages(_check_optional(values, "languages", dict)),
            "precision": _precision(_check(values, "precision", dict)),
            "tensors": {name: _tensor(_check(tensors, name, dict)) for name in tensors},
        }
    )


def _tokens(values: dict[str, Any]) -> SpecialTokens:
    _check_names("tokens", values, SpecialTokens)
    _check(values, "pad", int)
    for name in ("decoder_start", "unknown", "mask"):
        _check_optional(values, name, int)
    return SpecialTokens(**values | {"eos": _whole_numbers(values, "eos")})


def _labels(values: dict[str, Any] | None) -> Labels | None:
    if values is None:
        return None
    _check_names("labels", values, Labels)
    names = _check(values, "names", list)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"names is {names!r:.60}, expected texts")
    if values["function"] not in FUNCTIONS:
        raise TypeError(f"function is {values['function']!r}, expected one of {', '.join(FUNCTIONS)}")
    return Labels(tuple(names), values["function"])


def _pooling(values: dict[str, Any] | None) -> Pooling | None:
    if values is None:
        return None
    _check_names("pooling", values, Pooling)
    if values["mode"] not in POOLINGS:
        raise TypeError(f"mode is {values['mode']!r}, expected one of {', '.join(POOLINGS)}")
    _check(values, "normalize", bool)
    _check_optional(values, "max_length", int)
    return Pooling(**values)


def _languages(values: dict[str, Any] | None) -> Languages | None:
    if values is None:
        return None
    _check_names("languages", values, Languages)
    codes = _check(values, "codes", dict)
    for code in codes:
        _check(codes, code, int)
    if values["source"] not in ("first", "last", None) or values["target"] not in ("forced_bos", "start", "source"):
        raise TypeError(f"languages has source {values['source']!r} and target {values['target']!r}")
    for name in ("default_source", "default_target"):
        _check_optional(values, name, str)
    return Languages(**values)


def _precision(values: dict[str, Any]) -> Precision:
    _check_names("precision", values, Precision)
    if _check(values, "name", str) not in PRECISIONS:
        raise TypeError(f"precision is {values['name']!r}, expected one of {', '.join(PRECISIONS)}")
    for part, kind in (("kept", str), ("quality", float), ("layers", float)):
        items = _check(values, part, dict)
        for name in items:
            _check(items, name, kind)
    return Precision(**values)


def _tensor(entry: dict[str, Any]) -> TensorEntry:
    _check_names("a tensor", entry, TensorEntry)
    return TensorEntry(
        dtype=_check(entry, "dtype", str),
        shape=_whole_numbers(entry, "shape"),
        offset=_check(entry, "offset", int),
        length=_check(entry, "length", int),
        sha256=_check(entry, "sha256", str),
    )


def _whole_numbers(values: dict[str, Any], name: str) -> tuple[int, ...]:
    items = _check(values, name, list)
    if not all(type(item) is int for item in items):
        raise TypeError(f"{name} is {items!r:.60}, expected whole numbers")
    return tuple(items)


def _check_names(what: str, values: dict[str, Any], record: type) -> None:
    differing = values.keys() ^ {item.name for item in fields(record)}
    if differing:
        raise TypeError(f"{what} has missing or unknown keys: {', '.join(sorted(differing))}")


def _check_optional(values: dict[str, Any], name: str, kind: type[T]) -> T | None:
    return None if values[name] is None else _check(values, name, kind)


def _check(values: dict[str, Any], name: str, kind: type[T]) -> T:
    value = values[name]
    if type(value) is not kind:
        raise TypeError(f"{name} is {value!r:.60}, expected {kind.__name__}")
    return value
