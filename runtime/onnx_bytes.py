"""ONNX models as bytes, written and edited without the `onnx` package: https://protobuf.dev/programming-guides/encoding.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_IR_VERSION, _OPSET = 10, 20
# By numpy's names.
ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "float16": 10, "float64": 11}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Node:
    """A node of the standard operators. attributes: integers by name."""

    operator: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    attributes: dict[str, int]


@dataclass(frozen=True)
class Value:
    """An input or output, of so many axes, each of any size."""

    name: str
    dtype: np.dtype[np.generic]
    rank: int


def model(nodes: Sequence[Node], inputs: Sequence[Value], outputs: Sequence[Value]) -> bytes:
    """A ModelProto of these nodes, in order."""
    graph = b"".join(
        [
            *(_field(1, _node(node)) for node in nodes),
            _field(2, b"graph"),
            *(_field(11, _value(value)) for value in inputs),
            *(_field(12, _value(value)) for value in outputs),
        ]
    )
    opset = _field(1, b"") + _field(2, _OPSET)
    return _field(1, _IR_VERSION) + _field(7, graph) + _field(8, opset)


def without_defaults(data: bytes) -> bytes:
    """A ModelProto whose inputs must all be fed: those that initializers give a default lose it."""
    return b"".join(
        _field(7, _without_defaults(content)) if number == 7 else whole for number, content, whole in fields(data)
    )


def _without_defaults(graph: bytes) -> bytes:
    parts = list(fields(graph))
    inputs = {_text(content, 1) for number, content, _ in parts if number == 11}
    return b"".join(whole for number, content, whole in parts if number != 5 or _text(content, 8) not in inputs)


def _text(message: bytes, wanted: int) -> bytes:
    return next((content for number, content, _ in fields(message) if number == wanted), b"")


def _node(node: Node) -> bytes:
    attributes = (
        _field(5, _field(1, name.encode()) + _field(3, value) + _field(20, 2))
        for name, value in node.attributes.items()
    )
    names = [
        *(_field(1, name.encode()) for name in node.inputs),
        *(_field(2, name.encode()) for name in node.outputs),
    ]
    return b"".join([*names, _field(4, node.operator.encode()), *attributes])


def _value(value: Value) -> bytes:
    shape = _field(1, b"") * value.rank
    tensor = _field(1, ELEMENT_TYPES[value.dtype.name]) + _field(2, shape)
    return _field(1, value.name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; a set top bit says that more follow. Negative numbers are 64-bit."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def fields(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, content and the whole of each field, in order. Raises ValueError where the bytes are none."""
    place = 0
    while place < len(data):
        begin = place
        tag, place = read_varint(data, place)
        match tag & 7:
            case 0:  # _VARINT
                _, end = read_varint(data, place)
            case 1:  # _FIXED64
                end = place + 8
            case 2:  # _BYTES
                length, place = read_varint(data, place)
                end = place + length
            case 5:  # _FIXED32
                end = place + 4
            case kind:
                raise ValueError(f"no protobuf message: field of type {kind} at byte {begin}")
        if end > len(data):
            raise ValueError(f"a truncated protobuf message: the field at byte {begin} ends after the last")
        yield tag >> 3, data[place:end], data[begin:end]
        place = end


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """The number and where it ends."""
    value = shift = 0
    while place < len(data):
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise ValueError(f"a truncated protobuf message: {len(data)} bytes end within a number")
