"""Rows of JSON lines: a string, or an object of texts."""

from collections.abc import Sequence

from diptych.runtime.errors import InputError

TEXT, SECOND, TARGET_PREFIX = "text", "second", "target_prefix"


def texts_of(row: object, keys: Sequence[str], optional: Sequence[str] = ()) -> dict[str, str]:
    """The texts of a row by their keys, which a string is the first of; those of `optional` may be missing or null.

    Raises InputError for a row that is neither, and for a key that is unknown, missing, or no text.
    """
    if isinstance(row, str):
        row = {keys[0]: row}
    wanted = f"expected {' and '.join(keys)}"
    if not isinstance(row, dict):
        raise InputError(f"{wanted} in an object, found {row!r:.60}")
    unknown = [name for name in row if name not in (*keys, *optional)]
    if unknown:
        known = ", ".join([*keys, *optional])
        raise InputError(f"unknown key {', '.join(map(repr, unknown))[:60]}; known are {known}")
    missing = [name for name in keys if name not in row]
    if missing:
        raise InputError(f"{wanted}, found no {' and no '.join(missing)}")
    texts = {name: text for name, text in row.items() if text is not None or name in keys}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise InputError(f"{name} is {text!r:.60}, expected a text")
    return texts
