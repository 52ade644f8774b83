"""translate, summarise, generate: texts in, generated texts out."""

from dataclasses import asdict
from typing import Any, ClassVar, Self

from diptych.runtime import ports
from diptych.runtime.bundle import Bundle
from diptych.runtime.generator import Generator
from diptych.runtime.options import GenerationOptions
from diptych.runtime.providers import SessionSettings
from diptych.runtime.tokenizer import Tokenizer
from diptych.runtime.translator import Translation, Translator

_DOING = {"translate": "translating", "summarise": "summarising", "generate": "generating"}


class GeneratingTask(Translator):
    """A translator as a task: its options, its lines, its JSON."""

    options: ClassVar[type[Any]] = GenerationOptions

    @classmethod
    def open(cls, bundle: Bundle, settings: SessionSettings) -> Self:
        tokenizer = Tokenizer(bundle.folder / ports.TOKENIZER_FILE, bundle.manifest.tokens.unknown)
        return cls(tokenizer, Generator(bundle.decoder(settings), bundle.manifest))

    @property
    def doing(self) -> str:
        return _DOING[self.generator.manifest.task]

    def check_options(self, **options: Any) -> None:
        """Raises OptionError if a call with these options would."""
        self.generator.check_options(**options)

    def from_line(self, line: str) -> str:
        return line

    def to_line(self, result: list[Translation]) -> str:
        return "\t".join(hypothesis.text for hypothesis in result)

    def to_json(self, result: list[Translation]) -> dict[str, Any]:
        values = asdict(result[0])
        if len(result) > 1:
            values["hypotheses"] = [asdict(hypothesis) for hypothesis in result]
        return values
