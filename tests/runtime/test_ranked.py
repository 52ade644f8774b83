"""The best tokens of each row in the stead of all logits: the same results, and not a step with more than these."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
from fakes import FakeDecoder, FakeDecoderGraph, FakeEncoder, FakeState, Prefix

from diptych.runtime.decoder import CachedDecoder, CacheState
from diptych.runtime.errors import EngineError
from diptych.runtime.generation import requests
from diptych.runtime.generation.beam import Beam
from diptych.runtime.generation.endings import Endings
from diptych.runtime.generation.filters import Filter, make_filters
from diptych.runtime.generation.generator import Generator
from diptych.runtime.generation.greedy import Greedy
from diptych.runtime.generation.history import History
from diptych.runtime.generation.loop import decode
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.requests import Request, Room, Waiting
from diptych.runtime.generation.steps import Hypothesis, Search
from diptych.runtime.graph import Array
from diptych.runtime.manifest import Manifest, SpecialTokens
from diptych.runtime.ranked import Ranked, check, ranked, top

PAD, EOS = 0, 1
VOCAB = 12
LIMIT = 9
SOURCES = [[4, 4, 2], [3], [2, 3, 4, 2, 3], [3, 3], [4, 2, 4, 4], [2], [4], [2, 2], [3, 2, 4]]
PROMPTS = [[0], [0, 3], [0], [0, 2, 2, 4], [0], [0, 4], [0], [0, 3, 3], [0]]
MARIAN = {"bad_words_ids": [[PAD]], "forced_eos_token_id": EOS}
FORESEEN: list[dict[str, Any]] = [
    {},
    MARIAN,
    MARIAN | {"suppress_tokens": [5, 7, 7], "begin_suppress_tokens": [EOS, 6]},
    MARIAN | {"forced_bos_token_id": 9, "begin_suppress_tokens": [EOS, 6]},
    MARIAN | {"min_new_tokens": 4},
    {"forced_eos_token_id": [EOS, 8], "suppress_tokens": [8]},
    {"bad_words_ids": [[PAD], [4, 5], [6, 6], [10]]},
    MARIAN | {"no_repeat_ngram_size": 2, "min_new_tokens": 3},
]
MIXED: list[dict[str, Any]] = [
    *FORESEEN,
    {"suppress_tokens": [token for token in range(VOCAB) if token not in (2, 5, 8)]},
    MARIAN | {"min_length": 5, "eos_token_id": [EOS, 8]},
    MARIAN | {"no_repeat_ngram_size": 1, "encoder_no_repeat_ngram_size": 2},
    {"repetition_penalty": 1.4, "suppress_tokens": [3]},
    {"renormalize_logits": True, "suppress_tokens": [3]},
]
SEARCHES = [1, 2, 4]


class Tied(FakeDecoder):
    """Few different logits, so that of most rows several tokens are equally good."""

    def logits(self, source: Prefix, prefix: Prefix) -> Array:
        return np.round(super().logits(source, prefix))


class BestOnly(Tied):
    """Never tells all logits."""

    def step(self, state: FakeState, ids: Array) -> Array:
        raise AssertionError("all logits were asked for")

    def rank(self, state: FakeState, ids: Array, count: int, asked: Array) -> Ranked:
        return ranked(super().step(state, ids), count, asked)


class Rounding(FakeDecoder):
    """As graphs do, which compute in float32."""

    def rank(self, state: FakeState, ids: Array, count: int, asked: Array) -> Ranked:
        found = super().rank(state, ids, count, asked)
        return replace(found, log_sum=found.log_sum.astype(np.float32))


def blind(history: History, scores: Array) -> None:
    """A filter that does nothing, and does not tell so beforehand."""


def search_all(
    decoder: FakeDecoder,
    options: Mapping[str, Any],
    more: Sequence[Filter] = (),
    *,
    prompts: Sequence[list[int]] = PROMPTS,
    batch_size: int = len(SOURCES),
) -> list[list[Hypothesis]]:
    chosen = GenerationOptions.from_mapping(options)
    eos = chosen.eos_token_id or (EOS,)
    search: Search = Beam(Endings(eos), chosen) if chosen.num_beams > 1 else Greedy(Endings(eos))
    filters = [*make_filters(chosen, eos, decoder.vocab_size), *more]
    asked = [Request(number, *texts, LIMIT) for number, texts in enumerate(zip(SOURCES, prompts, strict=True))]
    found: dict[int, list[Hypothesis]] = {}
    for _ in decode(decoder, Waiting(asked, Room(batch_size)), search, filters):
        found |= dict(search.take_finished())
    return [found[number] for number in range(len(asked))]


def assert_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]], tolerance: float = 1e-5) -> None:
    assert [[one.ids for one in each] for each in found] == [[one.ids for one in each] for each in expected]
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert one.score == pytest.approx(other.score, abs=tolerance)
        assert one.token_scores == pytest.approx(other.token_scores, abs=tolerance)


@pytest.mark.parametrize("kind", [FakeDecoder, Tied])
@pytest.mark.parametrize("beams", SEARCHES)
@pytest.mark.parametrize("options", MIXED, ids=str)
def test_results_are_those_of_all_scores(
    options: dict[str, Any], beams: int, kind: type[FakeDecoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where those that join have come less far than those that they join."""
    monkeypatch.setattr(requests, "_LEFT", 0.9)
    asked = options | {"num_beams": beams, "num_return_sequences": beams}
    expected = search_all(kind(VOCAB, 2), asked, [blind])
    for batch_size in (3, len(SOURCES)):
        assert_same(search_all(kind(VOCAB, 2), asked, batch_size=batch_size), expected)


