"""Options of tasks, read from what a call gives."""

from collections.abc import Mapping
from typing import Any, TypeVar

from diptych.runtime.option_fields import check_fields, read_values

T = TypeVar("T")


def choose(kind: type[T], values: Mapping[str, Any]) -> T:
    """The options `kind` with some of them given. Raises OptionError for one that is unknown or cannot be."""
    chosen = kind(**read_values(kind, values))
    check_fields(chosen)
    return chosen
