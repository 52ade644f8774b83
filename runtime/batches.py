"""Which texts are run together: those of like length, so that little is padding."""

from collections.abc import Callable, Iterator, Sequence

from diptych.runtime.errors import OptionError

BATCH_SIZE = 32
BATCH_TOKENS = 8192
# What a layer makes of more, a core's cache does not hold; of fewer, reading the weights takes long
# (docs/performance-notes.md).
TOKENS_OF_A_CORE = 256


def of_like_length(
    lengths: Sequence[int],
    batch_size: int = BATCH_SIZE,
    batch_tokens: int = BATCH_TOKENS,
    fits: Callable[[int, int], bool] = lambda texts, tokens: True,
) -> Iterator[list[int]]:
    """The numbers of all texts, the shortest first, so many at a time: texts, and tokens, padding included.

    fits: whether so many texts of so many tokens each do. A text is a batch of its own where no two fit. Raises
    OptionError for a number below 1.
    """
    check_batch(batch_size, batch_tokens)
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        count, longest = len(batch) + 1, lengths[number]
        if batch and (count > batch_size or count * longest > batch_tokens or not fits(count, longest)):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def check_batch(batch_size: int, batch_tokens: int) -> None:
    """Raises OptionError for a number below 1."""
    for name, value in (("batch_size", batch_size), ("batch_tokens", batch_tokens)):
        if type(value) is not int or value < 1:
            raise OptionError(f"{name} is {value!r}; expected a whole number of at least 1")
