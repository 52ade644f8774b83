"""translate, summarise, generate: texts in, generated texts out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, overload

from diptych.runtime import option_fields as kinds
from diptych.runtime import ports
from diptych.runtime.batches import BATCH_SIZE, BATCH_TOKENS
from diptych.runtime.bundle import Bundle
from diptych.runtime.errors import InputError, OptionError
from diptych.runtime.generation.generator import Generator, OnStep, open_generator
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.plan import Plan
from diptych.runtime.generation.requests import Request
from diptych.runtime.generation.steps import Hypothesis
from diptych.runtime.providers import SessionSettings
from diptych.runtime.tasks.generated import GeneratedText, replaced_unknowns
from diptych.runtime.tasks.json_rows import TARGET_PREFIX, TEXT, texts_of
from diptych.runtime.tasks.streaming import pieces
from diptych.runtime.tokenizer import Tokenizer

_ABOUT_TEXT = ("source_lang", "target_lang", "target_prefix", "replace_unknowns")
_DOING = {"translate": "translating", "summarise": "summarising", "generate": "generating"}


@dataclass(frozen=True)
class TextOptions(GenerationOptions):
    """How to decode, from which language to which, and what is done about the text."""

    source_lang: str | None = kinds.text("the source's language, as the model spells it")
    target_lang: str | None = kinds.text("the target's language, as the model spells it")
    target_prefix: str | None = kinds.text("what every result begins with")
    replace_unknowns: bool = kinds.flag(
        False, "unknown tokens become what they look at in the source; needs --with-attention at export"
    )


@dataclass(frozen=True)
class Prompt:
    """A text, and what its result is to begin with."""

    text: str
    target_prefix: str | None = None


@dataclass(frozen=True)
class _Call:
    """A call's options, resolved: the generator's plan, and what is about text.

    prefix: the ids that every result begins with. shows_attention: whether results have it.
    """

    plan: Plan
    about: TextOptions
    prefix: Sequence[int]
    shows_attention: bool


class TextGenerator:
    """Texts in, texts out, by a bundle's tokenizers and graphs.

    A model with an encoder answers the text; one without continues it, and gives the continuation.
    """

    options: ClassVar[type[Any]] = TextOptions

    def __init__(self, tokenizer: Tokenizer, generator: Generator) -> None:
        """tokenizer: of the texts that are read; the generator has that of those that are generated."""
        self.tokenizer = tokenizer
        self.target_tokenizer = generator.tokenizer or tokenizer
        self.generator = generator
        self.languages = generator.manifest.languages
        self._told_first = "forced_bos_token_id" in generator.manifest.generation

    @classmethod
    def open(cls, bundle: Bundle, settings: SessionSettings) -> Self:
        """Raises BundleError or ProviderError if the bundle's graphs cannot be run for this."""
        tokenizer = Tokenizer(bundle.folder / ports.TOKENIZER_FILE, bundle.manifest.tokens.unknown)
        return cls(tokenizer, open_generator(bundle, settings, tokenizer))

    @overload
    def __call__(self, texts: str | Prompt, **options: Any) -> str: ...
    @overload
    def __call__(self, texts: Sequence[str | Prompt], **options: Any) -> list[str]: ...
    def __call__(self, texts: str | Prompt | Sequence[str | Prompt], **options: Any) -> str | list[str]:
        """The best text for a text, or for each of a list, in order.

        options: those of `attempt`. Raises InputError, naming the text, for one that is empty, unknown to the
        vocabulary or too long, OptionError for a wrong option.
        """
        if isinstance(texts, str | Prompt):
            return self([texts], **options)[0]
        return [found[0].text for found in self.hypotheses(texts, **options)]

    def hypotheses(self, texts: Sequence[str | Prompt], **options: Any) -> list[list[GeneratedText]]:
        """For each text, its `num_return_sequences` results, best first. Raises as a call does."""
        results = self.attempt(texts, **options)
        for index, result in enumerate(results):
            if isinstance(result, InputError):
                raise InputError(f"text {index}: {result}") from result
        return [result for result in results if not isinstance(result, InputError)]

    def attempt(
        self,
        texts: Sequence[str | Prompt | InputError],
        *,
        batch_size: int = BATCH_SIZE,
        batch_tokens: int = BATCH_TOKENS,
        on_step: OnStep | None = None,
        first: int = 0,
        **options: Any,
    ) -> list[list[GeneratedText] | InputError]:
        """As `hypotheses`, with the error of a text that cannot be read, or that is one, in its place.

        batch_size, batch_tokens, on_step, first: as in a call of `Generator`. options: `source_lang`, `target_lang`,
        `target_prefix`, `replace_unknowns`, and those of `GenerationOptions`.
        """
        call = self._call(options)
        results: list[list[GeneratedText] | InputError] = []
        asked: dict[int, tuple[str | Prompt, Request]] = {}
        for index, text in enumerate(texts):
            try:
                if isinstance(text, InputError):
                    raise text
                asked[index] = text, self._request(first + index, text, call)
                results.append([])
            except InputError as error:
                results.append(error)
        requests = [request for _, request in asked.values()]
        found = self.generator.run(
            call.plan, requests, batch_size=batch_size, batch_tokens=batch_tokens, on_step=on_step
        )
        for index, (text, request) in asked.items():
            results[index] = [self._result(text, request, each, call) for each in found[request.number]]
        return results

    def stream(self, text: str | Prompt, **options: Any) -> Iterator[str]:
        """The best result in pieces, as they settle; characters are never split.

        Greedy search and sampling settle each token at once, beam search those that all beams agree on.
        """
        call = self._call(options)
        if call.about.replace_unknowns:
            raise OptionError("replace_unknowns needs the whole result; a stream gives it in pieces")
        request = self._request(0, text, call)
        tokens = self.generator.stream_request(call.plan, request)
        return pieces(tokens, lambda ids: self._text(request, ids))

    def target(self, text: str, target: str, **options: Any) -> Request:
        """What `Generator.score_requests` takes: a text, and a target that ends as the model ends its texts.

        Raises InputError if the model cannot read one of them.
        """
        call = self._call(options)
        source, forced = self._read(text, call), call.plan.options.forced_bos_token_id
        if not call.plan.encodes:
            whole = self.tokenizer.encode(text + target)
            together = whole[: len(source)] == source
            ids = whole[len(source) :] if together else self.tokenizer.encode_content(target)
        elif self.languages is None:
            ids = self.target_tokenizer.encode(target)
            # A tokenizer that frames both sides alike repeats what decoding starts with.
            ids = ids[1:] if ids[0] == call.plan.start != forced else ids
        else:
            eos = self.generator.manifest.tokens.eos[0]
            ids = [*([] if forced is None else [forced]), *self.target_tokenizer.encode_content(target), eos]
        return call.plan.target(0, source, ids)

    def encode(self, text: str, **options: Any) -> list[int]:
        """The ids that the model reads, framed for their languages. Raises InputError if it cannot read them."""
        call = self._call(options)
        self._request(0, text, call)
        return self._read(text, call)

    @property
    def doing(self) -> str:
        return _DOING[self.generator.manifest.task]

    def check_options(self, **options: Any) -> None:
        """Raises OptionError if a call with these options would."""
        self._call(options)

    def from_line(self, line: str) -> str | Prompt:
        return line

    def from_json(self, row: object) -> str | Prompt:
        """A text, or an object with `text` and, if its result is to begin with something, `target_prefix`."""
        texts = texts_of(row, [TEXT], [TARGET_PREFIX])
        return Prompt(texts[TEXT], texts.get(TARGET_PREFIX) or None)

    def to_line(self, result: list[GeneratedText]) -> str:
        return "\t".join(hypothesis.text for hypothesis in result)

    def to_json(self, result: list[GeneratedText]) -> dict[str, Any]:
        objects = [each.to_json(scores=bool(each.token_scores)) for each in result]
        return objects[0] if len(objects) == 1 else objects[0] | {"hypotheses": objects}

    def _call(self, options: dict[str, Any]) -> _Call:
        """The generator's own options win over what the target's language says."""
        about = TextOptions(**{name: value for name, value in options.items() if name in _ABOUT_TEXT})
        rest = {name: value for name, value in options.items() if name not in _ABOUT_TEXT}
        if self.languages is not None:
            self.languages.frame([], 0, about.source_lang, about.target_lang)
            rest = self.languages.options(about.target_lang, self._told_first) | rest
        elif about.source_lang is not None or about.target_lang is not None:
            raise OptionError("source_lang and target_lang are for multilingual models; this bundle has no languages")
        asked = bool(rest.get("output_attentions"))
        if about.replace_unknowns:
            rest["output_attentions"] = True
        plan = self.generator.plan(**rest)
        try:
            prefix = self._prefix(about.target_prefix, plan)
            plan.check_prefix(prefix)
        except InputError as error:
            raise OptionError(str(error)) from error
        return _Call(plan, about, prefix, shows_attention=asked)

    def _request(self, number: int, text: str | Prompt, call: _Call) -> Request:
        prompt = text if isinstance(text, Prompt) else Prompt(text)
        prefix = self._prefix(prompt.target_prefix, call.plan) or call.prefix
        return call.plan.request(number, self._read(prompt.text, call), prefix)

    def _read(self, text: str, call: _Call) -> list[int]:
        if self.languages is None:
            return self.tokenizer.encode(text)
        content, eos = self.tokenizer.encode_content(text), self.generator.manifest.tokens.eos[0]
        return self.languages.frame(content, eos, call.about.source_lang, call.about.target_lang)

    def _prefix(self, prefix: str | None, plan: Plan) -> list[int]:
        """A token that is forced to come first comes before it. Raises InputError for one that cannot be."""
        if not prefix:
            return []
        if not plan.encodes:
            raise InputError("target_prefix is for models with an encoder; write it at the end of the text")
        forced = plan.options.forced_bos_token_id
        try:
            return [*([] if forced is None else [forced]), *self.target_tokenizer.encode_content(prefix)]
        except InputError as error:
            raise InputError(f"target_prefix: {error}") from error

    def _result(self, text: str | Prompt, request: Request, hypothesis: Hypothesis, call: _Call) -> GeneratedText:
        options, ids = call.plan.options, hypothesis.ids
        spoken = self._text(request, ids)
        if call.about.replace_unknowns and self.generator.manifest.tokens.unknown in ids:
            spoken = self._replaced(text.text if isinstance(text, Prompt) else text, request, hypothesis, call)
        token_scores = hypothesis.token_scores if options.output_scores else []
        attention = hypothesis.attention if call.shows_attention else None
        return GeneratedText(spoken, ids, hypothesis.score, token_scores, attention)

    def _replaced(self, text: str, request: Request, hypothesis: Hypothesis, call: _Call) -> str:
        tokens, unknown = self.tokenizer.read(text), self.generator.manifest.tokens.unknown
        assert hypothesis.attention is not None
        assert unknown is not None
        # A source that is framed for its languages has other special tokens than the tokenizer's.
        places = tokens.places(0)
        content, offsets = tokens.ids[places.start : places.stop], tokens.offsets[places.start : places.stop]
        shift = next(at for at in range(len(request.source)) if list(request.source[at : at + len(content)]) == content)
        surfaces = [""] * len(request.source)
        for place, (start, end) in enumerate(offsets, start=shift):
            surfaces[place] = (" " if start == 0 or text[start - 1].isspace() else "") + text[start:end]
        prefix = list(request.prompt[1:])
        decode = self.target_tokenizer.decode
        begun = decode(prefix)
        rest = replaced_unknowns(
            hypothesis.ids, hypothesis.attention, unknown, surfaces, lambda ids: decode([*prefix, *ids])[len(begun) :]
        )
        return f"{begun}{rest}".strip()

    def _text(self, request: Request, ids: Sequence[int]) -> str:
        """A continuation keeps the space before it, which some tokenizers only see after what it continues."""
        if self.generator.decoder.encoder is not None:
            return self.target_tokenizer.decode([*request.prompt[1:], *ids]).strip()
        prompt, whole = self.tokenizer.decode(request.prompt), self.tokenizer.decode([*request.prompt, *ids])
        return whole[len(prompt) :] if whole.startswith(prompt) else self.tokenizer.decode(ids)
