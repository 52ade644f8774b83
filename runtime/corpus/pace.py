"""How far a job is, and how fast."""

from collections.abc import Callable
from datetime import timedelta
from time import monotonic


class Pace:
    """Counts lines, and bytes of input, of which the total may be known.

    What earlier runs did counts as done and not as speed.
    """

    def __init__(
        self, total: int | None, show: Callable[[int, str], None], clock: Callable[[], float] = monotonic
    ) -> None:
        """show: is told the bytes done, and in words where the job is."""
        self.lines = 0
        self._total = total
        self._show = show
        self._clock = clock
        self._bytes = 0
        self._start = clock()
        self._skipped = (0, 0)

    def skip(self, lines: int, size: int) -> None:
        self._count(lines, size)
        self._skipped = self.lines, self._bytes
        self._start = self._clock()
        self._show(self._bytes, f"{self.lines:,} lines")

    def work(self, lines: int, size: int) -> None:
        self._count(lines, size)
        self._show(self._bytes, self.told)

    @property
    def seconds(self) -> float:
        """Of work."""
        return self._clock() - self._start

    @property
    def told(self) -> str:
        """Lines done; lines a second; time left, where that can be known."""
        seconds = max(self.seconds, 1e-9)
        lines, size = self.lines - self._skipped[0], self._bytes - self._skipped[1]
        parts = [f"{self.lines:,} lines", f"{lines / seconds:,.{1 if lines < 10 * seconds else 0}f} lines/s"]
        if self._total is not None and size:
            left = max(self._total - self._bytes, 0) * seconds / size
            parts.append(f"{timedelta(seconds=round(left))} left")
        return ", ".join(parts)

    def _count(self, lines: int, size: int) -> None:
        self.lines += lines
        self._bytes += size
