"""Two texts that are read together: a tuple in Python, `a<TAB>b` in a line."""

from diptych.runtime.errors import InputError

Pair = tuple[str, str]


def pair_from_line(line: str, first: str, second: str) -> Pair:
    """Raises InputError if the line is not two texts; first, second: what they are called."""
    texts = line.split("\t")
    if len(texts) != 2:
        raise InputError(f"expected {first}<TAB>{second}, found {len(texts) - 1 or 'no'} tabs")
    return texts[0], texts[1]


def check_pair(texts: object, first: str, second: str) -> None:
    """Raises InputError for what is not two texts."""
    if not isinstance(texts, tuple | list) or len(texts) != 2:
        raise InputError(f"expected a pair ({first}, {second}), found {texts!r:.60}")