@pytest.mark.parametrize("beams", SEARCHES)
@pytest.mark.parametrize("options", FORESEEN, ids=str)
def test_what_is_foreseen_needs_no_more_than_the_best(options: dict[str, Any], beams: int) -> None:
    asked, alike = options | {"num_beams": beams, "num_return_sequences": beams}, [[0]] * len(SOURCES)
    decoder = BestOnly(VOCAB, 5)
    assert_same(search_all(decoder, asked, prompts=alike), search_all(Tied(VOCAB, 5), asked, [blind], prompts=alike))
    assert len(decoder.seen) == LIMIT


@pytest.mark.parametrize("beams", SEARCHES)
def test_where_hardly_anything_is_left_the_scores_are_exact(beams: int) -> None:
    """What float32 tells of the sum of all tells little of a share of a thousandth."""
    rare = [0.9995 if token == EOS else 0.0005 / (VOCAB - 1) * (1 + token / 99) for token in range(VOCAB)]
    table = {(token,) * count: rare for token in range(VOCAB) for count in range(LIMIT)}
    options = {"min_new_tokens": 5, "num_beams": beams}
    expected = search_all(FakeDecoder(VOCAB, 0, table), options, [blind])
    assert_same(search_all(Rounding(VOCAB, 0, table), options), expected, 1e-4)
    assert len(expected[0][0].ids) > 5


class Doubtful(CachedDecoder):
    """What is asked for seems to be all there is, so that every step is made twice."""

    def rank(self, state: CacheState, ids: Array, count: int, asked: Array) -> Ranked:
        found = super().rank(state, ids, count, asked)
        return replace(found, asked=np.tile(found.log_sum[:, None], (1, len(asked))))


@pytest.mark.parametrize("attends", [False, True])
@pytest.mark.parametrize("batch_size", [1, 2, 9])
def test_a_step_that_is_made_twice_is_made_once(
    batch_size: int, attends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_LEFT", 0.9)
    tokens = SpecialTokens(pad=PAD, eos=(EOS, 8), decoder_start=2)
    manifest = Manifest("translate", "marian", tokens, 11, 30, 30, {"max_new_tokens": 12} | MARIAN)
    graphs = [FakeDecoderGraph(attends=attends) for _ in range(2)]
    found, expected = (
        Generator(kind(FakeEncoder(), graph), manifest)(
            SOURCES, batch_size=batch_size, target_prefixes=PROMPTS, output_attentions=attends
        )
        for kind, graph in zip((Doubtful, CachedDecoder), graphs, strict=True)
    )
    assert len(graphs[0].feeds) > 1.5 * len(graphs[1].feeds)
    assert_same(found, expected)
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert (one.attention is not None) == attends
        if one.attention is not None and other.attention is not None:
            np.testing.assert_allclose(one.attention, other.attention, atol=1e-5)


@pytest.mark.parametrize("beams", [1, 3])
def test_where_nothing_is_left_nothing_is_found(beams: int) -> None:
    options = {"suppress_tokens": list(range(VOCAB)), "num_beams": beams}
    assert_same(search_all(Tied(VOCAB), options), search_all(Tied(VOCAB), options, [blind]))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("value", "beams"), [(np.nan, 1), (np.nan, 3), (np.inf, 3)])
