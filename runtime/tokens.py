"""A text as the tokens a model reads, each of which knows where in the text it stands."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Tokens:
    """A text, or a pair, with the special tokens round it; every list has one entry for each token.

    types: token type ids. offsets: the characters [start, end) it stands for, without the white space round them.
    words: numbers of the words that tokens are parts of. parts: 0 for the text, 1 for the second of a pair, None for a
    special token. skipped: of a window, the tokens of its text that come before it.
    """

    ids: list[int]
    types: list[int]
    offsets: list[tuple[int, int]]
    words: list[int | None]
    parts: list[int | None]
    skipped: int = 0

    def places(self, part: int) -> range:
        """Where the tokens of a part stand: side by side, special tokens left out."""
        count = self.parts.count(part)
        first = self.parts.index(part) if count else 0
        return range(first, first + count)

    def cut(self, longest: int) -> "Tokens":
        """The text's first tokens, so many that all, special tokens included, are at most `longest`."""
        if len(self.ids) <= longest:
            return self
        return self._window(0, 0, max(longest - self._others(0), 0))

    def windows(self, part: int, longest: int | None, overlap: int) -> list["Tokens"]:
        """Windows of at most `longest` tokens over one part, all others in each.

        Neighbours share `overlap` tokens of it, at most half of what they have; the last one ends where the part does.
        """
        length = len(self.places(part))
        room = length if longest is None else max(longest - self._others(part), 1)
        if length <= room:
            return [self]
        starts = [*range(0, length - room, room - min(overlap, room // 2)), length - room]
        return [self._window(part, start, start + room) for start in starts]

    def _others(self, part: int) -> int:
        return len(self.ids) - len(self.places(part))

    def _window(self, part: int, start: int, stop: int) -> "Tokens":
        all_of_it = self.places(part)
        places = [*range(all_of_it.start), *all_of_it[start:stop], *range(all_of_it.stop, len(self.ids))]
        return replace(
            self,
            ids=_at(self.ids, places),
            types=_at(self.types, places),
            offsets=_at(self.offsets, places),
            words=_at(self.words, places),
            parts=_at(self.parts, places),
            skipped=start,
        )


def _at(values: Sequence[T], places: Sequence[int]) -> list[T]:
    return [values[place] for place in places]
