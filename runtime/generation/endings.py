"""When a row ends: with an EOS, at its limit, or with a text that stops it."""

from collections.abc import Callable, Sequence

import numpy as np

from diptych.runtime.generation.history import PADDING, History
from diptych.runtime.graph import Array

# So many tokens may stand for one character (its bytes), and so many more are read before a text that stops.
_BYTES, _MARGIN = 4, 8

Stop = Callable[[Sequence[int], int], bool]


class Endings:
    """eos: the tokens that end a row. stop: whether a token ends the row of ids before it."""

    def __init__(self, eos: Sequence[int], stop: Stop | None = None) -> None:
        self.eos = np.array(eos, dtype=np.int64)
        self._stop = stop

    def reached(self, history: History, rows: Array | None, tokens: Array) -> Array:
        """Whether rows end with these next tokens, both of one shape; all rows if None, a token of each."""
        ends = tokens == self.eos if len(self.eos) == 1 else np.isin(tokens, self.eos)
        if history.ends_soon:
            ends |= (history.left if rows is None else history.left[rows]) <= 1
        if self._stop is not None:
            for place in zip(*np.nonzero(~ends), strict=True):
                row = history.ids[place[0] if rows is None else rows[place]]
                ends[place] = self._stop(row[row != PADDING].tolist(), int(tokens[place]))
        return np.asarray(ends)


def stop_at(strings: Sequence[str], decode: Callable[[Sequence[int]], str]) -> Stop:
    """Stops where one of the strings ends within the text of the last token, wherever it began."""
    window = _BYTES * max(map(len, strings)) + _MARGIN

    def stop(ids: Sequence[int], token: int) -> bool:
        before, after = decode(ids[-window:]), decode([*ids[-window:], token])
        known = next((place for place, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), None)
        known = min(len(before), len(after)) if known is None else known
        return any(after.find(string, max(0, known - len(string) + 1)) >= 0 for string in strings)

    return stop
