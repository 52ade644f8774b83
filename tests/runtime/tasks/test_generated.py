"""Generated texts: their JSON, what they looked at, and unknown words that the source knows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replies import EOS, UNKNOWN, Speaker

from diptych.runtime import GeneratedText, OptionError, Prompt
from diptych.runtime.tasks.generated import replaced_unknowns

SURFACES = ["", "Tom", " aime", " Zoé", ""]
SAID = {1: "il", 2: " a", 3: "!"}


def looking_at(*places: list[int]) -> Any:
    """Weights [ids, source's ids], the first of each row the most."""
    weights = np.zeros((len(places), len(SURFACES)), dtype=np.float32)
    for row, at in zip(weights, places, strict=True):
        row[at] = np.arange(len(at), 0, -1)
    return weights / weights.sum(axis=1, keepdims=True)


def replaced(ids: list[int], *places: list[int]) -> str:
    return replaced_unknowns(ids, looking_at(*places), 0, SURFACES, lambda known: "".join(map(SAID.__getitem__, known)))


@pytest.mark.parametrize(
    ("ids", "places", "expected"),
    [
        ([1, 2, 3], [[1], [2], [3]], "il a!"),
        ([1, 0, 3], [[1], [3], [2]], "il Zoé!"),
        ([0, 2, 0, 0], [[1], [1], [2], [3]], "Tom a aime Zoé"),
        ([1, 0], [[0], [4, 0, 3, 2]], "il Zoé"),
        ([1, 0, 3], [[0], [4], [1]], "il!"),
        ([0], [[4, 2]], " aime"),
        ([], [], ""),
    ],
)
def test_an_unknown_token_becomes_what_it_looks_at_most(ids: list[int], places: list[list[int]], expected: str) -> None:
    """Special tokens have no surface, and are never copied."""
    assert replaced(ids, *places) == expected


def test_a_text_knows_its_json() -> None:
    text = GeneratedText("a", [4, 2], -1.5, [-1.0, -0.5], np.array([[0.25, 0.75], [1.0, 0.0]], dtype=np.float32))
    assert text.to_json(scores=False) == {
        "text": "a", "ids": [4, 2], "score": -1.5, "attention": [[0.25, 0.75], [1.0, 0.0]]
    }  # fmt: skip
    told = GeneratedText("a", [4, 2], -1.5, [-1.0, -0.5]).to_json(scores=True)
    assert told == {"text": "a", "ids": [4, 2], "score": -1.5, "token_scores": [-1.0, -0.5]}


# Each token looks at the token of the source that stands where it stands.
REPLIES = {
    "a is b": {"x? y": 0.6, "xy": 0.4},
    "is a": {"??!": 1.0},
    "b": {"xyz?": 1.0},
    "é is": {"?": 1.0},
    " b is": {"x?": 1.0},
}

SEARCHES: list[dict[str, Any]] = [
    {},
    {"num_beams": 2},
    {"do_sample": True, "top_k": 1},
]


@pytest.fixture
def speaker(tmp_path: Path) -> Speaker:
    return Speaker(tmp_path, REPLIES, attends=True)


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_unknown_words_are_copied(speaker: Speaker, options: dict[str, Any]) -> None:
    """With the space before them, whole characters, and nothing where a special token was looked at."""
    found = speaker.texts(list(REPLIES), replace_unknowns=True, **options)
    assert found == ["x is y", "is !", "xyz", "é", "x b"]
    assert speaker.texts(list(REPLIES), **options) == ["x y", "!", "xyz", "", "x"]


def test_what_is_given_stays_as_it_is(speaker: Speaker) -> None:
    assert speaker.texts([Prompt("a is b", "x")], replace_unknowns=True) == ["x is y"]
    (found,) = speaker.texts.hypotheses(["a is b"], replace_unknowns=True, num_beams=2, num_return_sequences=2)
    assert [one.text for one in found] == ["x is y", "xy"]
    assert UNKNOWN in found[0].ids, "ids are what was generated"
    assert [one.attention for one in found] == [None, None]


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_results_have_what_they_looked_at(speaker: Speaker, options: dict[str, Any]) -> None:
    texts = list(REPLIES)
    found = speaker.texts.hypotheses(texts, output_attentions=True, batch_size=2, **options)
    for text, (one,) in zip(texts, found, strict=True):
        read = speaker.tokenizer.encode(text)
        assert one.attention is not None
        assert one.attention.shape == (len(one.ids), len(read))
        places = [min(place + 1, len(read) - 1) for place in range(len(one.ids))]
        assert one.attention.argmax(axis=1).tolist() == places
        np.testing.assert_array_equal(one.attention.sum(axis=1), 1.0)
        assert one.token_scores == []


@pytest.mark.parametrize("options", [{}, {"num_beams": 2}], ids=str)
def test_alternatives_and_prefixes_look_from_where_they_begin(speaker: Speaker, options: dict[str, Any]) -> None:
    (found,) = speaker.texts.hypotheses(["a is b"], alternatives=2, output_attentions=True, **options)
    for one in found:
        assert one.attention is not None
        assert one.attention.argmax(axis=1).tolist() == [min(place + 1, 5) for place in range(len(one.ids))]
    (found,) = speaker.texts.hypotheses(["is a"], alternatives=2, replace_unknowns=True, max_new_tokens=1, **options)
    assert found[0].text == "is"
    (found,) = speaker.texts.hypotheses([Prompt("a is b", "x")], output_attentions=True, **options)
    assert found[0].attention is not None
    assert found[0].attention.argmax(axis=1).tolist() == [2, 3, 4, 5]


def test_scores_of_tokens_add_up(speaker: Speaker) -> None:
    (one,) = speaker.texts.hypotheses(["a is b"], output_scores=True)[0]
    assert len(one.token_scores) == len(one.ids)
    assert one.ids[-1] == EOS
    assert sum(one.token_scores) == pytest.approx(one.score, abs=1e-5)
    assert one.score == pytest.approx(np.log(0.6), abs=0.02)


def test_json_has_what_was_asked_for(speaker: Speaker) -> None:
    def keys(**options: Any) -> set[str]:
        told = speaker.texts.to_json(speaker.texts.hypotheses(["a is b"], **options)[0])
        assert json.loads(json.dumps(told)) == told
        return set(told)

    assert keys() == keys(replace_unknowns=True) == {"text", "ids", "score"}
    assert keys(output_scores=True) == {"text", "ids", "score", "token_scores"}
    assert keys(output_attentions=True) == {"text", "ids", "score", "attention"}
    assert keys(output_attentions=True, num_beams=2, num_return_sequences=2) >= {"attention", "hypotheses"}


@pytest.mark.parametrize("layer", [1, -2, 9])
def test_a_layer_that_is_not_there_is_told(speaker: Speaker, layer: int) -> None:
    with pytest.raises(OptionError, match=f"attention_layer is {layer}; expected one of the decoder's 1"):
        speaker.texts("b", output_attentions=True, attention_layer=layer)
    assert speaker.texts("b", output_attentions=True, attention_layer=0) == "xyz"


@pytest.mark.parametrize("option", ["output_attentions", "replace_unknowns"])
def test_guesses_do_not_look(speaker: Speaker, option: str) -> None:
    with pytest.raises(OptionError, match="prompt_lookup_num_tokens does not tell attention"):
        speaker.texts("b", prompt_lookup_num_tokens=2, **{option: True})
