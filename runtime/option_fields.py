"""Options as fields of a dataclass that know their meaning, what they may be, and how to read them from JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, field, fields
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, Literal

from diptych.runtime.errors import OptionError

Check = Callable[[Any], bool]
Kind = Literal["flag", "text", "file", "json"]


def whole_number(default: int | None, meaning: str, least: int = 0, most: int | None = None) -> Any:
    expected = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"
    return choice(default, meaning, expected, lambda v: _is_whole(v) and least <= v and (most is None or v <= most))


def number(default: float | None, meaning: str, least: float, most: float, *, above: bool = False) -> Any:
    """A number from `least`, or above it, to `most`."""
    expected = f"a number above {least:g}, at most {most:g}" if above else f"a number from {least:g} to {most:g}"
    return choice(
        default, meaning, expected, lambda v: is_number(v) and least <= v <= most and (not above or v > least)
    )


def share(default: float | None, meaning: str) -> Any:
    return number(default, meaning, 0, 1)


def one_of(default: str | None, meaning: str, choices: Sequence[str]) -> Any:
    return choice(default, f"{meaning}: {', '.join(choices)}", f"one of {', '.join(choices)}", lambda v: v in choices)


def flag(default: bool | None, meaning: str) -> Any:
    return choice(default, meaning, "true or false", lambda v: isinstance(v, bool), kind="flag")


def text(meaning: str, kind: Kind = "text") -> Any:
    return choice(None, meaning, "a text", lambda v: isinstance(v, str) and v != "", kind=kind)


def texts(meaning: str) -> Any:
    """A list of texts, or one."""
    return choice(
        (),
        meaning,
        "texts, none of them empty",
        lambda v: _all(v, lambda one: isinstance(one, str) and one != ""),
        _listed,
    )


def ids(meaning: str, default: tuple[int, ...] | None = ()) -> Any:
    """A list of token ids, or one."""
    return choice(default, meaning, "ids, whole numbers from 0", lambda v: _all(v, is_id), _listed)


def sequences(meaning: str) -> Any:
    """A list of lists of ids, none of them empty."""
    return choice((), meaning, "a list of non-empty lists of ids", lambda v: _all(v, _is_sequence), _nested)


def choice(
    default: Any,
    meaning: str,
    expected: str,
    check: Check,
    read: Callable[[Any], Any] | None = None,
    *,
    kind: Kind = "json",
) -> Any:
    """Whatever the kinds above are not. kind: how a command line reads it."""
    metadata = {"help": meaning, "expected": expected, "check": check, "read": read or _plain, "kind": kind}
    return field(default=default, metadata=metadata)


def check_fields(record: Any) -> None:
    """Raises OptionError for a field that is not what it may be."""
    for option in fields(record):
        value = getattr(record, option.name)
        if value is None and option.default is None:
            continue
        if not option.metadata["check"](value):
            raise OptionError(f"{option.name} is {value!r:.200}; expected {option.metadata['expected']}")


def read_values(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-like values as the fields of `kind` want them: lists become tuples, numpy's numbers Python's.

    Raises OptionError for an unknown option, with the nearest known one.
    """
    known = {option.name: option for option in fields(kind)}
    for name in values:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"
            raise OptionError(f"unknown option {name!r}; {hint}")
    return {name: _read(known[name], value) for name, value in values.items()}


def _read(option: "Field[Any]", value: Any) -> Any:
    if value is None:
        return option.default if isinstance(option.default, tuple) else None
    try:
        return option.metadata["read"](value)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{option.name} is {value!r:.200}; expected {option.metadata['expected']}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _listed(value: Any) -> Any:
    return tuple(_plain(one) for one in value) if isinstance(value, list | tuple) else (_plain(value),)


def _nested(value: Any) -> Any:
    return (
        tuple(_listed(one) if isinstance(one, list | tuple) else one for one in value)
        if isinstance(value, list | tuple)
        else value
    )


def _all(value: Any, check: Check) -> bool:
    return isinstance(value, tuple) and all(map(check, value))


def _is_sequence(value: Any) -> bool:
    return bool(value) and _all(value, is_id)


def is_id(value: Any) -> bool:
    return _is_whole(value) and value >= 0


def _is_whole(value: Any) -> bool:
    return type(value) is int


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
