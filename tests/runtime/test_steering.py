"""What a call can say about each source: how its result begins, when it ends, and what to go on with instead."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from fakes import POSITIONS, VOCAB, FakeCausalGraph, FakeDecoderGraph, FakeEncoder, logits_alone

from diptych.runtime import ports
from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.errors import InputError, OptionError
from diptych.runtime.generation.generator import Generator
from diptych.runtime.generation.steps import Hypothesis, Progress
from diptych.runtime.graph import Array, Arrays
from diptych.runtime.manifest import Manifest, SpecialTokens

START, EOS, PAD = 2, 1, 0
SOURCES = [[3, 4, 5, 6], [7], [2, 9, 3, 3, 8, 10, 4], [5, 5], [10], [9, 8, 7, 6, 5, 4], [6, 6, 6]]
SEARCHES: list[dict[str, Any]] = [{}, {"num_beams": 3}, {"do_sample": True, "seed": 2}, {"prompt_lookup_num_tokens": 3}]


def make(*, encodes: bool = True, attends: bool = False, **defaults: Any) -> Generator:
    tokens = SpecialTokens(pad=PAD, eos=(EOS,), decoder_start=START if encodes else None)
    manifest = Manifest("translate", "bart", tokens, VOCAB, POSITIONS, POSITIONS, {"max_new_tokens": 12, **defaults})
    encoder, decoder = (FakeEncoder(), FakeDecoderGraph(attends=attends)) if encodes else (None, FakeCausalGraph())
    return Generator(CachedDecoder(encoder, decoder), manifest)


def log_probabilities(source: list[int], target: list[int]) -> list[float]:
    """Of each of the target's tokens, by one uncached pass."""
    logits = logits_alone(source, [START, *target])[:-1].astype(np.float64)
    return [float(row[token] - np.logaddexp.reduce(row)) for row, token in zip(logits, target, strict=True)]


def test_a_result_goes_on_from_its_prefix() -> None:
    generator = make()
    whole = [found[0] for found in generator(SOURCES)]
    prefixes = [one.ids[: number % 4] for number, one in enumerate(whole)]
    for batch_size in (2, 8):
        results = generator(SOURCES, target_prefixes=prefixes, batch_size=batch_size)
        for prefix, one, (found,) in zip(prefixes, whole, results, strict=True):
            length = len(one.ids) - len(prefix)
            assert found.ids[:length] == one.ids[len(prefix) :]
            assert found.token_scores[:length] == pytest.approx(one.token_scores[len(prefix) :], abs=1e-4)
            assert found.ids[-1] == EOS or len(found.ids) == 12


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_a_prefix_is_what_a_prompt_ends_with(options: dict[str, Any]) -> None:
    generator = make(encodes=False)
    prefixes = [[9, 3], [], [4], [5, 6, 7, 8], [3], [], [10]]
    expected = generator([[*source, *prefix] for source, prefix in zip(SOURCES, prefixes, strict=True)], **options)
    assert generator(SOURCES, target_prefixes=prefixes, **options) == expected


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_prefixes_of_any_lengths_are_gone_on_with_as_each_alone(options: dict[str, Any]) -> None:
    generator, prefixes = make(), [[9, 3], [], [4], [5, 6, 7, 8], [3], [], [10]]
    together = generator(SOURCES, target_prefixes=prefixes, batch_size=3, **options)
    for number, (source, prefix) in enumerate(zip(SOURCES, prefixes, strict=True)):
        (alone,) = generator([source], target_prefixes=[prefix], first=number, **options)
        assert [one.ids for one in together[number]] == [one.ids for one in alone]


def test_limits_count_prefixes_only_in_total() -> None:
    generator = make()
    options = {"suppress_tokens": [EOS], "target_prefixes": [[3, 4, 5]]}
    assert len(generator([[3]], max_new_tokens=4, **options)[0][0].ids) == 4
    assert len(generator([[3]], max_length=6, **options)[0][0].ids) == 2
    assert len(generator([[3]], max_new_tokens=POSITIONS - 1, **options)[0][0].ids) == POSITIONS - 4


