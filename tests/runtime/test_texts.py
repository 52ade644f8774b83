"""Texts that are generated: in pieces, from a beginning, in other ways, as they come out of one model that is known."""

from pathlib import Path
from typing import Any

import pytest
from replies import HELLO, POSITIONS, REPLIES, SEARCHES, SMILE, TEXTS, TWO, Speaker

from diptych.runtime import GeneratedText, InputError, OptionError, Progress
from diptych.runtime.generation.refused import REFUSED


@pytest.fixture
def speaker(tmp_path: Path) -> Speaker:
    return Speaker(tmp_path, REPLIES)


def text_of(found: list[GeneratedText]) -> list[str]:
    return [one.text for one in found]


def test_the_model_says_what_it_knows(speaker: Speaker) -> None:
    expected = [["Ça va bien", "Ça va mal", "Où es-tu"], ["😀👍🏽 c'est là", "😁 non"]]
    found = speaker.texts.hypotheses(TEXTS[:2], num_beams=4, num_return_sequences=3, length_penalty=0.0)
    assert [text_of(one)[: len(own)] for one, own in zip(found, expected, strict=True)] == expected
    assert speaker.texts(TEXTS) == [next(iter(answers)) for answers in REPLIES.values()]


@pytest.mark.parametrize("options", SEARCHES, ids=str)
@pytest.mark.parametrize(
    "more", [{}, {"target_prefix": "Ç"}, {"stop_strings": ["va", "👍"]}, {"max_new_tokens": 6}], ids=str
)
def test_pieces_are_the_text_and_never_half_a_character(
    speaker: Speaker, options: dict[str, Any], more: dict[str, Any]
) -> None:
    for text in TEXTS:
        whole = speaker.texts(text, **options, **more)
        pieces = list(speaker.texts.stream(text, **options, **more))
        assert "".join(pieces) == whole
        assert all(pieces)
        if "max_new_tokens" not in more:
            assert "\ufffd" not in whole
        for number in range(len(pieces) - 1):
            assert "\ufffd" not in pieces[number], "half a character"


def test_greedy_search_gives_each_character_at_once(speaker: Speaker) -> None:
    assert list(speaker.texts.stream(SMILE)) == ["😀", "👍", "🏽", " c", "'", "e", "s", "t", " l", "à"]
    speaker.decoder.runs.clear()
    assert next(speaker.texts.stream(SMILE)) == "😀"
    assert len(speaker.decoder.runs) == 4, "its bytes, and nothing that was not asked for"


def test_beams_give_what_they_agree_on(speaker: Speaker) -> None:
    pieces = list(speaker.texts.stream(HELLO, num_beams=2, length_penalty=0.0))
    assert pieces[:1] == ["Ç"]
    assert len(pieces) > 3
    assert "".join(pieces) == "Ça va bien"


def test_a_stream_is_of_one_text(speaker: Speaker, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="alternatives are several results"):
        speaker.texts.stream(HELLO, alternatives=2)
    with pytest.raises(InputError, match="empty"):
        speaker.texts.stream("")
    with pytest.raises(OptionError, match="replace_unknowns needs the whole result"):
        Speaker(tmp_path, REPLIES, attends=True).texts.stream(HELLO, replace_unknowns=True)


def test_a_language_model_streams_its_continuation(tmp_path: Path) -> None:
    speaker = Speaker(
        tmp_path,
        {
            " once": {" is a 😀 time": 1.0},
        },
        encodes=False,
    )
    for options in SEARCHES:
        assert "".join(speaker.texts.stream(" once", **options)) == " is a 😀 time"
    assert list(speaker.texts.stream("a")) == []


@pytest.mark.parametrize("options", SEARCHES[:3] + SEARCHES[6:], ids=str)
def test_a_text_ends_with_what_stops_it(tmp_path: Path, options: dict[str, Any]) -> None:
    speaker = Speaker(tmp_path, REPLIES, stop_strings=("va b", "c'"))
    assert speaker.texts([HELLO, SMILE], **options) == ["Ça va b", "😀👍🏽 c'"]
    assert speaker.texts([HELLO, SMILE], stop_strings=["👍"], **options) == ["Ça va bien", "😀👍"]
    assert speaker.texts([HELLO, SMILE], stop_strings=[], **options) == ["Ça va bien", "😀👍🏽 c'est là"]


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"prompt_lookup_num_tokens": 2}], ids=str)
@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_a_step_may_stop_one_of_several(speaker: Speaker, options: dict[str, Any], batch_size: int) -> None:
    told: list[Progress] = []

    def on_step(progress: Progress) -> bool:
        told.append(progress)
        return progress.source == 1 and len(progress.ids) >= 8

    plain = speaker.texts(TEXTS, **options)
    stopped = speaker.texts(TEXTS, on_step=on_step, batch_size=batch_size, **options)
    assert stopped == [plain[0], "😀👍", *plain[2:]]
    assert {one.source for one in told} == {0, 1, 2, 3}
    assert max(len(one.ids) for one in told if one.source == 1) == 8
    assert all(one.score <= 0 for one in told)


