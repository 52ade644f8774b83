"""Greedy and beam search against exhaustive search and constructed cases."""

from math import log
from typing import Any

import numpy as np
import pytest
from fakes import FakeDecoder, all_sequences

from diptych.runtime.generation.beam import Beam
from diptych.runtime.generation.endings import Endings
from diptych.runtime.generation.greedy import Greedy
from diptych.runtime.generation.loop import decode
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.requests import Request, Room, Waiting
from diptych.runtime.generation.steps import Hypothesis, Search, closed_up

PROMPT = [0]
EOS = 1
SOURCES = [[4, 4, 2], [3], [2, 3, 4, 2, 3], [3, 3], [4, 2, 4, 4], [2]]
EARLY_STOPPING = [True, False, "never"]


def search_all(decoder: FakeDecoder, search: Search, sources: list[list[int]], limit: int) -> list[list[Hypothesis]]:
    """limit: of tokens, those of the prompt included."""
    requests = [Request(number, source, PROMPT, limit - len(PROMPT)) for number, source in enumerate(sources)]
    found: dict[int, list[Hypothesis]] = {}
    for _ in decode(decoder, Waiting(requests, Room(len(requests))), search, []):
        found |= dict(search.take_finished())
    assert not search.sources
    return [found[number] for number in range(len(sources))]


def greedy(
    decoder: FakeDecoder, sources: list[list[int]], eos: tuple[int, ...] = (EOS,), limit: int = 8
) -> list[list[Hypothesis]]:
    return search_all(decoder, Greedy(Endings(eos)), sources, limit)


def beam(
    decoder: FakeDecoder, sources: list[list[int]], eos: tuple[int, ...] = (EOS,), limit: int = 8, **options: Any
) -> list[list[Hypothesis]]:
    return search_all(decoder, Beam(Endings(eos), GenerationOptions(**options)), sources, limit)


def ids_of(results: list[list[Hypothesis]]) -> list[list[list[int]]]:
    return [[hypothesis.ids for hypothesis in found] for found in results]


def assert_same(results: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    assert ids_of(results) == ids_of(expected)
    for found, wanted in zip(results, expected, strict=True):
        np.testing.assert_allclose([item.score for item in found], [item.score for item in wanted], rtol=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0, 2.0, -0.5])
@pytest.mark.parametrize("early_stopping", ["never", False])
@pytest.mark.parametrize("eos", [(1,), (1, 3), ()])
def test_a_beam_as_wide_as_all_prefixes_is_exhaustive(
    seed: int, length_penalty: float, early_stopping: str | bool, eos: tuple[int, ...]
) -> None:
    vocab_size, limit = 5, 4
    decoder = FakeDecoder(vocab_size, seed)
    width = (vocab_size - len(eos)) ** (limit - len(PROMPT) - 1) * vocab_size  # All candidates of the last step.
    results = beam(
        decoder,
        SOURCES[:2],
        eos,
        limit,
        num_beams=width,
        num_return_sequences=12,
        length_penalty=length_penalty,
        early_stopping=early_stopping,
    )
    for source, found in zip(SOURCES[:2], results, strict=True):
        every = [
            (total / len(ids) ** length_penalty, ids)
            for ids, total in all_sequences(decoder, tuple(source), tuple(PROMPT), eos, limit)
        ]
        best = sorted(every, reverse=True)[:12]
        assert [item.ids for item in found] == [ids for _, ids in best]
        np.testing.assert_allclose([item.score for item in found], [score for score, _ in best], rtol=1e-5)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("early_stopping", "length_penalty"), [(True, 1.0), (True, 2.0), (False, 0.0), ("never", 0.0)])
def test_one_beam_finds_what_greedy_finds(seed: int, early_stopping: str | bool, length_penalty: float) -> None:
    decoder = FakeDecoder(6, seed)
    options = {"num_beams": 1, "early_stopping": early_stopping, "length_penalty": length_penalty}
    assert ids_of(beam(decoder, SOURCES, **options)) == ids_of(greedy(decoder, SOURCES))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("eos", [(1,), (1, 4, 5), ()])
