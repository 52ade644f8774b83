"""The example's trained model: what streams, guesses and samples is what a plain call gives."""

from pathlib import Path
from typing import Any

import pytest

from diptych.runtime import TextGenerator, load

NAMES = ("Tom", "Mary", "Tom's brother", "the old man")
TEXTS = [
    *(f"{name} said that {other} was not there." for name in NAMES for other in NAMES if name != other),
    "No, no, no, no, no, no!",
    "I know that you know that I know.",
    "Don't eat, don't drink, don't sleep, don't wait.",
    "It's 😀 a naïve café, isn't it?",
    "Go.",
    "What do you think he'd have done if they hadn't been here, and I hadn't either?",
    "He read the book, and she read the book, and they read the book.",
]
FILTERS: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.2},
    {"no_repeat_ngram_size": 2, "min_new_tokens": 6},
    {"stop_strings": [" pas", "est"]},
    {"max_new_tokens": 5, "forced_eos_token_id": 2},
    {"target_prefix": "Je ne sais"},
]


@pytest.fixture(scope="module")
def translate(bundle: Path) -> TextGenerator:
    texts: TextGenerator = load(bundle, threads=1)
    return texts


@pytest.mark.parametrize("options", FILTERS, ids=str)
def test_guesses_give_what_greedy_search_gives_in_fewer_runs(
    translate: TextGenerator, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, runs = translate.generator.decoder, 0
    feeds = decoder.feeds

    def counted(*arguments: Any, **settings: Any) -> Any:
        nonlocal runs
        runs += 1
        return feeds(*arguments, **settings)

    monkeypatch.setattr(decoder, "feeds", counted)
    plain = [translate.hypotheses([text], num_beams=1, **options)[0][0] for text in TEXTS]
    needed, runs = runs, 0
    for guesses, longest in ((1, 1), (4, 2), (10, 3)):
        asked = {"prompt_lookup_num_tokens": guesses, "max_matching_ngram_size": longest, "num_beams": 1}
        found = [each[0] for each in translate.hypotheses(TEXTS, **asked, **options)]
        assert [one.ids for one in found] == [one.ids for one in plain]
        assert [one.text for one in found] == [one.text for one in plain]
        assert [one.score for one in found] == pytest.approx([one.score for one in plain], abs=1e-3)
        assert runs <= needed
        if not options:
            assert runs < needed
        runs = 0


@pytest.mark.parametrize("options", [{"num_beams": 1}, {"num_beams": 4}, {"num_beams": 1, "do_sample": True}], ids=str)
def test_pieces_make_the_text(translate: TextGenerator, options: dict[str, Any]) -> None:
    for more in FILTERS[1:]:
        if "do_sample" not in options:
            expected = translate(TEXTS, **options, **more)
        else:
            expected = [translate(text, **options, **more) for text in TEXTS]
        for text, whole in zip(TEXTS, expected, strict=True):
            pieces = list(translate.stream(text, **options, **more))
            assert "".join(pieces) == whole
            assert not any("\ufffd" in piece for piece in pieces[:-1])


def test_pieces_are_small(translate: TextGenerator) -> None:
    greedy = [len(list(translate.stream(text, num_beams=1))) for text in TEXTS]
    beams = [len(list(translate.stream(text, num_beams=4))) for text in TEXTS]
    assert min(greedy) > 1
    assert sum(beams) > len(TEXTS), "some settles before the end"


@pytest.mark.parametrize("options", [{"num_beams": 1}, {"num_beams": 3}, {"num_beams": 1, "do_sample": True}], ids=str)
def test_a_text_that_is_stopped_changes_no_other(translate: TextGenerator, options: dict[str, Any]) -> None:
    plain = translate.hypotheses(TEXTS, **options)
    stopped = translate.hypotheses(TEXTS, on_step=lambda told: told.source % 3 == 0 and len(told.ids) == 3, **options)
    for number, (one, other) in enumerate(zip(stopped, plain, strict=True)):
        if number % 3:
            assert one[0].ids == other[0].ids
        else:
            assert len(one[0].ids) <= 3