def test_a_step_that_fails_is_the_callers(speaker: Speaker) -> None:
    def on_step(progress: Progress) -> bool:
        raise KeyError(progress.source)

    with pytest.raises(KeyError):
        speaker.texts(HELLO, on_step=on_step)
    assert speaker.texts(HELLO) == "Ça va bien"


def test_guesses_from_the_source_save_runs(tmp_path: Path) -> None:
    text = "this is this is this is"
    speaker = Speaker(tmp_path, {text: {f"{text}!": 1.0}})
    for options in ({}, {"repetition_penalty": 1.01, "min_new_tokens": 3, "renormalize_logits": True}):
        (plain,) = speaker.texts.hypotheses([text], **options)[0]
        runs = len(speaker.decoder.runs)
        (guessed,) = speaker.texts.hypotheses([text], prompt_lookup_num_tokens=5, **options)[0]
        assert guessed == plain
        assert (len(speaker.decoder.runs) - runs) * 2 < len(plain.ids)
        speaker.decoder.runs.clear()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_refused_option_names_itself(speaker: Speaker, name: str) -> None:
    with pytest.raises(OptionError, match=f"^{name} is not supported: "):
        speaker.texts(HELLO, **{name: 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_tokens": 0}, "batch_tokens is 0"),
        ({"batch_size": True}, "batch_size is True"),
        ({"nmu_beams": 2}, "unknown option 'nmu_beams'; did you mean 'num_beams'"),
        ({"source_lang": "fr"}, "this bundle has no languages"),
        ({"target_lang": 3}, "target_lang is 3; expected a text"),
        ({"replace_unknowns": "yes"}, "replace_unknowns is 'yes'"),
        ({"replace_unknowns": True}, "replace_unknowns .*--with-attention"),
        ({"output_attentions": True}, "output_attentions.*--with-attention"),
        ({"num_beams": 2, "coverage_penalty": 0.5}, "coverage_penalty need.*--with-attention"),
        ({"temperature": 0.5}, "temperature is for sampling"),
        ({"seed": 1}, "seed is for sampling"),
    ],
)
@pytest.mark.parametrize("texts", [[], [HELLO]])
def test_a_wrong_option_is_told_with_and_without_texts(
    speaker: Speaker, texts: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        speaker.texts(texts, **options)


BAD = [
    ("", "the text is empty"),
    ("x" * 10_000, f"too long: 10002 tokens, the model reads {POSITIONS}"),
    ("a\ud83d", "lone surrogate at 2"),
    (3, "expected a text, found 3"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
@pytest.mark.parametrize(
    "options", [{}, {"num_beams": 2}, {"alternatives": 2}, {"prompt_lookup_num_tokens": 2}], ids=str
)
def test_a_bad_text_among_good_ones(speaker: Speaker, bad: Any, message: str, options: dict[str, Any]) -> None:
    first, wrong, last = speaker.texts.attempt([TWO, bad, HELLO], **options)
    assert isinstance(wrong, InputError)
    assert message in str(wrong)
    assert not isinstance(first, InputError)
    assert not isinstance(last, InputError)
    assert (first[0].text, last[0].text) == ("it does n't is", "Ça va bien")
    with pytest.raises(InputError, match=r"^text 1: "):
        speaker.texts([TWO, bad, HELLO], **options)


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_no_texts_give_no_texts(speaker: Speaker, options: dict[str, Any]) -> None:
    assert speaker.texts([], **options) == []
    assert speaker.texts.attempt([], **options) == []
    assert not speaker.decoder.runs


def test_emoji_alone_is_a_text(speaker: Speaker) -> None:
    assert speaker.texts("😀") == ""
