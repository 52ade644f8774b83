"""How likely given targets are, as texts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from replies import EOS, POSITIONS, VOCAB, Speaker

from diptych.runtime import InputError, OptionError
from diptych.runtime.generation import scoring
from diptych.runtime.tasks.score import ScoredText, Scorer

LONG = "one two three four five " * 3
REPLIES = {"hello": {"Ça va": 0.6, "Ça vient 😀": 0.3, "Non": 0.1}, "b": {"a": 1.0}, "long": {LONG: 0.5, "short": 0.5}}
PAIRS = [("hello", "Ça va"), ("hello", "Ça vient 😀"), ("b", "a"), ("long", LONG), ("hello", "Non")]
LOGS = np.log([0.6, 0.3, 1.0, 0.5, 0.1])


@pytest.fixture
def speaker(tmp_path: Path) -> Speaker:
    return Speaker(tmp_path, REPLIES)


def scored(speaker: Speaker, pairs: list[Any], **options: Any) -> list[ScoredText]:
    found = Scorer(speaker.texts).attempt(pairs, **options)
    assert not [one for one in found if isinstance(one, InputError)], found
    return [one for one in found if not isinstance(one, InputError)]


def test_a_score_is_the_log_probability_of_all_the_target(speaker: Speaker) -> None:
    found = scored(speaker, PAIRS)
    assert [one.score for one in found] == pytest.approx(LOGS.tolist(), abs=0.2)
    for one, (_, target) in zip(found, PAIRS, strict=True):
        assert one.ids == [*speaker.tokenizer.encode_content(target), EOS], "the end counts"
        assert len(one.token_scores) == len(one.ids)
        assert sum(one.token_scores) == pytest.approx(one.score)


def test_it_is_that_of_greedy_search_where_that_finds_the_target(speaker: Speaker) -> None:
    results = [found[0] for found in speaker.texts.hypotheses(list(REPLIES), output_scores=True)]
    found = scored(speaker, [(text, one.text) for text, one in zip(REPLIES, results, strict=True)])
    for one, expected in zip(found, results, strict=True):
        if one.ids == expected.ids:
            assert one.score == pytest.approx(expected.score, abs=1e-4)
            assert one.token_scores == pytest.approx(expected.token_scores, abs=1e-4)
    assert sum(one.ids == other.ids for one, other in zip(found, results, strict=True)) >= 2


@pytest.mark.parametrize(
    "options", [{"batch_size": 1}, {"batch_size": 2}, {"batch_tokens": 1}, {"batch_tokens": 90}], ids=str
)
def test_batches_change_nothing(speaker: Speaker, options: dict[str, int]) -> None:
    expected = scored(speaker, PAIRS)
    assert {rows for rows, _ in speaker.batches} == {len(PAIRS)}
    before = len(speaker.batches)
    for one, other in zip(scored(speaker, PAIRS, **options), expected, strict=True):
        assert one.ids == other.ids
        assert one.token_scores == pytest.approx(other.token_scores, abs=1e-5)
    assert max(rows for rows, _ in speaker.batches[before:]) < len(PAIRS)


@pytest.mark.parametrize("tokens", [1, 2, 7])
def test_long_targets_are_read_in_pieces(speaker: Speaker, monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
    expected = scored(speaker, PAIRS)
    speaker.decoder.runs.clear()
    monkeypatch.setattr(scoring, "_MOST_LOGITS", tokens * len(PAIRS) * VOCAB)
    for one, other in zip(scored(speaker, PAIRS), expected, strict=True):
        assert one.token_scores == pytest.approx(other.token_scores, abs=1e-5)
    assert max(length for _, length in speaker.decoder.runs) == tokens
    assert sum(length for _, length in speaker.decoder.runs) == len(expected[3].ids)


def test_a_language_model_does_not_end(tmp_path: Path) -> None:
    speaker = Speaker(tmp_path, {"a": {" is b": 0.5, "!": 0.5}}, encodes=False)
    (one,) = scored(speaker, [("a", " is b")])
    assert EOS not in one.ids
    assert speaker.tokenizer.decode(one.ids) == " is b"
    assert one.score == pytest.approx(np.log(0.5), abs=0.05)


BAD = [
    (("", "a"), "the text is empty"),
    (("hello", ""), "the text is empty"),
    (("hello", "\ud83d"), "lone surrogate"),
    (("hello", "x" * 500), f"too long: 1 and 501 tokens, the decoder has {POSITIONS} positions"),
    (("x" * 500, "a"), "too long: 502 tokens"),
    ("hello", "expected a pair (text, target)"),
    (("a", "b", "c"), "expected a pair"),
    (("hello", None), "expected a text, found None"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_a_bad_pair_keeps_its_place(speaker: Speaker, bad: Any, message: str) -> None:
    first, wrong, last = Scorer(speaker.texts).attempt([PAIRS[0], bad, PAIRS[2]])
    assert message in str(wrong)
    assert isinstance(wrong, InputError)
    assert [first, last] == scored(speaker, [PAIRS[0], PAIRS[2]])


def test_lines_and_rows(speaker: Speaker) -> None:
    score = Scorer(speaker.texts)
    assert score.from_line("hello\tÇa va") == score.from_json({"text": "hello", "second": "Ça va"}) == PAIRS[0]
    (one,) = scored(speaker, PAIRS[:1])
    assert float(score.to_line(one)) == one.score
    assert score.to_json(one) == {"score": one.score, "ids": one.ids, "token_scores": one.token_scores}
    for line in ("hello", "a\tb\tc", ""):
        with pytest.raises(InputError, match="expected text<TAB>target"):
            score.from_line(line)
    for row in ("hello", {"text": "hello"}, {"text": "a", "second": 3}, {"text": "a", "target": "b"}):
        with pytest.raises(InputError):
            score.from_json(row)


def test_nothing_is_scored_for_nothing_and_options_are_checked(speaker: Speaker) -> None:
    score = Scorer(speaker.texts)
    assert score.attempt([]) == []
    with pytest.raises(OptionError, match="batch_size is 0"):
        score.attempt(PAIRS, batch_size=0)
    with pytest.raises(OptionError, match="num_baems"):
        score.check_options(num_baems=1)
