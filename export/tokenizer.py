"""The checkpoint's tokenizer, checked before it goes into a bundle."""

import json
from pathlib import Path

from diptych.export.errors import ExportError
from diptych.runtime import ports
from diptych.runtime.errors import BundleError
from diptych.runtime.tokenizer import Tokenizer


def read_tokenizer(checkpoint: Path) -> int | None:
    """The id that `tokenizer.json`, if there is one, gives to what it does not know, if it has one.

    Raises ExportError if the file is damaged.
    """
    path = checkpoint / ports.TOKENIZER_FILE
    if not path.is_file():
        return None
    try:
        Tokenizer(path)
    except BundleError as error:
        raise ExportError(str(error)) from error
    return _unknown_id(json.loads(path.read_text(encoding="utf-8"))["model"])


def _unknown_id(model: dict[str, object]) -> int | None:
    """Unigram models name it by id, the others by token."""
    found = model.get("unk_id")
    vocabulary = model.get("vocab")
    if found is None and isinstance(vocabulary, dict):
        found = vocabulary.get(model.get("unk_token"))
    return found if isinstance(found, int) else None
