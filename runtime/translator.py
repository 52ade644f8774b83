"""Texts in, generated texts out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from diptych.runtime.errors import InputError
from diptych.runtime.generator import BATCH_SIZE, Generator
from diptych.runtime.strategies import Hypothesis
from diptych.runtime.tokenizer import Tokenizer

UNFINISHED_CHARACTER = "\ufffd"


@dataclass(frozen=True)
class Translation:
    """One target text; ids as generated, the ending EOS included; score as `Hypothesis`."""

    text: str
    ids: list[int]
    score: float


class Translator:
    """Texts in, texts out, by a bundle's tokenizer and graphs."""

    def __init__(self, tokenizer: Tokenizer, generator: Generator) -> None:
        self.tokenizer = tokenizer
        self.generator = generator

    @overload
    def __call__(self, texts: str, **options: Any) -> str: ...
    @overload
    def __call__(self, texts: Sequence[str], **options: Any) -> list[str]: ...
    def __call__(self, texts: str | Sequence[str], **options: Any) -> str | list[str]:
        """The best translation of a text, or of each of a list, in order.

        options: `batch_size` and those of `GenerationOptions`. Raises InputError, naming the text, for one that is
        empty, unknown to the vocabulary or too long, OptionError for a wrong option.
        """
        if isinstance(texts, str):
            return self([texts], **options)[0]
        return [hypotheses[0].text for hypotheses in self.translate(texts, **options)]

    def translate(self, texts: Sequence[str], **options: Any) -> list[list[Translation]]:
        """For each text, its `num_return_sequences` translations, best first. Raises as a call does."""
        results = self.attempt(texts, **options)
        for index, result in enumerate(results):
            if isinstance(result, InputError):
                raise InputError(f"text {index}: {result}") from result
        return [result for result in results if not isinstance(result, InputError)]

    def attempt(
        self, texts: Sequence[str], *, batch_size: int = BATCH_SIZE, **options: Any
    ) -> list[list[Translation] | InputError]:
        """As `translate`, with the error of a text that cannot be translated in its place."""
        results: list[list[Translation] | InputError] = []
        readable: dict[int, list[int]] = {}
        for index, text in enumerate(texts):
            try:
                readable[index] = self._encode(text)
                results.append([])
            except InputError as error:
                results.append(error)
        found = self.generator(list(readable.values()), batch_size=batch_size, **options)
        for index, hypotheses in zip(readable, found, strict=True):
            results[index] = [self._decode(hypothesis) for hypothesis in hypotheses]
        return results

    def stream(self, text: str, **options: Any) -> Iterator[str]:
        """Greedy search, in pieces of text as they settle; characters are never split."""
        ids: list[int] = []
        shown = ""
        for token in self.generator.stream(self._encode(text), **options):
            ids.append(token)
            current = self.tokenizer.decode(ids)
            if not current.endswith(UNFINISHED_CHARACTER) and current != shown:
                yield current[len(shown) :]
                shown = current
        rest = self.tokenizer.decode(ids)[len(shown) :]
        if rest:
            yield rest

    def _encode(self, text: str) -> list[int]:
        ids = self.tokenizer.encode(text)
        self.generator.check(ids)
        return ids

    def _decode(self, hypothesis: Hypothesis) -> Translation:
        return Translation(self.tokenizer.decode(hypothesis.ids), hypothesis.ids, hypothesis.score)
