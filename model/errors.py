"""What can be wrong with a checkpoint, and how one says it."""

from collections.abc import Iterable
from difflib import get_close_matches


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that is not what its configuration says."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """No checkpoint at this path."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known name nearest to one that is not, as a question in brackets; nothing if none is near."""
    spelled = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), spelled, n=1, cutoff=0.75)
    return f" (did you mean {spelled[near[0]]!r}?)" if near else ""
