"""What can go wrong at run time. Each error is also the builtin that a caller would catch.

DiptychError
├── BundleError (ValueError)             a bundle that is damaged, altered, or not one
│   └── BundleNotFoundError (FileNotFoundError)
├── EngineError (RuntimeError)           no ONNX Runtime, two that overwrite each other, or one that failed
├── ProviderError (ValueError)           an execution provider that is unknown or does not work here
├── OptionError (ValueError)             an option that is unknown or out of range
└── InputError (ValueError)              a text that cannot be processed
"""


class DiptychError(Exception):
    """The base of all errors that diptych raises on purpose; `exit_status` is what the command line ends with."""

    exit_status = 1


class BundleError(DiptychError, ValueError):
    """A bundle with a missing, damaged or altered file."""


class BundleNotFoundError(BundleError, FileNotFoundError):
    """No bundle at this path."""

    exit_status = 2


class EngineError(DiptychError, RuntimeError):
    """ONNX Runtime is not installed, or twice, or failed while running."""


class ProviderError(DiptychError, ValueError):
    """An execution provider that this machine or this ONNX Runtime does not have."""

    exit_status = 2


class OptionError(DiptychError, ValueError):
    """An option that does not exist, or a value it cannot have."""

    exit_status = 2


class InputError(DiptychError, ValueError):
    """A text that cannot be processed: empty, too long, not UTF-8, or of unknown characters only."""
