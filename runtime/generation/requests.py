"""What is to be decoded, and which of it next: those of like length together, and more as soon as there is room."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from diptych.runtime.generation.history import Begun
from diptych.runtime.memory_limit import MemoryLimit, Sizes

# Newcomers wait until one source or this share of a batch is left, and what is cached is no longer than they are: it is
# copied when they join, and padded for them (benchmarks/continuous_batching.py).
_LEFT = 0.125


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


@dataclass(frozen=True)
class Room:
    """What may run together: so many sources, so many tokens of theirs, padding included, and no more than fits."""

    batch_size: int
    batch_tokens: int | None = None
    rows_per_source: int = 1
    memory: MemoryLimit | None = None

    def has(self, requests: Sequence[Request]) -> bool:
        """Whether there is room for all of them, of which the last is the longest."""
        if len(requests) > self.batch_size:
            return False
        if self.batch_tokens is not None and len(requests) * requests[-1].length > self.batch_tokens:
            return False
        return self.memory is None or self.memory.fits(self.sizes(requests))

    def shared(self, workers: int) -> "Room":
        """What each of so many has, that run at the same time."""
        tokens = None if self.batch_tokens is None else -(-self.batch_tokens // workers)
        return replace(self, batch_size=-(-self.batch_size // workers), batch_tokens=tokens)

    def sizes(self, requests: Sequence[Request]) -> Sizes:
        return Sizes(
            len(requests),
            source=max(len(request.source) for request in requests),
            prompt=max(len(request.prompt) + len(request.begun) for request in requests),
            row=max(len(request.prompt) + request.limit for request in requests),
            rows_per_source=self.rows_per_source,
        )


def share(requests: Sequence[Request], workers: int) -> list[list[Request]]:
    """As many for each, of all lengths."""
    by_length = sorted(requests, key=lambda request: request.length)
    return [by_length[first::workers] for first in range(workers)]


class Waiting:
    """Requests that wait for their turn, the shortest first."""

    def __init__(self, requests: Iterable[Request], room: Room) -> None:
        self._waiting = deque(sorted(requests, key=lambda request: request.length))
        self._running: list[Request] = []
        self._room = room

    def __len__(self) -> int:
        return len(self._waiting)

    def may_join(self, running: int) -> bool:
        """Whether any may join so many that run."""
        return bool(self._waiting) and running <= max(1, self._room.batch_size * _LEFT)

    def take(self, running: Collection[int], cached: int) -> list[Request]:
        """Those for which there is room beside these, with so many tokens cached; one, at least, where none run."""
        if not self.may_join(len(running)) or (running and cached > self._waiting[0].length):
            return []
        # None of these is longer than what waits.
        self._running = [request for request in self._running if request.number in running]
        before = len(self._running)
        while self._waiting:
            self._running.append(self._waiting[0])
            if len(self._running) > 1 and not self._room.has(self._running):
                self._running.pop()
                break
            self._waiting.popleft()
        return self._running[before:]
