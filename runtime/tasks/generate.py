"""translate, summarise, generate: texts in, generated texts out."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Self, overload

from diptych.runtime import ports
from diptych.runtime.batches import BATCH_SIZE
from diptych.runtime.bundle import Bundle
from diptych.runtime.errors import InputError, OptionError
from diptych.runtime.generator import Generator
from diptych.runtime.options import GenerationOptions
from diptych.runtime.providers import SessionSettings
from diptych.runtime.strategies import Hypothesis
from diptych.runtime.tokenizer import Tokenizer

UNFINISHED_CHARACTER = "\ufffd"
# Some tokenizers take out the space before "n't", "'ve" and the like, once these are whole.
_UNSETTLED = re.compile(" (n'?|'[vr]?)$")
_DOING = {"translate": "translating", "summarise": "summarising", "generate": "generating"}


@dataclass(frozen=True)
class TextOptions(GenerationOptions):
    """How to decode, and from which language to which."""

    source_lang: str | None = field(default=None, metadata={"help": "the source's language, as the model spells it"})
    target_lang: str | None = field(default=None, metadata={"help": "the target's language, as the model spells it"})


@dataclass(frozen=True)
class GeneratedText:
    """One text; ids as generated, without the prompt, the ending EOS included; score as `Hypothesis`."""

    text: str
    ids: list[int]
    score: float


class TextGenerator:
    """Texts in, texts out, by a bundle's tokenizers and graphs.

    A model with an encoder answers the text; one without continues it, and gives the continuation.
    """

    options: ClassVar[type[Any]] = TextOptions

    def __init__(self, tokenizer: Tokenizer, generator: Generator, target_tokenizer: Tokenizer | None = None) -> None:
        self.tokenizer = tokenizer
        self.target_tokenizer = target_tokenizer or tokenizer
        self.generator = generator
        self.languages = generator.manifest.languages
        self._told_first = "forced_bos_token_id" in generator.manifest.generation

    @classmethod
    def open(cls, bundle: Bundle, settings: SessionSettings) -> Self:
        """Raises BundleError or ProviderError if the bundle's graphs cannot be run for this."""
        tokenizer = Tokenizer(bundle.folder / ports.TOKENIZER_FILE, bundle.manifest.tokens.unknown)
        has_own = ports.TARGET_TOKENIZER_FILE in bundle.manifest.files
        target_tokenizer = Tokenizer(bundle.folder / ports.TARGET_TOKENIZER_FILE) if has_own else None
        return cls(tokenizer, Generator(bundle.decoder(settings), bundle.manifest), target_tokenizer)

    @overload
    def __call__(self, texts: str, **options: Any) -> str: ...
    @overload
    def __call__(self, texts: Sequence[str], **options: Any) -> list[str]: ...
    def __call__(self, texts: str | Sequence[str], **options: Any) -> str | list[str]:
        """The best text for a text, or for each of a list, in order.

        options: `batch_size`, `source_lang`, `target_lang`, and those of `GenerationOptions`. Raises InputError, naming
        the text, for one that is empty, unknown to the vocabulary or too long, OptionError for a wrong option.
        """
        if isinstance(texts, str):
            return self([texts], **options)[0]
        return [found[0].text for found in self.hypotheses(texts, **options)]

    def hypotheses(self, texts: Sequence[str], **options: Any) -> list[list[GeneratedText]]:
        """For each text, its `num_return_sequences` results, best first. Raises as a call does."""
        results = self.attempt(texts, **options)
        for index, result in enumerate(results):
            if isinstance(result, InputError):
                raise InputError(f"text {index}: {result}") from result
        return [result for result in results if not isinstance(result, InputError)]

    def attempt(
        self, texts: Sequence[str], *, batch_size: int = BATCH_SIZE, **options: Any
    ) -> list[list[GeneratedText] | InputError]:
        """As `hypotheses`, with the error of a text that cannot be read in its place."""
        source_lang, target_lang, chosen = self._split(options)
        results: list[list[GeneratedText] | InputError] = []
        readable: dict[int, list[int]] = {}
        for index, text in enumerate(texts):
            try:
                readable[index] = self._encode(text, source_lang, target_lang, chosen)
                results.append([])
            except InputError as error:
                results.append(error)
        found = self.generator(list(readable.values()), batch_size=batch_size, **chosen)
        for index, hypotheses in zip(readable, found, strict=True):
            results[index] = [self._decode(readable[index], hypothesis) for hypothesis in hypotheses]
        return results

    def stream(self, text: str, **options: Any) -> Iterator[str]:
        """Greedy search, in pieces of text as they settle; characters are never split."""
        source_lang, target_lang, chosen = self._split(options)
        source = self._encode(text, source_lang, target_lang, chosen)
        ids: list[int] = []
        shown = ""
        for token in self.generator.stream(source, **chosen):
            ids.append(token)
            current = _UNSETTLED.sub("", self._text(source, ids))
            if not current.endswith(UNFINISHED_CHARACTER) and current != shown:
                yield current[len(shown) :]
                shown = current
        rest = self._text(source, ids)[len(shown) :]
        if rest:
            yield rest

    def encode(self, text: str, **options: Any) -> list[int]:
        """The ids that the model reads, framed for their languages. Raises InputError if it cannot read them."""
        source_lang, target_lang, chosen = self._split(options)
        return self._encode(text, source_lang, target_lang, chosen)

    @property
    def doing(self) -> str:
        return _DOING[self.generator.manifest.task]

    def check_options(self, **options: Any) -> None:
        """Raises OptionError if a call with these options would."""
        self.generator.check_options(**self._split(options)[2])

    def from_line(self, line: str) -> str:
        return line

    def to_line(self, result: list[GeneratedText]) -> str:
        return "\t".join(hypothesis.text for hypothesis in result)

    def to_json(self, result: list[GeneratedText]) -> dict[str, Any]:
        values = asdict(result[0])
        if len(result) > 1:
            values["hypotheses"] = [asdict(hypothesis) for hypothesis in result]
        return values

    def _split(self, options: dict[str, Any]) -> tuple[str | None, str | None, dict[str, Any]]:
        """The languages, and what the generator is told; its own options win over what the target's language says."""
        rest = dict(options)
        source_lang, target_lang = rest.pop("source_lang", None), rest.pop("target_lang", None)
        if self.languages is not None:
            self.languages.frame([], 0, source_lang, target_lang)
            return source_lang, target_lang, self.languages.options(target_lang, self._told_first) | rest
        if source_lang is not None or target_lang is not None:
            raise OptionError("source_lang and target_lang are for multilingual models; this bundle has no languages")
        return None, None, rest

    def _encode(
        self, text: str, source_lang: str | None, target_lang: str | None, options: dict[str, Any]
    ) -> list[int]:
        if self.languages is None:
            ids = self.tokenizer.encode(text)
        else:
            eos = self.generator.manifest.tokens.eos[0]
            ids = self.languages.frame(self.tokenizer.encode_content(text), eos, source_lang, target_lang)
        self.generator.check(ids, **options)
        return ids

    def _decode(self, source: list[int], hypothesis: Hypothesis) -> GeneratedText:
        return GeneratedText(self._text(source, hypothesis.ids), hypothesis.ids, hypothesis.score)

    def _text(self, source: list[int], ids: list[int]) -> str:
        """A continuation keeps the space before it, which some tokenizers only see after what it continues."""
        if self.generator.decoder.encoder is not None:
            return self.target_tokenizer.decode(ids).strip()
        prompt, whole = self.tokenizer.decode(source), self.tokenizer.decode([*source, *ids])
        return whole[len(prompt) :] if whole.startswith(prompt) else self.tokenizer.decode(ids)
