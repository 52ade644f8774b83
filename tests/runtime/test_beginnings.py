"""Results that go on from where the caller begins, or where the model would have begun otherwise."""

from pathlib import Path
from typing import Any

import pytest
from replies import HELLO, REPLIES, SEARCHES, SMILE, TWO, Speaker

from diptych.runtime import GeneratedText, InputError, OptionError, Prompt


@pytest.fixture
def speaker(tmp_path: Path) -> Speaker:
    return Speaker(tmp_path, REPLIES)


def text_of(found: list[GeneratedText]) -> list[str]:
    return [one.text for one in found]


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_a_result_begins_with_its_prefix(speaker: Speaker, options: dict[str, Any]) -> None:
    texts = [HELLO, Prompt(HELLO, "Où"), Prompt(HELLO, None), Prompt(SMILE, "😁")]
    found = [one[0] for one in speaker.texts.hypotheses(texts, target_prefix="Ça va m", **options)]
    assert [one.text for one in found] == ["Ça va mal", "Où es-tu", "Ça va mal", "😁 non"]
    for one, rest in zip(found, ["al", " es-tu", "al", " non"], strict=True):
        assert speaker.tokenizer.decode(one.ids) == rest, "ids do not have the prefix"


def test_one_text_with_a_prefix_is_one_text(speaker: Speaker) -> None:
    assert speaker.texts(Prompt(HELLO, "Où")) == "Où es-tu"
    assert speaker.texts(Prompt(HELLO)) == speaker.texts(HELLO)


def test_rows_of_json_have_their_own_prefix(speaker: Speaker) -> None:
    rows = [HELLO, {"text": HELLO, "target_prefix": "Où"}, {"text": HELLO, "target_prefix": None}, {"text": HELLO}]
    prompts = [speaker.texts.from_json(row) for row in rows]
    found = speaker.texts.attempt([*prompts, speaker.texts.from_json({"text": SMILE, "target_prefix": "\ud83d"})])
    assert [one if isinstance(one, InputError) else one[0].text for one in found[:4]] == [
        "Ça va bien",
        "Où es-tu",
        "Ça va bien",
        "Ça va bien",
    ]
    assert str(found[4]).startswith("target_prefix: not Unicode text: a lone surrogate at 1")


@pytest.mark.parametrize(
    ("prefix", "message"),
    [("", "target_prefix is ''"), (3, "target_prefix is 3"), ("\ud83d", "target_prefix: .*lone surrogate")],
)
def test_a_prefix_of_a_call_is_checked_before_anything_runs(speaker: Speaker, prefix: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        speaker.texts.attempt([HELLO], target_prefix=prefix)
    with pytest.raises(OptionError, match=message):
        speaker.texts.check_options(target_prefix=prefix)


def test_a_prefix_is_not_for_language_models(tmp_path: Path) -> None:
    speaker = Speaker(tmp_path, {"a": {"b": 1.0}}, encodes=False)
    with pytest.raises(OptionError, match="target_prefix is for models with an encoder"):
        speaker.texts("a", target_prefix="b")
    good, bad = speaker.texts.attempt(["a", Prompt("a", "b")])
    assert not isinstance(good, InputError)
    assert "target_prefix is for models with an encoder" in str(bad), "one row's mistake is not the others'"


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}, {"prompt_lookup_num_tokens": 2}], ids=str)
def test_alternatives_begin_differently_the_likeliest_first(speaker: Speaker, options: dict[str, Any]) -> None:
    """Both of "Ç" and "Où" begin with the same byte."""
    (found,) = speaker.texts.hypotheses([SMILE], alternatives=1, **options)
    assert text_of(found) == ["😀👍🏽 c'est là"]
    (found,) = speaker.texts.hypotheses([TWO], alternatives=2, output_scores=True, **options)
    assert text_of(found) == ["it does n't is", "this is 東京"]
    assert [one.token_scores[0] for one in found] == pytest.approx([-0.357, -1.204], abs=2e-3)
    assert len({one.ids[0] for one in found}) == 2
    (found,) = speaker.texts.hypotheses([TWO], alternatives=5, min_alternative_expansion_prob=0.1, **options)
    assert text_of(found) == ["it does n't is", "this is 東京"]
    (found,) = speaker.texts.hypotheses([TWO], alternatives=300, max_new_tokens=2, **options)
    assert len({one.ids[0] for one in found}) == len(found) == 261, "all but the end"


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}, {"prompt_lookup_num_tokens": 2}], ids=str)
def test_the_likeliest_alternative_stays_whatever_is_asked(speaker: Speaker, options: dict[str, Any]) -> None:
    asked = {"alternatives": 3, "min_alternative_expansion_prob": 1.0, **options}
    assert speaker.texts([TWO, HELLO], **asked) == ["it does n't is", "Ça va bien"]
    (found,) = speaker.texts.hypotheses([TWO], max_new_tokens=1, **asked)
    assert text_of(found) == ["i"]


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}, {"prompt_lookup_num_tokens": 2}], ids=str)
def test_an_alternative_may_end_with_its_first_token(speaker: Speaker, options: dict[str, Any]) -> None:
    (found,) = speaker.texts.hypotheses([TWO], alternatives=2, stop_strings=["i"], **options)
    assert text_of(found) == ["i", "this"]
    (found,) = speaker.texts.hypotheses([TWO], alternatives=2, stop_strings=["i", "t"], **options)
    assert text_of(found) == ["i", "t"]


