"""The filter of grammars: what it allows after which texts, wherever their rows stand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grammar_tokenizers import load, metaspace, names_of, of_bytes, of_pieces
from grammar_words import START, Words

from diptych.runtime.errors import InputError
from diptych.runtime.generation.grammars import make_grammar_filter
from diptych.runtime.generation.history import History
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.token_bytes import token_bytes
from diptych.runtime.graph import Array
from diptych.runtime.tokenizer import Tokenizer

pytest.importorskip("llguidance")

POINT = {"type": "object", "properties": {"x": {"enum": [1, 22]}}, "required": ["x"], "additionalProperties": False}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return of_bytes(tmp_path_factory.mktemp("byte-level"))


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return of_pieces(tmp_path_factory.mktemp("pieces"))


def test_no_grammar_is_no_filter(tokenizer: Tokenizer) -> None:
    assert make_grammar_filter(GenerationOptions(), tokenizer, 300, [2]) is None
    assert make_grammar_filter(GenerationOptions(), None, 300, [2]) is None


def test_every_way_to_spell_what_follows_is_allowed_and_the_end_where_the_text_is_complete(
    tokenizer: Tokenizer,
) -> None:
    words = Words(tokenizer, json_schema=POINT)
    assert words.after() == {"{", '{"'}
    assert words.after('{"') == {"x"}
    assert words.after('{"', "x") == {'"', '":'}
    assert words.after('{"', "x", '":') == {"Ġ", "1", "2", "22"}
    assert words.after('{"', "x", '":', "Ġ") == {"1", "2", "22"}
    assert words.after('{"', "x", '":', "2") == {"2"}
    assert words.after("{", '"', "x", '"', ":", "22") == {"}"}
    assert words.after('{"', "x", '":', "1", "}") == {"</s>"}


def test_all_ends_end_a_text_also_one_that_is_a_token_of_text(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, eos=("</s>", "<end>", "Ċ"), regex="a(b|\n)?")
    assert words.after() == {"a", "ab"}
    assert words.after("a") == {"b", "</s>", "<end>", "Ċ"}
    assert words.after("ab") == {"</s>", "<end>", "Ċ"}
    assert words.after("ab", "<end>") == {"</s>", "<end>", "Ċ"}, "a beam that ended may be asked about again"


def test_ragged_rows_are_at_places_of_their_own(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, regex="abc+")
    assert words.allowed(words.history([], ["a"], ["abc"], ["a", "b", "c", "c"])) == [
        {"a", "ab", "abc"},
        {"b"},
        {"c", "</s>"},
        {"c", "</s>"},
    ]


def test_rows_may_be_reordered_repeated_dropped_and_joined(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, regex="ab(c|1)*a?")
    history = words.history(["a"], ["ab"], ["ab", "c"])
    every = words.allowed(history)
    assert every == [{"b"}, {"c", "1", "a", "</s>"}, {"c", "1", "a", "</s>"}]
    order = np.array([2, 0, 0, 1])
    assert words.allowed(history.select(order)) == [every[row] for row in order]
    history = history.extended(np.array([2, 0]), np.array(words.ids("a", "b")), np.zeros(2))
    assert words.allowed(history) == [{"</s>"}, {"c", "1", "a", "</s>"}]
    joined = history.joined(words.history(["ab", "1", "1", "1", "c"], []))
    assert words.allowed(joined) == [{"</s>"}, {"c", "1", "a", "</s>"}, {"c", "1", "a", "</s>"}, {"a", "ab", "abc"}]


def test_texts_that_were_never_asked_about_and_texts_long_forgotten_are_known(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, regex="(ab?c?|1)*a")
    assert words.after("a", "b", "c", "1") == {"a", "ab", "abc", "1"}
    rng = np.random.default_rng(3)
    for _ in range(400):
        text = rng.choice(["a", "1"], size=9)
        assert words.after(*text) == {"a", "b", "c", "ab", "abc", "1", "</s>"} - (
            set() if text[-1] == "a" else {"b", "c", "</s>"}
        )
    assert len(words.apply._places) < 100  # type: ignore[attr-defined]
    assert words.after("a", "b", "c", "1") == {"a", "ab", "abc", "1"}


def test_guesses_that_leave_the_grammar_have_nothing_to_go_on_with(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, regex="abc")
    assert words.allowed(words.history(["a"], ["c"], ["a", "c", "b"], ["abc", "a"])) == [{"b"}, set(), set(), set()]


def test_random_walks_give_what_the_whole_text_gives_from_scratch(tokenizer: Tokenizer) -> None:
    schema = {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 3}]}}
    words, fresh = Words(tokenizer, json_schema=schema), Words(tokenizer, json_schema=schema)
    rng = np.random.default_rng(0)
    texts: list[list[str]] = [[] for _ in range(5)]
    for _ in range(12):
        allowed = words.allowed(words.history(*texts))
        assert allowed == [fresh.after(*text) for text in texts]
        texts = [
            [*text, str(rng.choice(sorted(row - {"</s>"})))]
            for text, row in zip(texts, allowed, strict=True)
            if row - {"</s>"}
        ]
        fresh = Words(tokenizer, json_schema=schema)
        texts = [texts[row] for row in rng.integers(len(texts), size=5)]


def test_characters_of_several_tokens(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, regex="é|日")
    assert words.after() == {"Ã", "æ"}
    assert words.after("Ã") == {"©"}
    assert words.after("Ã", "©") == {"</s>"}


def test_a_token_without_text_leaves_the_text_where_it_was(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, regex="abc", forced_bos_token_id=1)
    assert words.after() == {"a", "ab", "abc", words.names[1]}, "the forced token is let through"
    assert words.after(words.names[1]) == {"a", "ab", "abc"}
    assert words.after(words.names[1], "ab") == {"c"}


def test_what_a_text_was_given_counts_under_an_encoder_and_a_prompt_does_not(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, regex="abc")
    given = [[START, *words.ids("a", "b")]]
    assert words.allowed(History.start(given, [9], [[1]])) == [{"c"}]
    assert words.allowed(History.start(given, [9])) == [{"a", "ab", "abc"}]
    with pytest.raises(InputError, match=r"'1'.*regex"):
        words.apply.check_beginning(words.ids("1"))
    words.apply.check_beginning(words.ids("a", "b"))
    words.apply.check_beginning([])


def test_a_text_of_its_own_begins_with_the_space_that_decoding_takes_out(pieces: Tokenizer) -> None:
    words = Words(pieces, regex=" ?ab")
    assert words.after() == {"▁", "▁a", "▁ab", "a", "ab"}
    assert words.after(sources=True) == {"▁", "▁a", "▁ab", "a", "ab"}
    assert words.after("▁", sources=True) == {"▁", "▁a", "▁ab", "a", "ab"}, "a second space would be the text's"
    words = Words(pieces, json_schema=POINT)
    assert words.after() == {"{"}
    assert words.after(sources=True) == {"▁", "▁{", "{"}
    assert words.after("▁", sources=True) == {"{"}
    assert words.after("▁{", '"', "x", '"', ":", "1", "}", sources=True) == {"</s>"}


def test_a_tokenizer_that_writes_no_such_space_gets_none(tokenizer: Tokenizer) -> None:
    assert Words(tokenizer, regex="ab").after(sources=True) == {"a", "ab"}


def test_texts_that_clean_up_would_change_are_not_generated(tmp_path: Path) -> None:
    made = metaspace("▁", "▁a", "a", "▁.", ".", "▁'", "'", "s", "▁n", "'t", clean_up=True)
    words = Words(load(made, tmp_path), regex="[a .'snt]{1,9}")
    everything = {"▁", "▁a", "a", ".", "▁'", "'", "s", "▁n", "'t", "</s>"}
    assert words.after("a") == everything, "▁. would lose its space"
    assert words.after("a", "▁") == everything - {"."}
    assert words.after("a", "▁n") == everything - {"'t"}
    assert words.after("a", "▁'") == everything - {"▁", "▁a", "▁'", "▁n", "s"}
    assert words.after("a", "▁", "'") == everything - {"▁", "▁a", "▁'", "▁n", "s"}


def test_white_space_in_json_is_a_space_after_a_comma_or_colon(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, json_schema={"type": "array", "items": {"const": 1}})
    assert words.after("[") == {"1", "]"}
    assert words.after("[", "1") == {",", "]"}
    assert words.after("[", "1", ",") == {"1", "Ġ"}
    assert words.after("[", "1", ",", "Ġ") == {"1"}


@pytest.mark.parametrize("schema", ['{"const": "a"}', {"const": "a"}])
def test_a_schema_is_an_object_or_its_text(tokenizer: Tokenizer, schema: Any) -> None:
    assert Words(tokenizer, json_schema=schema).after() == {'"'}


def test_true_is_any_json(tokenizer: Tokenizer) -> None:
    for schema in (True, "true", {}):
        assert Words(tokenizer, json_schema=schema).after() >= set('{["1tfn-')


def test_a_lark_grammar(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, grammar='start: "a" (sum | "b")\nsum: NUMBER ("+" NUMBER)*\nNUMBER: /[1-9][0-9]*/')
    assert words.after() == {"a", "ab"}
    assert words.after("a", "1", "+") == set("123456789") | {"22"}
    assert words.after("ab") == {"</s>"}


def test_no_rows_are_no_work(tokenizer: Tokenizer) -> None:
    words = Words(tokenizer, regex="ab")
    scores: Array = np.zeros((0, words.size), dtype=np.float32)
    words.apply(words.history(["a"]).select(np.array([], dtype=np.int64)), scores)


def test_tokens_bytes_are_those_of_the_texts_they_make(tokenizer: Tokenizer, pieces: Tokenizer) -> None:
    found = token_bytes(tokenizer, 400)
    names = names_of(tokenizer)
    assert found.tokens[names.index("Ġa")] == b" a"
    assert found.tokens[names.index("Ã")] == b"\xc3"
    assert found.tokens[names.index("</s>")] == b""
    assert found.tokens[399] == b""
    assert not found.leading_space
    assert token_bytes(pieces, 30).leading_space
