"""Files of texts, one a line, as options of the command name them."""

from pathlib import Path

from diptych.export.errors import ExportError


def read_lines(path: Path) -> list[str]:
    """Those that are not blank. Raises ExportError if there are none, or the file cannot be read as UTF-8."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        raise ExportError(f"{path}: not UTF-8 at byte {error.start + 1}; convert it") from error
    except OSError as error:
        raise ExportError(f"{path}: cannot be read: {error.strerror}") from error
    if not lines:
        raise ExportError(f"{path}: no text in it; expected one a line")
    return lines