@pytest.mark.parametrize(
    ("prefixes", "error", "message"),
    [
        ([[3]], OptionError, "1 target_prefixes for 2 sources"),
        ([[3], [3] * POSITIONS], InputError, "source 1: .*leave no room"),
        ([[VOCAB], []], InputError, f"source 0: .*{VOCAB}"),
        ([[], [-1]], InputError, "source 1: .*-1"),
    ],
)
def test_a_prefix_that_cannot_be_is_refused(prefixes: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()([[3], [4]], target_prefixes=prefixes)


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_a_source_ends_when_the_caller_says_so(options: dict[str, Any]) -> None:
    generator = make(suppress_tokens=[EOS])
    whole = generator(SOURCES, **options)
    stopped = generator(SOURCES, batch_size=4, on_step=lambda told: told.source % 2 and len(told.ids) == 5, **options)
    for number, (expected, found) in enumerate(zip(whole, stopped, strict=True)):
        assert len(found[0].ids) == (5 if number % 2 else 12)
        if number % 2 == 0 or "num_beams" not in options:
            assert found[0].ids == expected[0].ids[: len(found[0].ids)]


def test_beams_that_are_stopped_have_the_scores_of_beams_at_the_limit() -> None:
    generator = make(attends=True, suppress_tokens=[EOS], num_beams=3, num_return_sequences=3, coverage_penalty=1.5)
    stopped = generator(SOURCES, on_step=lambda told: len(told.ids) == 4)
    for found, expected in zip(stopped, generator(SOURCES, max_new_tokens=4), strict=True):
        assert [one.ids for one in found] == [one.ids for one in expected]
        assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-4)


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_scores_are_numbers_even_where_all_is_forbidden(options: dict[str, Any]) -> None:
    found = make()([SOURCES[0]], suppress_tokens=list(range(VOCAB)), max_new_tokens=2, **options)[0][0]
    assert np.isfinite([found.score, *found.token_scores]).all()


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_each_step_is_told(options: dict[str, Any]) -> None:
    told: list[Progress] = []
    generator = make()
    results = generator(SOURCES[:3], on_step=told.append, first=4, **options)
    assert {each.source for each in told} <= {4, 5, 6}
    for number, (best, *_) in enumerate(results, start=4):
        of_source = [each for each in told if each.source == number]
        assert [len(each.ids) for each in of_source] == list(range(1, len(of_source) + 1))
        if "num_beams" not in options:
            assert [each.ids for each in of_source] == [best.ids[:count] for count in range(1, len(best.ids))]
            assert of_source == sorted(of_source, key=lambda each: -each.score)


def test_a_callback_that_says_nothing_changes_nothing() -> None:
    generator = make()
    assert generator(SOURCES, on_step=lambda told: None) == generator(SOURCES)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3, "length_penalty": 0.0}], ids=str)
def test_alternatives_are_the_likeliest_beginnings_each_continued(options: dict[str, Any]) -> None:
    generator = make()
    for source in SOURCES:
        (found,) = generator([source], alternatives=4, **options)
        first = logits_alone(source, [START])[-1].astype(np.float64)
        first[EOS] = -np.inf
        assert [one.ids[0] for one in found] == np.argsort(-first)[:4].tolist()
        shares = first - np.logaddexp.reduce(first)
        for one in found:
            (alone,) = generator([source], target_prefixes=[one.ids[:1]], max_new_tokens=11, **options)
            assert one.ids[1:] == alone[0].ids
            assert one.token_scores[0] == pytest.approx(shares[one.ids[0]], abs=1e-4)
            assert one.token_scores[1:] == pytest.approx(log_probabilities(source, one.ids)[1:], abs=1e-4)
            assert one.score == pytest.approx(sum(one.token_scores), abs=1e-4)


def test_the_length_of_an_alternative_counts_its_first_token() -> None:
    for one in make()([SOURCES[0]], alternatives=4, num_beams=3, length_penalty=0.7)[0]:
        assert one.score == pytest.approx(sum(one.token_scores) / len(one.ids) ** 0.7, abs=1e-4)


def test_unlikely_alternatives_are_left_out() -> None:
    generator = make()
    (every,) = generator([SOURCES[0]], alternatives=VOCAB)
    assert len(every) == VOCAB - 1
    shares = [np.exp(one.token_scores[0]) for one in every]
    least = (shares[2] + shares[3]) / 2
    (some,) = generator([SOURCES[0]], alternatives=VOCAB, min_alternative_expansion_prob=float(least))
    assert some == every[:3]


def test_alternatives_of_one_token_are_those_tokens() -> None:
    (found,) = make()([SOURCES[0]], alternatives=3, max_new_tokens=1)
    assert [len(one.ids) for one in found] == [1, 1, 1]
    assert [one.score for one in found] == [sum(one.token_scores) for one in found]


@pytest.mark.parametrize("encodes", [True, False])
def test_alternatives_follow_a_prefix(encodes: bool) -> None:
    generator = make(encodes=encodes)
    (found,) = generator([[3, 4]], alternatives=3, target_prefixes=[[5, 6]])
    assert len({one.ids[0] for one in found}) == 3
    likeliest = generator([[3, 4]], target_prefixes=[[5, 6]], begin_suppress_tokens=[EOS])[0][0]
    assert found[0].ids == likeliest.ids


