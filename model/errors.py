"""What can be wrong with a checkpoint."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that is not what its configuration says."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """No checkpoint at this path."""
