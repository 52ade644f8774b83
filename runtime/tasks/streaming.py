"""Text in pieces, as its tokens settle: whole characters only."""

import re
from collections.abc import Callable, Iterable, Iterator

UNFINISHED_CHARACTER = "\ufffd"
# Some tokenizers take out the space before "n't", "'ve" and the like, once these are whole.
_UNSETTLED = re.compile(" (n'?|'[vr]?)$")


def pieces(tokens: Iterable[int], read: Callable[[list[int]], str]) -> Iterator[str]:
    """read: the text of the tokens so far. What a token may still change is held back until it cannot."""
    ids: list[int] = []
    shown = ""
    for token in tokens:
        ids.append(token)
        current = _UNSETTLED.sub("", read(ids))
        if not current.endswith(UNFINISHED_CHARACTER) and current != shown:
            yield current[len(shown) :]
            shown = current
    rest = read(ids)[len(shown) :]
    if rest:
        yield rest
