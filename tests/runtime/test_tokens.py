"""Texts as tokens: where each stands, which word it is of, and windows on texts that are too long."""

import unicodedata
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from readers import CLS, MASK, SEP, UNK, VOCABULARY, byte_pairs, sentence_pieces, word_pieces

from diptych.runtime.errors import InputError
from diptych.runtime.tokenizer import Tokenizer
from diptych.runtime.tokens import Tokens

TRICKY = "The cafe\u0301  is 😀, café\tof 👩‍👩‍👧 \u00a0France. "
MAKES = [word_pieces, byte_pairs, sentence_pieces]


def test_a_text_has_special_tokens_round_it(tmp_path: Path) -> None:
    tokens = Tokenizer(word_pieces(tmp_path)).read("Paris is the [MASK].")
    paris, is_, the, stop = (VOCABULARY[piece] for piece in ("paris", "is", "the", "."))
    assert tokens == Tokens(
        ids=[CLS, paris, is_, the, MASK, stop, SEP],
        types=[0] * 7,
        offsets=[(0, 0), (0, 5), (6, 8), (9, 12), (13, 19), (19, 20), (0, 0)],
        words=[None, 0, 1, 2, 3, 4, None],
        parts=[None, 0, 0, 0, 0, 0, None],
    )


def test_a_pair_has_types_parts_and_offsets_of_each_text(tmp_path: Path) -> None:
    tokens = Tokenizer(word_pieces(tmp_path)).read("who?", "the capital")
    assert tokens.types == [0, 0, 0, 0, 1, 1, 1, 1]
    assert tokens.parts == [None, 0, 0, None, 1, 1, 1, None]
    assert tokens.offsets[4:7] == [(0, 3), (4, 7), (7, 11)]
    assert tokens.words == [None, 0, 1, None, 2, 3, 3, None]


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("text", [TRICKY, unicodedata.normalize("NFD", TRICKY), unicodedata.normalize("NFC", TRICKY)])
def test_offsets_are_characters_of_the_text_as_it_was(make: Callable[[Path], Path], text: str, tmp_path: Path) -> None:
    tokens = Tokenizer(make(tmp_path)).read(text)
    spans = [tokens.offsets[place] for place in tokens.places(0)]
    assert spans == sorted(spans)
    covered = {place for start, end in spans for place in range(start, end)}
    left_out = [character for place, character in enumerate(text) if place not in covered]
    assert all(character.isspace() or unicodedata.category(character) in ("Mn", "Cf") for character in left_out)
    assert not any(text[start].isspace() or text[end - 1].isspace() for start, end in spans if start < end)
    assert any(text[start:end] == "😀" for start, end in spans)


@pytest.mark.parametrize("make", MAKES)
def test_words_never_reach_across_white_space(make: Callable[[Path], Path], tmp_path: Path) -> None:
    tokens = Tokenizer(make(tmp_path)).read(TRICKY)
    for word in {word for word in tokens.words if word is not None}:
        spans = [span for span, other in zip(tokens.offsets, tokens.words, strict=True) if other == word]
        assert not set(TRICKY[spans[0][0] : spans[-1][1]].split()[1:])


def test_a_text_may_be_unknown(tmp_path: Path) -> None:
    assert Tokenizer(word_pieces(tmp_path), unknown=UNK).read("日本").ids == [CLS, UNK, UNK, SEP]


@pytest.mark.parametrize("text", ["", "  \t", "\u200b"])
def test_an_empty_text_is_refused(text: str, tmp_path: Path) -> None:
    tokenizer = Tokenizer(word_pieces(tmp_path))
    with pytest.raises(InputError, match="the text is empty"):
        tokenizer.read(text)
    with pytest.raises(InputError, match="the first text is empty"):
        tokenizer.read(text, "paris")
    with pytest.raises(InputError, match="the second text is empty"):
        tokenizer.read("paris", text)


@pytest.mark.parametrize("text", ["\udce9", 5, None, ("a", "b")])
def test_what_is_no_text_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        Tokenizer(word_pieces(tmp_path)).read(text)


def test_content_is_what_is_no_special_token(tmp_path: Path) -> None:
    tokenizer = Tokenizer(word_pieces(tmp_path), unknown=UNK)
    assert tokenizer.encode_content("Paris is old") == tokenizer.encode("Paris is old")[1:-1]
    with pytest.raises(InputError, match="empty"):
        tokenizer.encode_content(" ")
    with pytest.raises(InputError, match="vocabulary"):
        tokenizer.encode_content("日本")


def test_a_spelling_is_of_one_token_alone(tmp_path: Path) -> None:
    tokenizer = Tokenizer(word_pieces(tmp_path))
    spelled = [tokenizer.spelling(VOCABULARY[piece]) for piece in ("paris", "##ital", "[MASK]")]
    assert spelled == ["paris", "##ital", "[MASK]"]


def text_of(length: int, special: int = 2) -> Tokens:
    """A text of numbers, one token each, between special tokens."""
    ids = [100, *range(length), *([101] * (special - 1))]
    none = [None] * (special - 1)
    return Tokens(
        ids, [0] * len(ids), [(number, number + 1) for number in ids], [None, *range(length), *none],
        [None, *([0] * length), *none],
    )  # fmt: skip


@pytest.mark.parametrize("longest", [3, 4, 7, 10, 50])
@pytest.mark.parametrize("overlap", [0, 1, 3, 100])
@pytest.mark.parametrize("length", [1, 2, 5, 8, 9, 31])
def test_windows_cover_a_text(length: int, overlap: int, longest: int) -> None:
    windows = text_of(length).windows(0, longest, overlap)
    room = longest - 2
    assert {token for window in windows for token in window.ids[1:-1]} == set(range(length))
    for window in windows:
        content = window.ids[1:-1]
        assert (window.ids[0], window.ids[-1]) == (100, 101)
        assert content == list(range(window.skipped, window.skipped + min(room, length)))
        assert window.words[1:-1] == content
        assert window.offsets[1][0] == window.skipped
    for one, other in pairwise(windows[:-1]):
        assert other.skipped == one.skipped + room - min(overlap, room // 2)
    assert all(one.skipped < other.skipped for one, other in pairwise(windows))


def test_a_text_without_a_limit_is_one_window() -> None:
    text = text_of(1000)
    assert text.windows(0, None, 0) == [text]


def test_windows_of_a_pair_all_have_the_first_text(tmp_path: Path) -> None:
    tokens = Tokenizer(word_pieces(tmp_path)).read("who is old?", "paris is the capital of france")
    windows = tokens.windows(1, 10, 1)
    assert [window.ids[:6] for window in windows] == [tokens.ids[:6]] * len(windows)
    assert [len(window.ids) for window in windows] == [10, 10, 10]
    assert [window.places(1) for window in windows] == [range(6, 9)] * 3
    assert [window.types for window in windows] == [[0] * 6 + [1] * 4] * 3
    assert windows[-1].offsets[-2] == (24, 30)


@pytest.mark.parametrize("longest", [2, 3, 5, 7, 8])
def test_a_cut_text_is_what_the_library_truncates_to(longest: int, tmp_path: Path) -> None:
    from tokenizers import Tokenizer as Reference

    path = word_pieces(tmp_path)
    reference = Reference.from_file(str(path))
    reference.enable_truncation(longest)
    text = "Paris is the capital."
    assert Tokenizer(path).read(text).cut(longest).ids == reference.encode(text).ids