def test_greedy_takes_the_likeliest_and_sums_log_softmax(seed: int, eos: tuple[int, ...]) -> None:
    decoder = FakeDecoder(6, seed)
    for source, (found,) in zip(SOURCES, greedy(decoder, SOURCES, eos), strict=True):
        expected: list[int] = []
        total = 0.0
        while len(expected) < 7 and not (expected and expected[-1] in eos):
            row = decoder.log_probabilities(tuple(source), (*PROMPT, *expected))
            expected.append(int(row.argmax()))
            total += float(row.max())
        assert found.ids == expected
        assert found.score == pytest.approx(total, rel=1e-5)


def test_an_eos_outside_the_best_beams_finishes_nothing() -> None:
    table = {(): [0, 0.2, 0.5, 0.3, 0]}  # EOS is third: outside two beams, inside three.
    table |= {(token, *rest): [0.2] * 5 for token in (2, 3) for rest in [(), *[(other,) for other in range(5)]]}
    options = {"limit": 4, "length_penalty": 0.0, "early_stopping": "never"}
    (narrow,) = beam(FakeDecoder(5, table=table), [[2]], num_beams=2, num_return_sequences=2, **options)
    (wide,) = beam(FakeDecoder(5, table=table), [[2]], num_beams=3, **options)
    assert [EOS] not in [item.ids for item in narrow]
    assert narrow[0].score < log(0.2)
    assert wide[0].ids == [EOS]
    assert wide[0].score == pytest.approx(log(0.2), rel=1e-5)


def test_more_eos_ids_leave_enough_candidates_to_go_on() -> None:
    # After the first step the four best candidates all end: two for each beam must be looked for beyond them.
    table = {(): [0, 0, 0.5, 0.5, 0], (2,): [0, 0.45, 0.06, 0.04, 0.45], (3,): [0, 0.45, 0.05, 0.05, 0.45]}
    table |= {(first, second): [0, 0.99, 0.01, 0, 0] for first in (2, 3) for second in (2, 3)}
    options = {"num_beams": 2, "early_stopping": "never", "length_penalty": 3.0, "limit": 4}
    (found,) = beam(FakeDecoder(5, table=table), [[2]], eos=(1, 4), **options)
    assert found[0].ids == [2, 2, 1]
    assert found[0].score == pytest.approx(log(0.5 * 0.06 * 0.99) / 27, rel=1e-4)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("early_stopping", EARLY_STOPPING)
