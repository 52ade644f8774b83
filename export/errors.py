"""What can go wrong while exporting."""

from collections.abc import Iterator
from contextlib import contextmanager

from diptych.model.errors import CheckpointError, CheckpointNotFoundError
from diptych.runtime.errors import DiptychError


class ExportError(DiptychError, ValueError):
    """The graphs cannot be written, or are not what they should be."""


class TargetExistsError(ExportError, FileExistsError):
    """Something that must not be replaced stands where the bundle should go."""

    exit_status = 2


class ParityError(ExportError):
    """The graphs do not compute what PyTorch computes."""


@contextmanager
def told_as_export_errors() -> Iterator[None]:
    """The command line knows what to tell of its own errors; of a checkpoint's too, in the export's name."""
    try:
        yield
    except CheckpointError as error:
        failure = ExportError(str(error))
        failure.exit_status = 2 if isinstance(error, CheckpointNotFoundError) else 1
        raise failure from error