def test_what_is_no_text_keeps_its_place_and_changes_no_draw(speaker: Speaker) -> None:
    sampled = {"do_sample": True, "seed": 1}
    wrong = InputError("no text")
    expected = speaker.texts.attempt([HELLO] * 9, **sampled)
    assert speaker.texts.attempt([wrong, *[HELLO] * 7, wrong], **sampled) == [wrong, *expected[1:8], wrong]
    assert len({found[0].text for found in expected if not isinstance(found, InputError)}) > 1
    assert speaker.texts.attempt([wrong]) == [wrong]


def test_a_prefix_that_no_text_of_a_grammar_begins_with_is_its_row_s_mistake(speaker: Speaker) -> None:
    pytest.importorskip("llguidance")
    texts = [HELLO, Prompt(HELLO, "Où"), Prompt(HELLO, "Ça va ma")]
    first, wrong, last = speaker.texts.attempt(texts, regex="Ça va (bien|mal)")
    assert not isinstance(first, InputError)
    assert not isinstance(last, InputError)
    assert (first[0].text, last[0].text) == ("Ça va bien", "Ça va mal")
    assert isinstance(wrong, InputError)
    assert str(wrong) == "nothing that begins with 'Où' obeys regex"
    with pytest.raises(OptionError, match="nothing that begins with 'Où' obeys regex"):
        speaker.texts.check_options(regex="Ça va (bien|mal)", target_prefix="Où")


@pytest.mark.parametrize("limit", [1, 9])
def test_where_only_the_end_may_come_that_is_the_alternative(speaker: Speaker, limit: int) -> None:
    forbidden = [token for token in range(262) if token != 2]
    (found,) = speaker.texts.hypotheses([TWO], alternatives=2, suppress_tokens=forbidden, max_new_tokens=limit)
    assert [(one.text, one.ids) for one in found] == [("", [2])]


def test_alternatives_are_hypotheses_in_json(speaker: Speaker) -> None:
    (found,) = speaker.texts.hypotheses([TWO], alternatives=2)
    told = speaker.texts.to_json(found)
    assert told["hypotheses"] == [{"text": one.text, "ids": one.ids, "score": one.score} for one in found]
    assert told["text"] == found[0].text
    assert speaker.texts.to_line(found) == "it does n't is\tthis is 東京"


def test_a_language_models_alternatives(tmp_path: Path) -> None:
    speaker = Speaker(tmp_path, {"a": {" one": 0.6, "! two": 0.4}}, encodes=False)
    (found,) = speaker.texts.hypotheses(["a"], alternatives=2)
    assert text_of(found) == [" one", "! two"]
