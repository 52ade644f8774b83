"""What can go wrong while exporting."""

from diptych.runtime.errors import DiptychError


class ExportError(DiptychError, ValueError):
    """The graphs cannot be written, or are not what they should be."""


class TargetExistsError(ExportError, FileExistsError):
    """Something that must not be replaced stands where the bundle should go."""

    exit_status = 2


class ParityError(ExportError):
    """The graphs do not compute what PyTorch computes."""
