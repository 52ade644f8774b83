"""Which texts are run together: those of like length, so that little is padding."""

from collections.abc import Iterator, Sequence

from diptych.runtime.errors import OptionError

BATCH_SIZE = 32
BATCH_TOKENS = 8192


def of_like_length(
    lengths: Sequence[int], batch_size: int = BATCH_SIZE, batch_tokens: int = BATCH_TOKENS
) -> Iterator[list[int]]:
    """The numbers of all texts, the longest first, so many at a time: texts, and tokens, padding included.

    A text longer than that is a batch of its own. Raises OptionError for a number below 1.
    """
    check_batch(batch_size, batch_tokens)
    order = sorted(range(len(lengths)), key=lambda number: -lengths[number])
    start = 0
    while start < len(order):
        room = batch_tokens // max(1, lengths[order[start]])
        stop = start + max(1, min(batch_size, room))
        yield order[start:stop]
        start = stop


def check_batch(batch_size: int, batch_tokens: int) -> None:
    """Raises OptionError for a number below 1."""
    for name, value in (("batch_size", batch_size), ("batch_tokens", batch_tokens)):
        if type(value) is not int or value < 1:
            raise OptionError(f"{name} is {value!r}; expected a whole number of at least 1")
