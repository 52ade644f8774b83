"""Grammars that cannot be or cannot be obeyed: told by name, in a line."""

import sys
from typing import Any

import numpy as np
import pytest
from grammar_tokenizers import of_bytes, of_pieces
from grammar_words import Words

from diptych.runtime.errors import EngineError, OptionError
from diptych.runtime.generation.grammars import make_grammar_filter
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.tokenizer import Tokenizer

pytest.importorskip("llguidance")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return of_bytes(tmp_path_factory.mktemp("byte-level"))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return of_pieces(tmp_path_factory.mktemp("pieces"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"json_schema": '{"type": }'}, r"json_schema is not JSON: .*line 1 column 10"),
        ({"json_schema": '{"not":' * 9999}, "json_schema is not JSON: .*recursion"),
        ({"json_schema": {"$ref": "#"}}, "json_schema cannot be obeyed: no token .* can begin such a text"),
        ({"json_schema": "3"}, "json_schema is 3; expected an object, true or false"),
        ({"json_schema": False}, "json_schema is false"),
        ({"json_schema": {"const": {1, 2}}}, "json_schema is not JSON"),
        ({"json_schema": {"type": "text"}}, "json_schema cannot be used: .*text"),
        ({"json_schema": {"uniqueItems": True, "type": "array"}}, "json_schema cannot be used: .*uniqueItems"),
        ({"json_schema": {"type": "integer", "minimum": 3, "maximum": 2}}, "json_schema cannot be used: .*3.*2"),
        ({"regex": "a(b"}, "regex cannot be used: .*unclosed group"),
        ({"regex": "a(?=b)"}, "regex cannot be used: .*look-around"),
        ({"regex": "ab\ud800"}, "regex is not Unicode text: a lone surrogate at 3"),
        ({"grammar": 'start: "a" <|lang|>'}, "grammar cannot be used: .*unknown special token"),
        ({"grammar": 'start: <[1]> "a"'}, "grammar cannot be obeyed: no token .* can begin such a text"),
        ({"grammar": "start: missing"}, 'grammar cannot be used: .*unknown name: "missing"'),
        ({"grammar": 'begin: "a"'}, "grammar cannot be used: no start rule"),
    ],
)
def test_a_grammar_that_cannot_be_is_refused_in_one_line(
    tokenizer: Tokenizer, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(OptionError, match=told) as caught:
        Words(tokenizer, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_what_is_missing_is_named(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="regex needs the bundle's tokenizer"):
        make_grammar_filter(GenerationOptions(regex="a"), None, 300, [2])
    with pytest.raises(OptionError, match=r"regex needs a token that ends a text.*eos_token_id"):
        make_grammar_filter(GenerationOptions(regex="a"), tokenizer, 300, [])
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(OptionError, match=r"regex needs llguidance.*pip install 'diptych\[grammars\]'"):
        make_grammar_filter(GenerationOptions(regex="a"), tokenizer, 300, [2])


def test_a_vocabulary_without_a_character_that_every_text_has_is_told_so(pieces: Tokenizer) -> None:
    with pytest.raises(OptionError, match="regex cannot be obeyed: every text has '<' near its beginning"):
        Words(pieces, regex="<a>")


def test_a_text_that_cannot_go_on_is_an_error_alone_and_a_lost_beam_among_others(pieces: Tokenizer) -> None:
    choice = "ab|b<"
    with pytest.raises(OptionError, match="regex cannot be obeyed: after 'b' comes '<', which this bundle's vocab"):
        Words(pieces, regex=choice).after("b")
    words = Words(pieces, regex=choice, num_beams=2)
    assert words.allowed(words.history(["b"], ["a"])) == [set(), {"b"}]


def test_options_that_leave_nothing_are_named(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, regex="ab", min_new_tokens=5, no_repeat_ngram_size=3)
    scores = np.zeros((1, words.size), dtype=np.float32)
    scores[:, words.eos] = -np.inf
    told = "what regex allows after 'ab', min_new_tokens, no_repeat_ngram_size forbids; leave one of them out"
    with pytest.raises(OptionError, match=told):
        words.apply(words.history(["ab"]), scores)


def test_logits_that_are_no_numbers_are_left_to_the_search(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, regex="ab")
    scores = np.full((1, words.size), np.nan, dtype=np.float32)
    words.apply(words.history([]), scores)
    assert np.isnan(scores[0, words.ids("ab")]).all()


def test_an_error_of_the_library_says_why(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, regex="ab")

    class Broken:
        def compute_bitmask(self) -> bytes:
            return bytes(100)

        def is_error(self) -> bool:
            return True

        def get_error(self) -> str:
            return "too many states\nand more"

    words.apply._begin = lambda spaced: Broken()  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match=r"regex: llguidance gave up \(too many states\)"):
        words.after()
