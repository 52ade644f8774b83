"""Tables that a graph takes rows of by an input, as embeddings are: where they lie in the file of weights."""

from collections.abc import Iterator
from dataclasses import dataclass

from diptych.runtime import ports
from diptych.runtime.onnx_bytes import fields, read_varint

# Of a ModelProto its graph; of that its nodes and initializers; of a node its inputs and operator; of an initializer
# its shape, name, and where its data is, as entries of a key and a value.
_GRAPH = 7
_NODE, _INITIALIZER = 1, 5
_INPUT, _OPERATOR = 1, 4
_DIMS, _NAME, _EXTERNAL = 1, 8, 13
_OPERATORS = (b"Gather", b"GatherBlockQuantized")


@dataclass(frozen=True, order=True)
class Table:
    """Bytes: where it begins, and of one row. rows: how many."""

    offset: int
    row: int
    rows: int


def tables(model: bytes, index: str) -> tuple[Table, ...]:
    """Those in the file of weights that a ModelProto takes rows of by its input `index`, in the file's order."""
    graph = next((content for number, content, _ in fields(model) if number == _GRAPH), b"")
    parts = [(number, content) for number, content, _ in fields(graph)]
    taken = {name for number, content in parts if number == _NODE for name in _taken(content, index.encode())}
    found = (_table(content, taken) for number, content in parts if number == _INITIALIZER)
    return tuple(sorted({table for table in found if table is not None}))


def _taken(node: bytes, index: bytes) -> Iterator[bytes]:
    """What a node takes rows of: of data, by an index; and of scales, where data are in few bits."""
    if b"Gather" not in node:
        return
    parts = list(fields(node))
    if any(number == _OPERATOR and content in _OPERATORS for number, content, _ in parts):
        data, by, *scales = (content for number, content, _ in parts if number == _INPUT)
        if by == index:
            yield from (data, *scales)


def _table(tensor: bytes, names: set[bytes]) -> Table | None:
    parts = list(fields(tensor))
    if not any(number == _NAME and content in names for number, content, _ in parts):
        return None
    entries = dict([content for _, content, _ in fields(part)] for number, part, _ in parts if number == _EXTERNAL)
    rows = next((read_varint(content, 0)[0] for number, content, _ in parts if number == _DIMS), 0)
    length = int(entries.get(b"length", 0))
    if entries.get(b"location") != ports.WEIGHTS_FILE.encode() or not rows or not length:
        return None
    return Table(int(entries.get(b"offset", 0)), length // rows, rows)
