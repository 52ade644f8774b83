"""JSON schemas at random, such that every text of theirs is short."""

from collections.abc import Callable
from typing import Any

import numpy as np

Schema = dict[str, Any]
NAMES = ["id", "name", "größe", "a b", "x-1", "tags", "日付"]
VALUES = [
    None,
    True,
    False,
    0,
    -7,
    12,
    2.5,
    "",
    "red",
    "vert",
    "naïve 😀",
    'quoted "',
    "back\\slash",
    [1, "a"],
    {"k": None},
]
PATTERNS = ["^[a-z]{1,4}$", "^[A-Z][0-9]{2}$", "^(ja|nein)$", "^é+!$", "^[0-9]{4}-[01][0-9]$"]


def random_schema(rng: np.random.Generator) -> Schema:
    """Draft 2020-12; nested at most three deep."""
    return {**_any(rng, 3), "$defs": {"shared": _any(rng, 0)}}


def _any(rng: np.random.Generator, depth: int) -> Schema:
    kinds: list[Callable[[np.random.Generator, int], Schema]] = [_enum, _const, _integer, _number, _string, _pattern]
    kinds += [_plain, _format]
    if depth:
        kinds += [_object, _object, _object, _array, _array, _tuple, _any_of, _types, _ref]
    return kinds[rng.integers(len(kinds))](rng, depth - 1)


def _some(rng: np.random.Generator, values: list[Any], most: int) -> list[Any]:
    return [values[place] for place in rng.permutation(len(values))[: rng.integers(1, most + 1)]]


def _enum(rng: np.random.Generator, depth: int) -> Schema:
    return {"enum": _some(rng, VALUES, 5)}


def _const(rng: np.random.Generator, depth: int) -> Schema:
    return {"const": _some(rng, VALUES, 1)[0]}


def _integer(rng: np.random.Generator, depth: int) -> Schema:
    least = int(rng.integers(-200, 200))
    bounds: Schema = {"type": "integer", "minimum": least, "maximum": least + int(rng.integers(10, 500))}
    if rng.random() < 0.3:
        bounds["multipleOf"] = int(rng.integers(2, 5))
    if rng.random() < 0.3:
        bounds["exclusiveMinimum"] = bounds.pop("minimum")
    return bounds


def _number(rng: np.random.Generator, depth: int) -> Schema:
    least = int(rng.integers(-20, 20))
    return {"type": "number", "minimum": least, "exclusiveMaximum": least + 2, "multipleOf": 0.25}


def _string(rng: np.random.Generator, depth: int) -> Schema:
    least = int(rng.integers(0, 4))
    return {"type": "string", "minLength": least, "maxLength": least + int(rng.integers(0, 6))}


def _pattern(rng: np.random.Generator, depth: int) -> Schema:
    return {"type": "string", "pattern": PATTERNS[rng.integers(len(PATTERNS))]}


def _format(rng: np.random.Generator, depth: int) -> Schema:
    return {"type": "string", "format": ["date", "ipv4", "uuid"][rng.integers(3)]}


def _plain(rng: np.random.Generator, depth: int) -> Schema:
    return {"type": ["null", "boolean"][rng.integers(2)]}


def _object(rng: np.random.Generator, depth: int) -> Schema:
    names = _some(rng, NAMES, 4)
    schema: Schema = {
        "type": "object",
        "properties": {name: _any(rng, depth) for name in names},
        "required": [name for name in names if rng.random() < 0.6],
        "additionalProperties": False,
    }
    if rng.random() < 0.2:
        schema["description"] = "what it is for"
    return schema


def _array(rng: np.random.Generator, depth: int) -> Schema:
    least = int(rng.integers(0, 3))
    return {
        "type": "array",
        "items": _any(rng, min(depth, 1)),
        "minItems": least,
        "maxItems": least + int(rng.integers(0, 3)),
    }


def _tuple(rng: np.random.Generator, depth: int) -> Schema:
    members = [_any(rng, min(depth, 1)) for _ in range(rng.integers(1, 4))]
    return {"type": "array", "prefixItems": members, "items": False, "minItems": len(members)}


def _any_of(rng: np.random.Generator, depth: int) -> Schema:
    return {"anyOf": [_any(rng, depth) for _ in range(rng.integers(2, 4))]}


def _types(rng: np.random.Generator, depth: int) -> Schema:
    return {"type": ["string", "null", "boolean"], "maxLength": int(rng.integers(0, 5))}


def _ref(rng: np.random.Generator, depth: int) -> Schema:
    return {"type": "array", "items": {"$ref": "#/$defs/shared"}, "maxItems": 2}