def test_hypotheses_are_sorted_distinct_and_scored_as_defined(seed: int, early_stopping: str | bool) -> None:
    decoder = FakeDecoder(7, seed)
    options = {"num_beams": 5, "num_return_sequences": 4, "length_penalty": 0.8, "early_stopping": early_stopping}
    for source, found in zip(SOURCES, beam(decoder, SOURCES, **options), strict=True):
        assert len(found) == 4
        scores = [item.score for item in found]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(item.ids) for item in found}) == 4
        for item in found:
            steps = [
                decoder.log_probabilities(tuple(source), (*PROMPT, *item.ids[:n]))[t] for n, t in enumerate(item.ids)
            ]
            assert item.score == pytest.approx(sum(steps) / len(item.ids) ** 0.8, rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("early_stopping", [None, *EARLY_STOPPING])
def test_finished_sources_leave_and_change_nothing_for_the_others(seed: int, early_stopping: str | bool | None) -> None:
    def search(decoder: FakeDecoder, sources: list[list[int]]) -> list[list[Hypothesis]]:
        if early_stopping is None:
            return greedy(decoder, sources, limit=14)
        options = {"num_beams": 3, "num_return_sequences": 3, "length_penalty": 0.2, "early_stopping": early_stopping}
        return beam(decoder, sources, limit=14, **options)

    together = FakeDecoder(6, seed)
    results = search(together, SOURCES)
    steps = {}
    for source, found in zip(SOURCES, results, strict=True):
        alone = FakeDecoder(6, seed)
        assert_same([found], search(alone, [source]))
        steps[tuple(source)] = len(alone.seen)
    assert len(set(steps.values())) > 1, "some source must finish before another"
    assert len(together.seen) == max(steps.values())
    rows = 1 if early_stopping is None else 3
    for step, seen in enumerate(together.seen):
        alike = rows if step else 1  # The prompt is run once for each source.
        expected = [tuple(source) for source in SOURCES if steps[tuple(source)] > step for _ in range(alike)]
        assert sorted(source for source, _ in seen) == sorted(expected)


@pytest.mark.parametrize("limit", [2, 3, 6])
@pytest.mark.parametrize("num_beams", [1, 3])
def test_without_an_eos_the_length_limit_ends(limit: int, num_beams: int) -> None:
    decoder = FakeDecoder(6, 3)
    results = (
        greedy(decoder, SOURCES, (), limit)
        if num_beams == 1
        else beam(decoder, SOURCES, (), limit, num_beams=num_beams)
    )
    assert [len(found[0].ids) for found in results] == [limit - len(PROMPT)] * len(SOURCES)
    assert len(decoder.seen) == limit - len(PROMPT)


@pytest.mark.parametrize("num_beams", [1, 4])
def test_a_hypothesis_ends_in_its_only_eos_or_at_the_limit(num_beams: int) -> None:
    decoder = FakeDecoder(6, 5)
    results = greedy(decoder, SOURCES) if num_beams == 1 else beam(decoder, SOURCES, num_beams=num_beams)
    for found, *_ in results:
        assert EOS not in found.ids[:-1]
        assert found.ids[-1] == EOS or len(found.ids) == 7
    assert len({len(found[0].ids) for found in results}) > 1


@pytest.mark.parametrize(
    ("early_stopping", "expected"),
    [(True, [2, 1]), (False, [2, 2, 1]), ("never", [2] * 11 + [1])],
)
def test_early_stopping_decides_how_long_to_hope(early_stopping: str | bool, expected: list[int]) -> None:
    table: dict[tuple[int, ...], list[float]] = {
        (): [0, 0.3, 0.6, 0.1],
        (2,): [0, 0.5, 0.4, 0.1],  # Two hypotheses are finished: `True` is content.
        (2, 2): [0, 0.9, 0.09, 0.01],  # A better one: [2, 2, EOS]. Now none of this length can beat the worst.
    }
    table |= {(2,) * length: [0, 0.0001, 0.9998, 0.0001] for length in range(3, 11)}  # Only a long one can.
    table[(2,) * 11] = [0, 0.999, 0.0005, 0.0005]
    decoder = FakeDecoder(4, 0, table)
    (found,) = beam(decoder, [[3]], limit=13, num_beams=2, early_stopping=early_stopping)
    assert found[0].ids == expected


def test_the_first_of_equals_wins() -> None:
    class Uniform(FakeDecoder):
        def logits(self, source: tuple[int, ...], prefix: tuple[int, ...]) -> np.ndarray:
            return np.zeros(self.vocab_size, dtype=np.float32)

    assert ids_of(greedy(Uniform(5), [[2], [3]], limit=4)) == [[[0, 0, 0]]] * 2
    options = {"num_beams": 2, "num_return_sequences": 2, "length_penalty": 0.0, "early_stopping": "never"}
    # Step 1: 0 and EOS lead, EOS finishes; 0 and 2 go on. Step 2: [0, 0] and [0, EOS] lead. No later one is better.
    expected = [[[1], [0, 1]]]
    assert ids_of(beam(Uniform(5), [[2]], limit=4, **options)) == expected
    assert ids_of(beam(Uniform(5), [[2], [3], [4]], limit=4, **options)) == expected * 3


def test_equal_sources_in_one_batch_get_equal_results() -> None:
    decoder = FakeDecoder(6, 1)
    results = beam(decoder, [SOURCES[0]] * 3, num_beams=3, num_return_sequences=3)
    assert results[0] == results[1] == results[2]


def test_the_running_beams_of_a_source_do_not_repeat() -> None:
    decoder = FakeDecoder(6, 2)
    beam(decoder, SOURCES[:2], num_beams=3, early_stopping="never")
    for seen in decoder.seen[1:]:
        assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(
    ("stay", "expected"),
    [
        ([1, 1, 1], [0, 1, 2]),
        ([0, 1, 1, 1], [3, 1, 2]),
        ([1, 0, 1, 0, 1, 1, 0], [0, 4, 2, 5]),
        ([0, 0, 0, 1], [3]),
        ([1, 1, 0, 0], [0, 1]),
        ([0, 0], []),
        ([], []),
    ],
)
def test_the_last_take_the_places_of_those_that_leave(stay: list[int], expected: list[int]) -> None:
    assert closed_up(np.array(stay, dtype=bool)).tolist() == expected
