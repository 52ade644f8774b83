"""Options of tasks: fields that know their meaning and what they may be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, field, fields
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np

from diptych.runtime.errors import OptionError

T = TypeVar("T")


def whole_number(default: int | None, meaning: str, least: int = 1) -> Any:
    return _option(default, meaning, f"a whole number of at least {least}", lambda value: _is_whole(value, least))


def share(default: float | None, meaning: str) -> Any:
    return _option(default, meaning, "a number from 0 to 1", _is_share)


def one_of(default: str | None, meaning: str, choices: Sequence[str]) -> Any:
    return _option(default, f"{meaning}: {', '.join(choices)}", f"one of {', '.join(choices)}", lambda v: v in choices)


def flag(default: bool | None, meaning: str) -> Any:
    return _option(default, meaning, "true or false", lambda value: isinstance(value, bool), flag=True)


def choose(kind: type[T], values: Mapping[str, Any]) -> T:
    """The options `kind` with some of them given. Raises OptionError for one that is unknown or cannot be."""
    known = {option.name: option for option in fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"
            raise OptionError(f"unknown option {name!r}; {hint}")
        _check(known[name], value)
    return kind(**values)


def _option(default: Any, meaning: str, expected: str, check: Callable[[Any], bool], *, flag: bool = False) -> Any:
    if not flag and default is not None:
        meaning += f" ({default} unless given)"
    return field(default=default, metadata={"help": meaning, "expected": expected, "check": check, "flag": flag})


def _check(option: "Field[Any]", value: Any) -> None:
    if value is None and option.default is None:
        return
    if not option.metadata["check"](value):
        raise OptionError(f"{option.name} is {value!r}; expected {option.metadata['expected']}")


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= least


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float | np.floating) and not isinstance(value, bool) and 0 <= float(value) <= 1