def test_other_ends_and_starts_for_a_call() -> None:
    generator = make()
    (plain,) = generator([SOURCES[0]], suppress_tokens=[EOS])[0]
    place = next(place for place, token in enumerate(plain.ids) if token != plain.ids[0])
    (found,) = generator([SOURCES[0]], eos_token_id=plain.ids[place], suppress_tokens=[EOS])[0]
    assert found.ids == plain.ids[: place + 1]
    (other,) = generator([SOURCES[0]], decoder_start_token_id=5, max_new_tokens=1)[0]
    assert other.ids == [int(logits_alone(SOURCES[0], [5])[-1].argmax())]
    with pytest.raises(OptionError, match=f"decoder_start_token_id is {VOCAB}, outside"):
        generator([[3]], decoder_start_token_id=VOCAB)


@pytest.mark.parametrize("batch_tokens", [1, 20, 8192])
@pytest.mark.parametrize("encodes", [True, False])
def test_the_score_of_a_result_is_that_of_greedy_search(encodes: bool, batch_tokens: int) -> None:
    generator = make(encodes=encodes)
    results = [found[0] for found in generator(SOURCES)]
    scored = generator.score(SOURCES, [one.ids for one in results], batch_tokens=batch_tokens)
    for one, found in zip(results, scored, strict=True):
        assert found.token_scores == pytest.approx(one.token_scores, abs=1e-4)
        assert found.score == pytest.approx(one.score, abs=1e-4)


def test_the_score_of_any_target_is_what_the_model_says() -> None:
    targets = [[3], [4, 4, EOS], [5, 6, 7, 8, 9, 10], [EOS], [2, 2], [0, 1, 2], [9]]
    for source, target, found in zip(SOURCES, targets, make(min_new_tokens=5).score(SOURCES, targets), strict=True):
        assert found.token_scores == pytest.approx(log_probabilities(source, target), abs=1e-4)


def test_a_target_may_be_as_long_as_the_positions() -> None:
    (found,) = make().score([[3]], [[4] * POSITIONS])
    assert len(found.token_scores) == POSITIONS


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ([[3]], OptionError, "1 targets for 2 sources"),
        ([[3], []], InputError, "source 1: .*the target has no tokens"),
        ([[3], [VOCAB]], InputError, f"source 1: .*{VOCAB}"),
        ([[3] * (POSITIONS + 1), [3]], InputError, f"source 0: too long.*{POSITIONS} positions"),
    ],
)
def test_a_target_that_cannot_be_scored_is_refused(targets: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make().score([[3], [4]], targets)


def test_nothing_is_scored_for_nothing() -> None:
    assert make().score([], []) == []


def best(results: list[list[Hypothesis]]) -> list[list[int]]:
    return [found[0].ids for found in results]


@pytest.mark.parametrize("encodes", [True, False])
def test_guesses_change_nothing(encodes: bool) -> None:
    generator = make(encodes=encodes)
    for options in ({}, {"repetition_penalty": 1.5}, {"no_repeat_ngram_size": 2}, {"max_new_tokens": 1}):
        assert best(generator(SOURCES, prompt_lookup_num_tokens=4, **options)) == best(generator(SOURCES, **options))
        streamed = [list(generator.stream(source, prompt_lookup_num_tokens=4, **options)) for source in SOURCES]
        assert streamed == best(generator(SOURCES, **options))


class WiderEncoder(FakeEncoder):
    """Knows more tokens than the decoder, which stand for those that it does know."""

    def run(self, feeds: Arrays, outputs: Collection[str] | None = None) -> dict[str, Array]:
        return super().run({**feeds, ports.INPUT_IDS: feeds[ports.INPUT_IDS] % VOCAB}, outputs)


def test_guesses_are_of_the_vocabulary_that_is_said() -> None:
    tokens = SpecialTokens(pad=PAD, eos=(EOS,), decoder_start=START)
    manifest = Manifest("translate", "marian", tokens, 3 * VOCAB, POSITIONS, POSITIONS, {"max_new_tokens": 12})
    generator = Generator(CachedDecoder(WiderEncoder(), FakeDecoderGraph()), manifest)
    sources = [[each for token in range(VOCAB) for each in (token, token + more)] for more in (VOCAB, 2 * VOCAB)]
    assert best(generator(sources, prompt_lookup_num_tokens=4)) == best(generator(sources))
