"""What a graph must do at least for its tokens: weights to read, and numbers to multiply.

Read from the ONNX file, whose field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import NamedTuple

from diptych.runtime.bench.rates import FP32, INT8, Rates
from diptych.runtime.errors import BundleError
from diptych.runtime.onnx_bytes import fields, read_varint

# ONNX's numbers of element types: their bits, and the kind of arithmetic that multiplies them.
_BITS = {1: 32, 2: 8, 3: 8, 10: 16, 11: 64, 16: 16, 21: 4, 22: 4}
_SMALL = {2, 3, 21, 22}
# These take rows out of a table, of which they read no more.
_LOOK_UP = {"Gather", "GatherND", "GatherElements", "GatherBlockQuantized", "Slice", "Shape"}
_PACKED = "MatMulNBits"


@dataclass(frozen=True)
class Work:
    """size: bytes of weights that any run reads. each: multiply-adds for each token that is read, by kind.

    scored: multiply-adds for each token after which scores over the vocabulary are wanted.
    """

    size: int = 0
    each: Counter[str] = field(default_factory=Counter)
    scored: Counter[str] = field(default_factory=Counter)

    @property
    def kinds(self) -> set[str]:
        return {*self.each, *self.scored}

    def seconds(self, rates: Rates, read: int, scored: int) -> float:
        """The least that a run over so many tokens takes: reading weights or multiplying, whichever is longer."""
        counts = {kind: read * self.each[kind] + scored * self.scored[kind] for kind in self.kinds}
        return max(rates.reading(self.size), rates.multiplying(counts))


class _Use(NamedTuple):
    """A node that takes a tensor: its operator, which input that is, and its integers by name."""

    operator: str
    place: int
    numbers: dict[str, int]


def work_of(path: Path, vocabulary: int | None = None) -> Work:
    """Of a graph's weights. vocabulary: of its scores, if it gives any. Raises BundleError if the file is damaged."""
    try:
        return _read(path.read_bytes(), vocabulary)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: not an ONNX file ({error}); export the bundle again") from error


def _read(data: bytes, vocabulary: int | None) -> Work:
    graph = [one for number, content, _ in fields(data) if number == 7 for one in fields(content)]
    uses: dict[str, list[_Use]] = {}
    for number, content, _ in graph:
        if number == 1:
            for name, use in _uses(content):
                uses.setdefault(name, []).append(use)
    size, each, scored = 0, Counter[str](), Counter[str]()
    for number, content, _ in graph:
        if number != 5:
            continue
        name, kind, shape = _tensor(content)
        used = uses.get(name, [])
        if kind not in _BITS or (used and all(use.operator in _LOOK_UP for use in used)):
            continue
        size += prod(shape) * _BITS[kind] // 8
        count = _multiply_adds(shape, used)
        if count:
            heads = vocabulary is not None and vocabulary in shape
            (scored if heads else each)[INT8 if kind in _SMALL else FP32] += count
    return Work(size, each, scored)


def _multiply_adds(shape: list[int], used: list[_Use]) -> int:
    """Of a matrix with the vector of one token; a tensor of one axis is no matrix."""
    packed = [use for use in used if use.operator == _PACKED]
    if packed:
        return packed[0].numbers["K"] * packed[0].numbers["N"] if packed[0].place == 1 else 0
    return prod(shape) if sum(length > 1 for length in shape) > 1 else 0


def _uses(node: bytes) -> Iterator[tuple[str, _Use]]:
    parts = list(fields(node))
    operator = next(content.decode() for number, content, _ in parts if number == 4)
    numbers = dict(_attribute(content) for number, content, _ in parts if number == 5)
    inputs = [content.decode() for number, content, _ in parts if number == 1]
    for place, name in enumerate(inputs):
        yield name, _Use(operator, place, numbers)


def _attribute(attribute: bytes) -> tuple[str, int]:
    parts = {number: content for number, content, _ in fields(attribute)}
    return parts[1].decode(), read_varint(parts[3], 0)[0] if 3 in parts else 0


def _tensor(tensor: bytes) -> tuple[str, int, list[int]]:
    """Name, element type, shape."""
    name, kind, shape = "", 0, []
    for number, content, _ in fields(tensor):
        match number:
            case 1:
                shape.append(read_varint(content, 0)[0])
            case 2:
                kind = read_varint(content, 0)[0]
            case 8:
                name = content.decode()
    return name, kind, shape
