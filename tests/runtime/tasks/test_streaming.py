"""Pieces of a text as its tokens settle."""

from collections.abc import Iterator

import pytest

from diptych.runtime.tasks.streaming import pieces


def of_bytes(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("abc", ["a", "b", "c"]),
        ("é", ["é"]),
        ("a😀b", ["a", "😀", "b"]),
        ("👩‍👩", ["👩", "\u200d", "👩"]),
        ("東京", ["東", "京"]),
    ],
)
def test_characters_are_whole(text: str, expected: list[str]) -> None:
    assert list(pieces(text.encode(), of_bytes)) == expected


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_character_that_never_ends_comes_last_as_it_is(cut: int) -> None:
    found = list(pieces([*b"ab", *"😀".encode()[:cut]], of_bytes))
    assert found == ["a", "b", "\ufffd"]


def test_what_a_later_token_joins_is_held_back() -> None:
    """Some tokenizers write "do n't" as "don't" as soon as they see all of it."""
    words = ["do", " n", "'", "t", " it", "'", "s", " n", "o", " '", "v", "e"]

    def read(ids: list[int]) -> str:
        text = "".join(words[number] for number in ids)
        return text.replace(" n't", "n't").replace(" 've", "'ve")

    found = list(pieces(range(len(words)), read))
    assert "".join(found) == read(list(range(len(words)))) == "don't it's no've"
    assert found == ["do", "n't", " it", "'", "s", " no", "'ve"]


def test_tokens_without_text_give_no_piece() -> None:
    assert list(pieces([1, 2, 3], lambda ids: "ab"[: len(ids) // 2])) == ["a"]


def test_each_piece_comes_before_the_next_token_is_asked_for() -> None:
    asked = []

    def tokens() -> Iterator[int]:
        for token in b"abc":
            asked.append(token)
            yield token

    stream = pieces(tokens(), of_bytes)
    assert next(stream) == "a"
    assert asked == [ord("a")]
