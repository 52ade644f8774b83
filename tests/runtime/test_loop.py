"""Sources join a running batch and leave it, and none of them notices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from fakes import FakeDecoder

from diptych.runtime.generation import requests
from diptych.runtime.generation.beam import Beam
from diptych.runtime.generation.endings import Endings
from diptych.runtime.generation.filters import Filter
from diptych.runtime.generation.greedy import Greedy, Sampling
from diptych.runtime.generation.history import History
from diptych.runtime.generation.loop import Watch, decode
from diptych.runtime.generation.options import GenerationOptions
from diptych.runtime.generation.requests import Request, Room, Waiting
from diptych.runtime.generation.steps import Hypothesis, Search
from diptych.runtime.graph import Array

EOS = 1
SOURCES = [[4, 4, 2], [3], [2, 3, 4, 2, 3], [3, 3], [4, 2, 4, 4], [2], [4], [2, 2], [3, 2, 4]]
PROMPTS = [[0], [0, 3], [0], [0, 2, 2, 4], [0], [0, 4], [0], [0, 3, 3], [0]]
REQUESTS = [
    Request(number, source, prompt, 12) for number, (source, prompt) in enumerate(zip(SOURCES, PROMPTS, strict=True))
]
SEARCHES = ["greedy", "three beams", "two samples"]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Newcomers join as soon as any of a batch has left."""
    monkeypatch.setattr(requests, "_LEFT", 0.9)


def make(search: str) -> Search:
    if search == "greedy":
        return Greedy(Endings([EOS]))
    if search == "two samples":
        return Sampling(Endings([EOS]), seed=3, rows_per_source=2)
    return Beam(Endings([EOS]), GenerationOptions(num_beams=3, num_return_sequences=2, length_penalty=0.6))


def run(
    decoder: FakeDecoder,
    search: Search,
    requests: Sequence[Request],
    batch_size: int = 32,
    filters: Sequence[Filter] = (),
    **how: Any,
) -> dict[int, list[Hypothesis]]:
    found: dict[int, list[Hypothesis]] = {}
    for _ in decode(decoder, Waiting(requests, Room(batch_size)), search, filters, **how):
        found |= dict(search.take_finished())
    return found


def repeats(history: History, scores: Array) -> None:
    """A filter that sees all of a row: what it said last, and how much."""
    rows = np.arange(len(history))
    scores[rows, history.ids[:, -1]] -= 0.5 * history.counts
    scores[:, EOS] += 0.3 * history.lengths - 0.2 * history.left


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("batch_size", [1, 2, 4, 8])
@pytest.mark.parametrize("filters", [[], [repeats]], ids=["plain", "filtered"])
def test_sources_that_join_get_what_they_get_alone(search: str, batch_size: int, filters: list[Filter]) -> None:
    decoder = FakeDecoder(6, 4)
    alone: dict[int, list[Hypothesis]] = {}
    for request in REQUESTS:
        alone |= run(decoder, make(search), [request], filters=filters)
    together = run(decoder, make(search), REQUESTS, batch_size, filters)
    assert {n: [one.ids for one in found] for n, found in together.items()} == {
        n: [one.ids for one in found] for n, found in alone.items()
    }
    for number, found in together.items():
        for one, other in zip(found, alone[number], strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-5)
            assert one.token_scores == pytest.approx(other.token_scores, abs=1e-5)
    assert len({len(one.ids) for found in together.values() for one in found}) > 3


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("search", "rows"), [("greedy", 1), ("three beams", 3), ("two samples", 2)])
def test_a_batch_is_never_larger_and_seldom_smaller_than_asked(search: str, rows: int) -> None:
    decoder = FakeDecoder(6, 4)
    run(decoder, make(search), REQUESTS, 3)
    sizes = [len({source for source, _ in seen}) for seen in decoder.seen]
    assert max(sizes) == 3
    assert max(map(len, decoder.seen)) <= 3 * rows
    begun = [{len(prefix) for _, prefix in seen} for seen in decoder.seen]
    assert any(max(lengths) - min(lengths) > 2 for lengths in begun), "some join when others are well under way"
    sequential = sum(_steps(search, REQUESTS[start : start + 3]) for start in range(0, len(REQUESTS), 3))
    prefills = sum(all(len(prefix) <= 4 and prefix[:1] == (0,) for _, prefix in seen) for seen in decoder.seen)
    assert len(decoder.seen) - prefills < sequential


def _steps(search: str, requests: Sequence[Request]) -> int:
    decoder = FakeDecoder(6, 4)
    run(decoder, make(search), requests)
    return len(decoder.seen)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("search", SEARCHES)
