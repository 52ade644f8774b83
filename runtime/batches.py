"""Which texts are run together: those of like length, so that little is padding."""

from collections.abc import Iterator, Sequence

from diptych.runtime.errors import OptionError

BATCH_SIZE = 32


def of_like_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """The numbers of all texts, the shortest first, `batch_size` at a time. Raises OptionError if that is below 1."""
    if batch_size < 1:
        raise OptionError(f"batch_size is {batch_size}; expected at least 1")
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
