"""Rename rules as a person writes them: `[{"rename": ["^src\\.", "encoder."]}, {"ignore": "^dropout"}]`.

Each has its name as the only key, and its fields as an object, as a list in order, or, if there is one, by itself.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, get_args

from diptych.model.errors import CheckpointError, did_you_mean
from diptych.model.records import read
from diptych.model.rules import Ignore, Rename, Rule, Split, Squeeze, Transpose, Zeros

KINDS: dict[str, type[Rule]] = {kind.__name__.lower(): kind for kind in get_args(Rule)}


def read_rules(values: Sequence[Any], where: str) -> tuple[Rule, ...]:
    """Raises CheckpointError, naming the rule, for one that is unknown, incomplete, or no regular expression."""
    return tuple(_read_rule(value, f"{where}[{place}]") for place, value in enumerate(values))


def _read_rule(value: Any, where: str) -> Rule:
    if not isinstance(value, dict) or len(value) != 1:
        raise CheckpointError(f'{where}: expected an object with one key, the rule, as in {{"ignore": "^dropout"}}')
    ((name, arguments),) = value.items()
    if name not in KINDS:
        raise CheckpointError(f"{where}: no rule {name!r}{did_you_mean(name, KINDS)}; rules are {', '.join(KINDS)}")
    where = f"{where}.{name}"
    names = [field.name for field in fields(KINDS[name])]
    if not isinstance(arguments, dict):
        given = arguments if isinstance(arguments, list) else [arguments]
        if len(given) > len(names):
            raise CheckpointError(f"{where}: {len(given)} values, expected at most {len(names)}: {', '.join(names)}")
        arguments = dict(zip(names, given, strict=False))
    rule: Rule = read(KINDS[name], arguments, where)
    _check(rule, where)
    return rule


def _check(rule: Rule, where: str) -> None:
    match rule:
        case Rename(pattern, replacement):
            _check_pattern(pattern, [replacement], where)
        case Split(pattern, replacements):
            _check_pattern(pattern, replacements, where)
            if len(replacements) < 2:
                raise CheckpointError(f"{where}.replacements: {len(replacements)}, expected at least 2")
        case Transpose(pattern) | Squeeze(pattern) | Ignore(pattern):
            _check_pattern(pattern, [], where)
        case Zeros(length=length) if length < 1:
            raise CheckpointError(f"{where}.length: found {length}, expected at least 1")


def _check_pattern(pattern: str, replacements: Iterable[str], where: str) -> None:
    try:
        expression = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{where}: {pattern!r} is not a regular expression ({error})") from error
    for replacement in replacements:
        try:
            expression.sub(replacement, "")  # Reads the replacement whether or not anything matches.
        except (re.error, IndexError) as error:
            raise CheckpointError(f"{where}: {replacement!r} cannot replace {pattern!r} ({error})") from error
