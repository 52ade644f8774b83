"""Records from JSON: an object with a record's fields; where several records may stand, `"type"` names one.

Driven by the type hints of the dataclasses: a new record, or a new field, can be written at once.
"""

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from diptych.model.errors import CheckpointError, did_you_mean

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", NoneType: "null"}
_MOST = 10_000  # A slip of the finger must not fill the memory.


def read(kind: Any, value: Any, where: str) -> Any:
    """`value`, of a JSON file, as a `kind`: a record, a plain type, a literal, a tuple of these, or a union.

    where: the file and the place in it, for messages. Raises CheckpointError for an unknown or missing field, a value
    of another type, and a number that is not finite.
    """
    kinds = _alternatives(kind)
    records = {each.__name__: each for each in kinds if isinstance(each, type) and is_dataclass(each)}
    if value is None and NoneType in kinds:
        return None
    if records:
        return _record(records, value, where)
    (only,) = (each for each in kinds if each is not NoneType)
    if get_origin(only) is tuple:
        if not isinstance(value, list) and not _is_repeated(value):
            _fail(where, value, only)
        return tuple(_items(get_args(only)[0], value, where))
    return _plain(only, value, where)


def describe(kind: Any) -> str:
    """A type as one says it in a message to someone who writes JSON."""
    kinds = _alternatives(kind)
    if len(kinds) > 1:
        return _either(map(describe, kinds))
    if get_origin(kind) is Literal:
        return _either(map(json.dumps, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"a list, each {describe(get_args(kind)[0])}"
    return _WORDS.get(kind) or str(kind.__name__)


def _either(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (UnionType, Union) else (kind,)


def _record(kinds: Mapping[str, Any], value: Any, where: str) -> Any:
    """One of `kinds`; its name alone is the record with nothing but defaults."""
    if isinstance(value, str) and len(kinds) > 1:
        value = {"type": value}
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: found {_shown(value)}, expected an object: {_either(kinds)}")
    values = dict(value)
    name = values.pop("type", next(iter(kinds)) if len(kinds) == 1 else None)
    if name not in list(kinds):
        hint = did_you_mean(name, kinds) if isinstance(name, str) else ""
        found = f"is {_shown(name)}{hint}" if "type" in value else "is missing"
        raise CheckpointError(f'{where}: "type" {found}; expected one of {", ".join(kinds)}')
    kind = kinds[name]
    hints = get_type_hints(kind)
    for key in values:
        if key not in hints:
            known = ", ".join(hints)
            raise CheckpointError(f"{where}: {name} has no field {key!r}{did_you_mean(key, hints)}; it has {known}")
    missing = [field.name for field in fields(kind) if field.default is MISSING and field.name not in values]
    if missing:
        expected = ", ".join(f"{key!r} ({describe(hints[key])})" for key in missing)
        raise CheckpointError(f"{where}: a field of {name} is missing; expected {expected}")
    return kind(**{key: read(hints[key], each, f"{where}.{key}") for key, each in values.items()})


def _items(kind: Any, value: Any, where: str) -> list[Any]:
    """The items of a list, any of which may be written once for several."""
    if isinstance(value, list):
        return [item for place, each in enumerate(value) for item in _items(kind, each, f"{where}[{place}]")]
    if _is_repeated(value):
        count = value.get("count")
        if value.keys() != {"count", "of"} or type(count) is not int or not 1 <= count <= _MOST:
            expected = f'{{"count": …, "of": …}}: a number from 1 to {_MOST}, and {describe(kind)} or a list of such'
            raise CheckpointError(f"{where}: found {_shown(value)}, expected {expected}")
        return count * _items(kind, value["of"], f"{where}.of")
    return [read(kind, value, where)]


def _is_repeated(value: Any) -> bool:
    return isinstance(value, dict) and not value.keys().isdisjoint(("count", "of"))


def _plain(kind: Any, value: Any, where: str) -> Any:
    if kind is float and type(value) is int:
        with suppress(OverflowError):
            value = float(value)
    if get_origin(kind) is Literal:
        fits = (type(value), value) in [(type(each), each) for each in get_args(kind)]
    else:
        fits = type(value) is kind and (kind is not float or math.isfinite(value))
    if not fits:
        _fail(where, value, kind)
    return value


def _fail(where: str, value: Any, kind: Any) -> NoReturn:
    words = [each for each in get_args(kind) if isinstance(each, str)]
    hint = did_you_mean(value, words) if isinstance(value, str) else ""
    raise CheckpointError(f"{where}: found {_shown(value)}{hint}, expected {describe(kind)}")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"
