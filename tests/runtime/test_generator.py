"""Ids in, ids and scores out, over numpy graphs and a manifest made by hand."""

from typing import Any

import numpy as np
import pytest
from fakes import POSITIONS, VOCAB, FakeDecoderGraph, FakeEncoder, logits_alone

from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.errors import InputError, OptionError
from diptych.runtime.generation.generator import Generator
from diptych.runtime.generation.steps import Hypothesis
from diptych.runtime.manifest import Manifest, SpecialTokens

START, EOS, PAD = 2, 1, 0
SOURCE_POSITIONS = 9
RAGGED = [[3, 4, 5, 6], [7], [2, 9, 3, 3, 8, 10, 4], [5, 5], [10], [9, 8, 7, 6, 5, 4], [3, 4, 5, 6], [6, 6, 6]]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_beams": 3, "num_return_sequences": 3},
    {"num_beams": 2, "length_penalty": 0.0, "early_stopping": True, "no_repeat_ngram_size": 2},
    {"repetition_penalty": 1.8, "min_new_tokens": 3},
]


def make(eos: tuple[int, ...] = (EOS, 8), **defaults: Any) -> tuple[Generator, FakeEncoder]:
    encoder = FakeEncoder()
    tokens = SpecialTokens(pad=PAD, eos=eos, decoder_start=START)
    manifest = Manifest(
        "translate", "bart", tokens, VOCAB, SOURCE_POSITIONS, POSITIONS, {"max_new_tokens": 12, **defaults}
    )
    return Generator(CachedDecoder(encoder, FakeDecoderGraph()), manifest), encoder


