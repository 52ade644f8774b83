"""What is to be decoded, and which of it next: those of like length together, and more as soon as there is room."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from diptych.runtime.generation.history import Begun

# Newcomers wait until there is room for this share of a batch: each time some join, all that is cached is copied.
_ROOM = 4


@dataclass(frozen=True)
class Request:
    """One source: its number, what the encoder reads (nothing without one), what decoding starts with, and how far.

    begun: tokens generated already, and their log-probabilities. limit: of generated tokens, those included.
    """

    number: int
    source: Sequence[int]
    prompt: Sequence[int]
    limit: int
    begun: Begun = ()

    @property
    def length(self) -> int:
        """Of what is read before the first step."""
        return max(len(self.source), len(self.prompt) + len(self.begun))

    @property
    def total(self) -> float:
        """The log-probability of what was generated already."""
        return sum(score for _, score in self.begun)


class Waiting:
    """Requests that wait for their turn, the longest first."""

    def __init__(self, requests: Iterable[Request], batch_size: int, batch_tokens: int | None = None) -> None:
        """batch_size: most sources at a time. batch_tokens: most tokens of theirs at a time, padding included."""
        self._waiting = deque(sorted(requests, key=lambda request: -request.length))
        self._batch_size = batch_size
        self._batch_tokens = batch_tokens

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, running: int, longest: int) -> list[Request]:
        """Those for which there is room beside so many sources, the longest of which has so many tokens."""
        taken: list[Request] = []
        if running > self._batch_size * (_ROOM - 1) // _ROOM:
            return taken
        while self._waiting and running + len(taken) < self._batch_size:
            longest = max(longest, self._waiting[0].length)
            too_many = self._batch_tokens is not None and (running + len(taken) + 1) * longest > self._batch_tokens
            if too_many and running + len(taken):
                break
            taken.append(self._waiting.popleft())
        return taken