def test_who_is_watched_and_stopped_keeps_what_it_has(search: str) -> None:
    stopping = make(search)

    def watch(history: History) -> list[int]:
        return [told.source for told in stopping.progress(history) if told.source % 2 and len(told.ids) == 3]

    whole, found = run(FakeDecoder(6, 4), make(search), REQUESTS), _watched(stopping, watch)
    assert found.keys() == whole.keys()
    for number, hypotheses in found.items():
        if number % 2 == 0:
            assert hypotheses == whole[number]
            continue
        for one in hypotheses:
            assert len(one.ids) == 3 or one.ids[-1] == EOS
            assert len(one.token_scores) == len(one.ids)
            divisor = len(one.ids) ** 0.6 if search == "three beams" else 1
            assert one.score == pytest.approx(sum(one.token_scores) / divisor, abs=1e-5)
        assert hypotheses == sorted(hypotheses, key=lambda one: -one.score)


def _watched(search: Search, watch: Watch) -> dict[int, list[Hypothesis]]:
    return run(FakeDecoder(6, 4), search, REQUESTS, 4, watch=watch)


def test_all_that_run_may_be_stopped_and_others_begin() -> None:
    search = make("greedy")
    found = run(FakeDecoder(6, 4), search, REQUESTS, 3, watch=lambda history: list(search.sources))
    assert [len(found[number][0].ids) for number in range(len(REQUESTS))] == [1] * len(REQUESTS)


def test_what_was_begun_is_gone_on_with() -> None:
    decoder = FakeDecoder(6, 4)
    whole = run(decoder, make("greedy"), REQUESTS)
    for request in REQUESTS:
        (one,) = whole[request.number]
        half = [*zip(one.ids, one.token_scores, strict=True)][: len(one.ids) // 2]
        begun = Request(request.number, request.source, request.prompt, request.limit, half)
        (other,) = run(decoder, make("greedy"), [begun])[request.number]
        assert other.ids == one.ids
        assert other.score == pytest.approx(one.score, abs=1e-5)
        assert other.token_scores == pytest.approx(one.token_scores, abs=1e-5)


def test_nothing_waits() -> None:
    decoder = FakeDecoder(6)
    assert run(decoder, make("greedy"), []) == {}
    assert decoder.seen == []


def request(length: int, number: int = 0) -> Request:
    return Request(number, [2] * length, [0], 5)


def take(waiting: Waiting, *running: int) -> list[int]:
    return [each.number for each in waiting.take(running, 0)]


def test_the_shortest_are_taken_first_and_newcomers_wait_for_room() -> None:
    waiting = Waiting([request(length, number) for number, length in enumerate([3, 9, 1, 5, 5, 2])], Room(4))
    assert take(waiting) == [2, 5, 0, 3]
    assert len(waiting) == 2
    assert take(waiting, 0, 2, 3, 5) == []
    assert take(waiting, 0, 3, 5) == []
    assert take(waiting, 3) == [4, 1]
    assert take(waiting) == []


def test_an_eighth_of_a_large_batch_is_left_when_others_join() -> None:
    waiting = Waiting([request(1, number) for number in range(40)], Room(16))
    assert take(waiting) == list(range(16))
    assert take(waiting, *range(3)) == []
    assert take(waiting, *range(2)) == list(range(16, 30))


def test_those_that_have_come_far_are_not_joined() -> None:
    waiting = Waiting([request(6, number) for number in range(9)], Room(4))
    assert take(waiting) == [0, 1, 2, 3]
    assert waiting.take([0], 7) == []
    assert [each.number for each in waiting.take([0], 6)] == [4, 5, 6]


def test_tokens_are_counted_with_their_padding() -> None:
    waiting = Waiting([request(length, number) for number, length in enumerate([20, 6, 5, 5, 4, 4])], Room(8, 12))
    assert take(waiting) == [4, 5]
    assert take(waiting, 4, 5) == []
    assert take(waiting, 4) == [2]
    assert take(waiting, 2) == [3]
    assert take(waiting, 2, 3) == []
    assert take(waiting, 3) == [1]
    assert take(waiting, 1) == []
    assert take(waiting) == [0], "longer than allowed, and alone"


def test_a_prompt_counts_with_what_was_begun() -> None:
    assert Request(0, [2] * 3, [0, 2], 5, [(3, -0.5), (4, -0.25)]).length == 4
    assert Request(0, [2] * 3, [0, 2], 5, [(3, -0.5), (4, -0.25)]).total == -0.75
