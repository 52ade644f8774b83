"""Texts that obey a JSON schema, a regular expression or a Lark grammar, by llguidance."""

import json
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from diptych.runtime.errors import OptionError
from diptych.runtime.generation.grammar_filter import GrammarFilter, shortened
from diptych.runtime.generation.options import GRAMMARS, GenerationOptions
from diptych.runtime.generation.token_bytes import TokenBytes, token_bytes
from diptych.runtime.tokenizer import Tokenizer

# A space may follow a comma or a colon, as json.dumps writes it or not; other white space could go on for ever.
_JSON = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
# All tokenizations of a text are allowed: the model chooses, and no text need be tokenized here.
_START = '%llguidance {"no_forcing": true}\nstart: '
_FORBIDDING = (
    "min_new_tokens",
    "min_length",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
)


def make_grammar_filter(
    options: GenerationOptions, tokenizer: Tokenizer | None, vocab_size: int, eos: Sequence[int]
) -> GrammarFilter | None:
    """The filter that the grammar of `options` asks for, if any.

    tokenizer: of what is generated. Raises OptionError for a grammar that cannot be, a tokenizer that grammars cannot
    work with, or without one, and where llguidance is not installed.
    """
    name = next((each for each in GRAMMARS if getattr(options, each) is not None), None)
    if name is None:
        return None
    if tokenizer is None:
        raise OptionError(f"{name} needs the bundle's tokenizer, and it has none")
    if not eos:
        raise OptionError(f"{name} needs a token that ends a text; name one by eos_token_id")
    library = _library(name)
    body = _body(library, name, getattr(options, name))
    spelled = token_bytes(tokenizer, vocab_size)
    _check_beginning(_begun(tokenizer, vocab_size, name, body, False), spelled, name)
    first = options.forced_bos_token_id
    unset = GenerationOptions()
    return GrammarFilter(
        name,
        partial(_begun, tokenizer, vocab_size, name, body),
        spelled,
        eos,
        alone=options.num_beams == 1,
        opening=first if first is not None and first < vocab_size and not spelled.tokens[first] else None,
        others=[other for other in _FORBIDDING if getattr(options, other) != getattr(unset, other)],
    )


def _library(name: str) -> Any:
    try:
        import llguidance  # noqa: PLC0415  # Only those who ask for a grammar need it.
    except ImportError as error:
        raise OptionError(f"{name} needs llguidance ({error}): pip install 'diptych[grammars]'") from error
    return llguidance


def _body(library: Any, name: str, value: Any) -> str:
    """A grammar as llguidance takes it, JSON."""
    if name == "grammar":
        return json.dumps({"lark_grammar": value})
    if name == "regex":
        try:
            return json.dumps({"lark_grammar": f"start: /{library.regex_to_lark(value, '')}/"})
        except UnicodeEncodeError as error:
            raise OptionError(f"regex is not Unicode text: a lone surrogate at {error.start + 1}") from error
    schema = _parsed(value) if isinstance(value, str) else value
    if schema is False:
        raise OptionError("json_schema is false, which nothing obeys")
    try:
        return json.dumps({"json_schema": {"x-guidance": _JSON, **({} if schema is True else schema)}})
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionError(f"json_schema is not JSON: {error}") from error


def _parsed(text: str) -> Any:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"json_schema is not JSON: {error}; a file is read if its name comes after @") from error
    if not isinstance(schema, dict | bool):
        raise OptionError(f"json_schema is {text:.60}; expected an object, true or false")
    return schema


def _begun(tokenizer: Tokenizer, vocab_size: int, name: str, body: str, leading_space: bool) -> Any:
    """A matcher of one's own, before a text or before the space before it."""
    return _compiled(tokenizer, vocab_size, name, body, leading_space).deep_copy()


@lru_cache(maxsize=16)
def _compiled(tokenizer: Tokenizer, vocab_size: int, name: str, body: str, leading_space: bool) -> Any:
    library = _library(name)
    space = '" " ' if leading_space else ""
    start = {"name": "start", "lark_grammar": f"{_START}{space}@text"}
    grammar = json.dumps({"grammars": [start, {"name": "text", **json.loads(body)}]})
    matcher = library.LLMatcher(
        _vocabulary(tokenizer, vocab_size),
        grammar,
        log_level=0,
        limits=library.LLParserLimits(verbose_errors=False),
    )
    if matcher.is_error():
        raise OptionError(f"{name} cannot be used: {shortened(matcher.get_error())}")
    return matcher


@lru_cache(maxsize=4)
def _vocabulary(tokenizer: Tokenizer, vocab_size: int) -> Any:
    library = _library("a grammar")
    return library.LLTokenizer(library.TokenizerWrapper(_Vocabulary(token_bytes(tokenizer, vocab_size))))


class _Vocabulary:
    """What llguidance wants of a tokenizer. Its EOS is one of its own, beyond the vocabulary, and stands for all."""

    bos_token_id = None

    def __init__(self, spelled: TokenBytes) -> None:
        self.tokens = [*spelled.tokens, b"<|end|>"]
        self.eos_token_id = len(spelled.tokens)
        self.special_token_ids = [self.eos_token_id]

    def __call__(self, text: bytes) -> list[int]:
        raise AssertionError(f"grammars force no tokens, so none are asked for, not those of {text!r}")


def _check_beginning(matcher: Any, spelled: TokenBytes, name: str) -> None:
    """Raises OptionError if there is no text, or each begins with something that no token spells."""
    begins = matcher.compute_ff_bytes()
    missing = set(begins) - spelled.alphabet
    if missing:
        first = next(character for character in begins.decode(errors="replace") if missing & set(character.encode()))
        raise OptionError(
            f"{name} cannot be obeyed: every text has {first!r} near its beginning, "
            "and this bundle's vocabulary has no token with it"
        )
    matcher.compute_bitmask()
    if matcher.is_error():
        raise OptionError(f"{name} cannot be obeyed: no token of this bundle's vocabulary can begin such a text")
