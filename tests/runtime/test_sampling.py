"""Draws follow the filtered probabilities, and depend on the seed, the source's number and nothing else."""

from typing import Any

import numpy as np
import pytest
from fakes import POSITIONS, VOCAB, FakeCausalGraph, FakeDecoderGraph, FakeEncoder, logits_alone

from diptych.runtime.decoder import CachedDecoder
from diptych.runtime.errors import EngineError, OptionError
from diptych.runtime.generation.generator import Generator
from diptych.runtime.generation.greedy import draw
from diptych.runtime.generation.steps import Hypothesis
from diptych.runtime.graph import Array
from diptych.runtime.manifest import Manifest, SpecialTokens

START, EOS, PAD = 2, 1, 0
SOURCES = [[3, 4, 5, 6], [7], [2, 9, 3, 3, 8, 10, 4], [5, 5], [10], [9, 8, 7, 6, 5, 4], [6, 6, 6]]
KINDS: list[dict[str, Any]] = [
    {},
    {"num_return_sequences": 3},
    {"num_beams": 3},
    {"num_beams": 3, "num_return_sequences": 2, "early_stopping": True},
    {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "repetition_penalty": 1.3},
]
# The 99.9th percentile of chi-square, by degrees of freedom.
CHI_SQUARE = {2: 13.8, 3: 16.3, 4: 18.5, 5: 20.5, 6: 22.5, 7: 24.3, 8: 26.1, 9: 27.9, 10: 29.6}


def make(*, encodes: bool = True) -> Generator:
    tokens = SpecialTokens(pad=PAD, eos=(EOS,), decoder_start=START if encodes else None)
    manifest = Manifest("translate", "bart", tokens, VOCAB, POSITIONS, POSITIONS, {"max_new_tokens": 9})
    encoder, decoder = (FakeEncoder(), FakeDecoderGraph()) if encodes else (None, FakeCausalGraph())
    return Generator(CachedDecoder(encoder, decoder), manifest)


def sampled(generator: Generator, sources: list[list[int]], **options: Any) -> list[list[Hypothesis]]:
    return generator(sources, **{"do_sample": True, "seed": 5} | options)


def ids_of(results: list[list[Hypothesis]]) -> list[list[list[int]]]:
    return [[one.ids for one in found] for found in results]


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("encodes", [True, False])
def test_a_source_gets_the_same_in_any_batch(options: dict[str, Any], encodes: bool) -> None:
    generator = make(encodes=encodes)
    together = sampled(generator, SOURCES, **options)
    for batch_size in (1, 2, 3):
        assert ids_of(sampled(generator, SOURCES, batch_size=batch_size, **options)) == ids_of(together)
    for number, source in enumerate(SOURCES):
        assert ids_of(sampled(generator, [source], first=number, **options)) == ids_of([together[number]])


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_a_seed_gives_the_same_again_and_others_do_not(options: dict[str, Any]) -> None:
    first, second = make(), make()
    assert sampled(first, SOURCES, **options) == sampled(second, SOURCES, **options)
    results = [ids_of(sampled(first, SOURCES, **options, seed=seed)) for seed in range(4)]
    assert all(one != other for place, one in enumerate(results) for other in results[:place])


def test_the_same_source_twice_is_drawn_twice() -> None:
    first, *others = ids_of(sampled(make(), [SOURCES[0]] * 5))
    assert any(other != first for other in others)


def test_several_samples_of_a_source_differ_and_come_best_first() -> None:
    for found in sampled(make(), SOURCES, num_return_sequences=6):
        assert len(found) == 6
        assert len({tuple(one.ids) for one in found}) >= 4
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        for one in found:
            assert one.score == pytest.approx(sum(one.token_scores), abs=1e-5)


def test_the_first_of_several_samples_is_not_the_only_one() -> None:
    """What each copy draws does not depend on how many there are."""
    (one,), two = (sampled(make(), [SOURCES[0]], num_return_sequences=count)[0] for count in (1, 2))
    assert one.ids in [other.ids for other in two]


