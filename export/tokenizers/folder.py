"""The tokenizer files of a checkpoint's folder, remembered as they are read."""

import json
from pathlib import Path
from typing import Any

from diptych.export.errors import ExportError


class Folder:
    """A folder and those of its files that were asked for, in that order."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read: list[Path] = []

    def has(self, name: str) -> bool:
        return (self.path / name).is_file()

    def file(self, name: str) -> Path:
        """Raises ExportError if it is missing."""
        path = self.path / name
        if not path.is_file():
            raise ExportError(f"{path}: missing; this checkpoint's tokenizer needs it beside the others")
        if path not in self.read:
            self.read.append(path)
        return path

    def json(self, name: str) -> dict[str, Any]:
        """A file's JSON object. Raises ExportError if it is missing, damaged or not an object."""
        path = self.file(name)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:  # Neither Unicode nor JSON errors are anything else.
            raise ExportError(f"{path}: not JSON ({error}); is the file complete?") from error
        if not isinstance(found, dict):
            raise ExportError(f"{path}: a JSON {type(found).__name__}, expected an object")
        return found

    def optional(self, name: str) -> dict[str, Any]:
        """As `json`, but a missing file is an empty object."""
        return self.json(name) if self.has(name) else {}

    def ids(self, name: str) -> dict[str, int]:
        """A JSON file's tokens and their ids. Raises ExportError if an id is no number, or is that of two tokens."""
        path = self.path / name
        ids = self.json(name)
        for token, found in ids.items():
            if not isinstance(found, int) or isinstance(found, bool) or found < 0:
                raise ExportError(f"{path}: {token!r} has the id {found!r}, expected a number from 0 up")
        if len(set(ids.values())) < len(ids):
            raise ExportError(f"{path}: {len(ids)} tokens share {len(set(ids.values()))} ids, expected one id each")
        return ids

    def vocabulary(self, name: str) -> dict[str, int]:
        """As `ids`, of all tokens. Raises ExportError also if too many ids have no token."""
        ids = self.ids(name)
        if not ids or max(ids.values()) > 2 * len(ids) + 1000:
            raise ExportError(
                f"{self.path / name}: {len(ids)} tokens with ids up to {max(ids.values(), default=0)}; is it complete?"
            )
        return ids