def assert_same(results: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    assert [[item.ids for item in found] for found in results] == [[item.ids for item in found] for found in expected]
    scores = [[item.score for item in found] for found in results]
    np.testing.assert_allclose(scores, [[item.score for item in found] for found in expected], atol=1e-4)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_a_batch_gives_what_each_source_gives_alone(options: dict[str, Any], batch_size: int) -> None:
    generator, _ = make()
    alone = [generator([source], **options)[0] for source in RAGGED]
    assert len({tuple(found[0].ids) for found in alone}) > 3, "results must differ for their order to show"
    assert_same(generator(RAGGED, batch_size=batch_size, **options), alone)


def test_greedy_ids_are_the_likeliest_of_an_uncached_pass() -> None:
    generator, _ = make()
    for source, (found,) in zip(RAGGED, generator(RAGGED), strict=True):
        logits = logits_alone(source, [START, *found.ids[:-1]]).astype(np.float64)
        assert logits.argmax(axis=1).tolist() == found.ids
        log_probabilities = logits.max(axis=1) - np.logaddexp.reduce(logits, axis=1)
        assert found.score == pytest.approx(log_probabilities.sum(), abs=1e-4)
        assert found.ids[-1] in (EOS, 8) or len(found.ids) == 12


def test_sources_of_like_length_are_decoded_together() -> None:
    generator, encoder = make()
    generator(RAGGED)
    assert encoder.runs == [(8, 7)]
    encoder.runs.clear()
    generator(RAGGED, batch_tokens=8)
    assert sum(rows for rows, _ in encoder.runs) == 8
    assert all(rows * width <= 8 for rows, width in encoder.runs)
    assert sum(rows * width for rows, width in encoder.runs) <= sum(map(len, RAGGED)) + 3


def test_no_sources_give_no_results() -> None:
    generator, encoder = make()
    assert generator([]) == []
    assert encoder.runs == []


def test_wrong_options_are_told_even_without_sources() -> None:
    generator, _ = make()
    with pytest.raises(OptionError, match="num_beams"):
        generator([], num_beams=0)
    with pytest.raises(OptionError, match="did you mean 'num_beams'"):
        generator([], num_beam=2)


def test_an_empty_source_is_refused_by_its_number() -> None:
    generator, encoder = make()
    with pytest.raises(InputError, match=r"source 1: .*no tokens"):
        generator([[3], [], [4]])
    assert encoder.runs == []


def test_a_source_as_long_as_the_positions_is_read_and_a_longer_one_refused() -> None:
    generator, _ = make()
    longest = [3, 4, 5] * 3
    assert len(generator([longest])[0][0].ids) > 0
    with pytest.raises(InputError, match=rf"source 2: .*{SOURCE_POSITIONS + 1} tokens.*{SOURCE_POSITIONS}\b"):
        generator([[3], longest, [*longest, 3]])


@pytest.mark.parametrize(
    "options", [{}, {"repetition_penalty": 1.8}, {"max_new_tokens": 1}, {"no_repeat_ngram_size": 2}]
)
def test_a_stream_is_the_greedy_ids(options: dict[str, Any]) -> None:
    generator, _ = make()
    for source in RAGGED:
        assert list(generator.stream(source, **options)) == generator([source], **options)[0][0].ids


def test_a_stream_is_the_best_hypothesis_of_the_search_that_is_preferred() -> None:
    preferring, _ = make(num_beams=4, num_return_sequences=2)
    for source in RAGGED:
        assert list(preferring.stream(source)) == preferring([source])[0][0].ids
        assert list(preferring.stream(source, num_beams=1)) == preferring([source], num_beams=1)[0][0].ids


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
def test_beams_are_streamed_as_far_as_they_agree(early_stopping: bool | str) -> None:
    options = {"num_beams": 3, "early_stopping": early_stopping, "max_new_tokens": 14}
    early = 0
    for source in RAGGED:
        encoder, decoder = FakeEncoder(), FakeDecoderGraph()
        manifest = Manifest("translate", "bart", SpecialTokens(PAD, (EOS,), START), VOCAB, SOURCE_POSITIONS, POSITIONS)
        generator = Generator(CachedDecoder(encoder, decoder), manifest)
        steps = [len(decoder.feeds) for _ in generator.stream(source, **options)]
        assert all(step > place for place, step in enumerate(steps))
        early += steps[0] < len(decoder.feeds)
    assert early >= 3


def test_several_samples_are_streamed_when_they_are_ranked() -> None:
    generator, _ = make()
    options = {"do_sample": True, "num_return_sequences": 3, "seed": 1}
    for source in RAGGED:
        assert list(generator.stream(source, **options)) == generator([source], **options)[0][0].ids


def test_a_stream_gives_each_id_as_soon_as_it_is_chosen() -> None:
    encoder, decoder = FakeEncoder(), FakeDecoderGraph()
    manifest = Manifest("translate", "bart", SpecialTokens(PAD, (), START), VOCAB, SOURCE_POSITIONS, POSITIONS)
    stream = Generator(CachedDecoder(encoder, decoder), manifest).stream(RAGGED[0], max_new_tokens=5)
    steps = [len(decoder.feeds) for _ in stream]
    assert steps == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("source", [[], [3] * (SOURCE_POSITIONS + 1)])
def test_a_stream_refuses_what_a_call_refuses(source: list[int]) -> None:
    generator, _ = make()
    with pytest.raises(InputError):
        next(generator.stream(source))


def test_defaults_of_the_bundle_hold_and_a_call_overrides_them() -> None:
    generator, _ = make(eos=(), num_beams=3, num_return_sequences=2, max_new_tokens=4)
    assert [len(item.ids) for item in generator([RAGGED[0]])[0]] == [4, 4]
    assert [len(item.ids) for item in generator([RAGGED[0]], num_return_sequences=3, max_new_tokens=6)[0]] == [6, 6, 6]
    assert [len(item.ids) for item in generator([RAGGED[0]], num_beams=1, num_return_sequences=1)[0]] == [4]
    assert [len(item.ids) for item in generator([RAGGED[0]])[0]] == [4, 4]


def test_without_a_limit_the_positions_end_the_text() -> None:
    encoder, decoder = FakeEncoder(), FakeDecoderGraph()
    manifest = Manifest("translate", "bart", SpecialTokens(PAD, (), START), VOCAB, SOURCE_POSITIONS, POSITIONS)
    generator = Generator(CachedDecoder(encoder, decoder), manifest)
    assert len(generator([RAGGED[0]])[0][0].ids) == POSITIONS - 1
    with pytest.raises(OptionError, match=rf"max_new_tokens {POSITIONS} "):
        generator([RAGGED[0]], max_new_tokens=POSITIONS)


def test_ids_beyond_the_vocabulary_are_refused_in_options() -> None:
    generator, _ = make()
    assert generator.vocab_size == VOCAB
    with pytest.raises(OptionError, match="suppress_tokens"):
        generator([[3]], suppress_tokens=[VOCAB])


def test_array_sources_are_read_like_lists() -> None:
    generator, _ = make()
    assert_same(generator([np.array(source) for source in RAGGED]), generator(RAGGED))


@pytest.mark.parametrize("num_beams", [1, 3])
def test_ids_and_scores_are_plain_numbers(num_beams: int) -> None:
    generator, _ = make()
    for found in generator(RAGGED, num_beams=num_beams):
        assert all(type(token) is int for item in found for token in item.ids)
        assert all(type(item.score) is float for item in found)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("num_beams", [1, 2])
def test_every_source_has_a_hypothesis_even_if_options_leave_no_token(num_beams: int) -> None:
    generator, _ = make(eos=(EOS,))
    results = generator(RAGGED, num_beams=num_beams, suppress_tokens=list(range(VOCAB)))
    assert [len(found) for found in results] == [1] * len(RAGGED)