def test_logits_that_are_no_numbers_are_told(value: float, beams: int) -> None:
    class Broken(FakeDecoder):
        def logits(self, source: Prefix, prefix: Prefix) -> Array:
            values = super().logits(source, prefix).copy()
            values[4] = value if len(prefix) == 3 else values[4]
            return values

    class Telling(Broken):
        """A graph says nothing of it; its sum is no number."""

        def rank(self, state: FakeState, ids: Array, count: int, asked: Array) -> Ranked:
            logits = self.step(state, ids)
            order = np.argsort(-logits, axis=1, kind="stable")[:, :count]
            log_sum = np.log(np.exp(logits).sum(axis=1))
            return Ranked(order, np.take_along_axis(logits, order, axis=1), log_sum, logits[:, asked])

    for kind in (Broken, Telling):
        with pytest.raises(EngineError, match="not numbers"):
            search_all(kind(VOCAB), MARIAN | {"num_beams": beams})


@pytest.mark.parametrize("count", [1, 2, 5, 30, 300, 999])
@pytest.mark.parametrize("vocab_size", [1, 4, 130, 500, 4001])
def test_the_best_of_a_row_are_those_of_a_stable_sort(vocab_size: int, count: int) -> None:
    values = np.random.default_rng(count).integers(-4, 4, (6, vocab_size)).astype(np.float32)
    values[1] = 0
    values[2, ::2] = -np.inf
    values[3] = -np.inf
    best, tokens = top(values, count)
    expected = np.argsort(-values, axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(tokens, expected)
    np.testing.assert_array_equal(best, np.take_along_axis(values, expected, axis=1))
    values[5, vocab_size // 2] = np.nan
    with pytest.raises(EngineError, match="NaN"):
        top(values, count)


def test_the_sum_is_of_all_tokens() -> None:
    logits = np.random.default_rng(0).normal(20, 3, (4, 300)).astype(np.float32)
    logits[1] += 500
    logits[2, 5:] = -np.inf
    found = ranked(logits, 7, np.array([3, 299]))
    np.testing.assert_allclose(found.log_sum, np.logaddexp.reduce(logits.astype(np.float64), axis=1), rtol=1e-6)
    np.testing.assert_array_equal(found.asked, logits[:, [3, 299]])
    again = found[np.array([2, 0])].joined(found[np.array([3])])
    for name in ("tokens", "logits", "log_sum", "asked"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name)[[2, 0, 3]])


def test_rows_that_stay_are_not_selected() -> None:
    class Counting(FakeDecoder):
        selected = 0

        def select(self, state: FakeState, rows: Array) -> None:
            self.selected += 1
            super().select(state, rows)

    decoder = Counting(VOCAB, 5)
    found = search_all(decoder, {"num_beams": 1})
    ends = {len(one.ids) for (one,) in found}
    assert 1 < len(ends) < LIMIT
    assert decoder.selected == len(ends)


@pytest.mark.parametrize("shape", [(0,), (1,), (70,), (3, 5), (0, 4)])
def test_one_that_is_no_number_is_found_wherever_it_stands(shape: tuple[int, ...]) -> None:
    for dtype in (np.float32, np.float64):
        scores = np.full(shape, np.inf, dtype=dtype)
        check(scores)
        check(-scores)
        for place in range(scores.size):
            broken = scores.copy()
            broken.flat[place] = np.nan
            with pytest.raises(EngineError, match="NaN"):
                check(broken)
