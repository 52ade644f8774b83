"""Two texts that are read together: a tuple in Python, `a<TAB>b` in a line, `text` and `second` in JSON."""

from diptych.runtime.errors import InputError
from diptych.runtime.tasks.json_rows import SECOND, TEXT, texts_of

Pair = tuple[str, str]


def pair_from_line(line: str, first: str, second: str) -> Pair:
    """Raises InputError if the line is not two texts; first, second: what they are called."""
    texts = line.split("\t")
    if len(texts) != 2:
        raise InputError(f"expected {first}<TAB>{second}, found {len(texts) - 1 or 'no'} tabs")
    return texts[0], texts[1]


def pair_from_json(row: object) -> Pair:
    """Raises InputError if the row is not an object with `text` and `second`."""
    texts = texts_of(row, [TEXT, SECOND])
    return texts[TEXT], texts[SECOND]


def check_pair(texts: object, first: str, second: str) -> None:
    """Raises InputError for what is not two texts."""
    if not isinstance(texts, tuple | list) or len(texts) != 2:
        raise InputError(f"expected a pair ({first}, {second}), found {texts!r:.60}")