@pytest.mark.parametrize(
    "options",
    [{}, {"temperature": 0.5}, {"temperature": 2.0}, {"top_k": 4}, {"top_p": 0.8}, {"suppress_tokens": [3, 4, 5]}],
    ids=str,
)
@pytest.mark.parametrize("source", SOURCES[:2], ids=str)
def test_first_tokens_are_as_frequent_as_they_are_likely(source: list[int], options: dict[str, Any]) -> None:
    draws = 3000
    (found,) = sampled(make(), [source], num_return_sequences=draws, max_new_tokens=1, **options)
    counts = np.bincount([one.ids[0] for one in found], minlength=VOCAB)
    expected = filtered(logits_alone(source, [START])[-1].astype(np.float64), **options) * draws
    assert not counts[expected == 0].any()
    assert (
        chi_square(counts, expected)
        <= CHI_SQUARE[int((expected >= 5).sum() - ((expected >= 5) == (expected > 0)).all())]
    )
    for one in found[:: draws // 7]:
        assert one.score == pytest.approx(np.log(expected[one.ids[0]] / draws), abs=1e-4)


def filtered(
    logits: Array, temperature: float = 1, top_k: int = VOCAB, top_p: float = 1, suppress_tokens: Any = ()
) -> Array:
    """Probabilities [V]."""
    logits = logits / temperature
    logits[list(suppress_tokens)] = -np.inf
    logits[np.argsort(-logits)[top_k:]] = -np.inf
    probabilities = np.exp(logits - np.logaddexp.reduce(logits))
    order = np.argsort(-probabilities)
    before = np.cumsum(probabilities[order]) - probabilities[order]
    probabilities[order[before >= top_p]] = 0
    return np.asarray(probabilities / probabilities.sum())


def chi_square(counts: Array, expected: Array) -> float:
    """Rare ones are counted together."""
    common = expected >= 5
    rest = expected[~common].sum()
    found = ((counts[common] - expected[common]) ** 2 / expected[common]).sum()
    return float(found + ((counts[~common].sum() - rest) ** 2 / rest if rest else 0))


@pytest.mark.parametrize("num_beams", [2, 4])
@pytest.mark.parametrize("early_stopping", [True, False])
def test_cold_beams_are_those_of_beam_search(num_beams: int, early_stopping: bool) -> None:
    generator = make()
    options = {"num_beams": num_beams, "num_return_sequences": num_beams, "early_stopping": early_stopping}
    cold = sampled(generator, SOURCES, temperature=1e-4, **options)
    assert ids_of(cold) == ids_of(generator(SOURCES, **options))


def test_a_cold_draw_is_the_likeliest_token() -> None:
    generator = make()
    assert ids_of(sampled(generator, SOURCES, temperature=1e-4)) == ids_of(generator(SOURCES))


def test_beams_are_drawn_without_replacement() -> None:
    (found,) = sampled(make(), [SOURCES[0]], num_beams=6, num_return_sequences=6, max_new_tokens=2)
    assert len({tuple(one.ids) for one in found}) == 6


def test_beam_draws_are_as_frequent_as_they_are_likely() -> None:
    """The first of the drawn beams is a draw by the softmax of totals: with one step, of the first token."""
    draws, source = 2000, SOURCES[0]
    results = sampled(make(), [source] * draws, num_beams=2, max_new_tokens=1, length_penalty=0.0)
    counts = np.bincount([found[0].ids[0] for found in results], minlength=VOCAB)
    likely = filtered(logits_alone(source, [START])[-1].astype(np.float64))
    # The better of two different draws: a first and a second without replacement, in either order.
    pairs = likely[:, None] * likely[None, :] / (1 - likely[:, None])
    np.fill_diagonal(pairs, 0)
    better = np.where(likely[:, None] >= likely[None, :], np.arange(VOCAB)[:, None], np.arange(VOCAB)[None, :])
    expected = np.bincount(better.ravel(), weights=(pairs * draws).ravel(), minlength=VOCAB)
    assert chi_square(counts, expected) <= CHI_SQUARE[int((expected >= 5).sum())]


def test_a_draw_is_one_of_what_is_allowed() -> None:
    scores = np.array([-np.inf, 0.0, -np.inf, -200.0, 1.0], dtype=np.float32)
    assert {draw(scores, np.random.default_rng(seed)) for seed in range(100)} == {1, 4}
    assert draw(np.full(4, -np.inf, dtype=np.float32), np.random.default_rng(0)) == 0
    with pytest.raises(EngineError, match="not numbers"):
        draw(np.array([0.0, np.nan], dtype=np.float32), np.random.default_rng(0))


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "min_p", "seed"])
def test_options_of_sampling_need_it(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} is for sampling; add do_sample"):
        make()([[3]], **{name: 1})
