"""Text to ids and back, by the bundle's `tokenizer.json`."""

from collections.abc import Sequence
from pathlib import Path

import tokenizers

from diptych.runtime.errors import BundleError, InputError


class Tokenizer:
    """The `tokenizers` library without padding or truncation: neither may happen unseen."""

    def __init__(self, path: Path, unknown: int | None = None) -> None:
        """unknown: the id of text outside the vocabulary. Raises BundleError if the file is missing or damaged."""
        if not path.is_file():
            raise BundleError(
                f"{path}: missing, so this bundle reads no text; export from a folder with a tokenizer.json, "
                "or use load_generator with ids"
            )
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # The library raises bare Exception.
            raise BundleError(f"{path}: not a tokenizer ({error})") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._unknown = unknown

    def encode(self, text: str) -> list[int]:
        """The ids of a text, special tokens added. Raises InputError if it has no known character."""
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(f"not Unicode text: a lone surrogate at {error.start + 1}; convert the input") from error
        encoding = self._tokenizer.encode(text)
        content = [i for i, special in zip(encoding.ids, encoding.special_tokens_mask, strict=True) if not special]
        if not content:
            raise InputError("the text is empty; there is nothing to translate")
        if self._unknown in content and not self.decode([token for token in content if token != self._unknown]):
            raise InputError("no part of the text is in the model's vocabulary; is it in the language the model reads?")
        return list(encoding.ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True)).strip()
