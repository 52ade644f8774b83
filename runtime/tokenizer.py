"""Text to ids and back, by the bundle's `tokenizer.json`."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.runtime.errors import BundleError, InputError
from diptych.runtime.tokens import Tokens

if TYPE_CHECKING:
    import tokenizers


class Tokenizer:
    """The `tokenizers` library without padding or truncation: neither may happen unseen."""

    def __init__(self, path: Path, unknown: int | None = None) -> None:
        """unknown: the id of text outside the vocabulary. Raises BundleError if the file is missing or damaged."""
        if not path.is_file():
            raise BundleError(
                f"{path}: missing, so this bundle reads no text; export from a folder with a tokenizer.json, "
                "or use load_generator with ids"
            )
        import tokenizers  # noqa: PLC0415  Ids need none.

        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # The library raises bare Exception.
            raise BundleError(f"{path}: not a tokenizer ({error})") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._unknown = unknown

    def encode(self, text: str) -> list[int]:
        """The ids of a text, special tokens added. Raises InputError if it has no known character."""
        return list(self._known(text).ids)

    def encode_content(self, text: str) -> list[int]:
        """As `encode`, without the special tokens."""
        return _content(self._known(text))

    def read(self, text: str, second: str | None = None) -> Tokens:
        """A text, or a pair, with the special tokens round it. Raises InputError if a text is empty.

        Characters outside the vocabulary are unknown tokens, which a model that only reads can cope with.
        """
        texts = [text] if second is None else [text, second]
        for one in texts:
            _check_text(one)
        encoding = self._tokenizer.encode(text, second)
        parts = list(encoding.sequence_ids)
        for part in range(len(texts)):
            if part not in parts:
                place = "" if second is None else ("first ", "second ")[part]
                raise InputError(f"the {place}text is empty; there is nothing to read")
        offsets = [
            (0, 0) if part is None else _trimmed(texts[part], *span)
            for part, span in zip(parts, encoding.offsets, strict=True)
        ]
        words = list(_words(texts, parts, encoding.word_ids, offsets))
        return Tokens(list(encoding.ids), list(encoding.type_ids), offsets, words, parts)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def transcribe(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens written out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def spelling(self, token: int) -> str:
        """How one token reads by itself, special or not; white space before it stays."""
        return str(self._tokenizer.decode([token], skip_special_tokens=False))

    def description(self) -> dict[str, Any]:
        """What tokenizer.json says, in the library's present format."""
        found: dict[str, Any] = json.loads(self._tokenizer.to_str())
        return found

    @property
    def marks_words(self) -> bool:
        """Whether tokens say that they continue a word, as ##ing does."""
        return bool(getattr(self._tokenizer.model, "continuing_subword_prefix", None))

    def _known(self, text: str) -> "tokenizers.Encoding":
        _check_text(text)
        encoding = self._tokenizer.encode(text)
        content = _content(encoding)
        if not content:
            raise InputError("the text is empty; there is nothing to read")
        if self._unknown in content and not self.decode([token for token in content if token != self._unknown]).strip():
            raise InputError("no part of the text is in the model's vocabulary; is it in the language the model reads?")
        return encoding


def _check_text(text: str) -> None:
    if not isinstance(text, str):
        raise InputError(f"expected a text, found {text!r:.60}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"not Unicode text: a lone surrogate at {error.start + 1}; convert the input") from error


def _content(encoding: "tokenizers.Encoding") -> list[int]:
    return [token for token, special in zip(encoding.ids, encoding.special_tokens_mask, strict=True) if not special]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Some tokenizers count the space before a word as the word's."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _words(
    texts: Sequence[str],
    parts: Sequence[int | None],
    words: Sequence[int | None],
    offsets: Sequence[tuple[int, int]],
) -> Iterator[int | None]:
    """The number of each token's word; a tokenizer that knows no words still parts them at white space."""
    number, before, end = -1, None, 0
    for part, word, (start, stop) in zip(parts, words, offsets, strict=True):
        if part is None:
            yield None
            continue
        if (part, word) != before or any(map(str.isspace, texts[part][end:start])):
            number += 1
        before, end = (part, word), stop
        yield number
