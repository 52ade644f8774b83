"""Export checkpoints as bundles of ONNX graphs, proven equal to PyTorch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diptych.export.errors import ExportError, ParityError, TargetExistsError
    from diptych.export.parity.report import Report
    from diptych.export.parity.verify import verify_bundle
    from diptych.export.pipeline import export_checkpoint

__all__ = ["ExportError", "ParityError", "Report", "TargetExistsError", "export_checkpoint", "verify_bundle"]

# Imported on first use: the command line lists its commands without waiting for torch.
_HOMES = {
    "ExportError": "errors",
    "ParityError": "errors",
    "Report": "parity.report",
    "TargetExistsError": "errors",
    "export_checkpoint": "pipeline",
    "verify_bundle": "parity.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
