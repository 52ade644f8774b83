"""Guesses save steps and change nothing."""

import numpy as np
import pytest
from fakes import FakeDecoder, Prefix

from diptych.runtime.generation.endings import Endings
from diptych.runtime.generation.greedy import Greedy
from diptych.runtime.generation.history import History
from diptych.runtime.generation.loop import decode
from diptych.runtime.generation.requests import Request, Room, Waiting
from diptych.runtime.generation.speculation import Lookup, look_up, speculate
from diptych.runtime.generation.steps import Hypothesis
from diptych.runtime.graph import Array

EOS = 1
SOURCES = [[4, 5, 6, 2, 3, 4], [3], [2, 3, 4, 5, 6, 1], [6, 6], [5, 2, 4, 5]]


class Repeating(FakeDecoder):
    """Says the source again and again, and now and then something else."""

    def logits(self, source: Prefix, prefix: Prefix) -> Array:
        values = super().logits(source, prefix).copy()
        values[EOS] -= 2.5
        if len(prefix) % 5:
            values[source[len(prefix) % len(source)]] += 6
        return values


def plain(decoder: FakeDecoder, request: Request, filters: tuple = ()) -> Hypothesis:
    search = Greedy(Endings([EOS]))
    for _ in decode(decoder, Waiting([request], Room(1)), search, filters):
        pass
    ((_, (found,)),) = search.take_finished()
    return found


def guessed(
    decoder: FakeDecoder, request: Request, filters: tuple = (), guesses: int = 4, longest: int = 2
) -> Hypothesis:
    search = Greedy(Endings([EOS]))
    histories = list(speculate(decoder, request, search, filters, Lookup(guesses, longest)))
    ((_, (found,)),) = search.take_finished()
    assert len(histories) == len(found.ids), "a history for each token"
    return found


def rarer(history: History, scores: Array) -> None:
    """A filter that tells what a row has said from what was only guessed."""
    scores[np.arange(len(history)), history.ids[:, -1]] -= 0.4 * history.counts


@pytest.mark.parametrize("filters", [(), (rarer,)], ids=["plain", "filtered"])
@pytest.mark.parametrize("guesses", [1, 3, 20])
@pytest.mark.parametrize("limit", [1, 2, 7, 30])
@pytest.mark.parametrize("kind", [FakeDecoder, Repeating])
def test_ids_and_scores_are_those_of_greedy_search(
    kind: type[FakeDecoder], limit: int, guesses: int, filters: tuple
) -> None:
    for seed, source in enumerate(SOURCES):
        request = Request(seed, source, [0, *source[:seed]], limit)
        expected, found = plain(kind(7, seed), request, filters), guessed(kind(7, seed), request, filters, guesses)
        assert found.ids == expected.ids
        assert found.token_scores == pytest.approx(expected.token_scores, abs=1e-5)
        assert found.score == pytest.approx(expected.score, abs=1e-5)


def test_steps_are_saved() -> None:
    request = Request(0, SOURCES[0], [0], 30)
    slow, fast = Repeating(7, 0), Repeating(7, 0)
    assert plain(slow, request) == guessed(fast, request)
    assert len(slow.seen) == 30
    assert len(fast.seen) <= 15


def test_no_more_is_read_than_may_be_said() -> None:
    """Positions beyond the limit might not exist."""
    for limit in (2, 5, 9):
        decoder = Repeating(7, 0)
        guessed(decoder, Request(0, SOURCES[0], [0], limit), guesses=20)
        assert max(len(prefix) for seen in decoder.seen for _, prefix in seen) <= limit


@pytest.mark.parametrize(
    ("source", "ids", "guesses", "longest", "expected"),
    [
        ([], [0, 5, 6, 7, 8, 5, 6], 2, 2, [7, 8]),
        ([], [0, 5, 6, 7, 8, 5, 6], 9, 2, [7, 8, 5, 6]),
        ([], [0, 5, 6, 7, 5, 9, 5], 1, 2, [9]),
        ([4, 5, 6, 7], [0, 5, 6], 3, 2, [7]),
        ([9, 6, 3], [0, 5, 6, 7, 8, 5, 6], 2, 2, [7, 8]),
        ([4, 5], [0, 5], 3, 2, []),
        ([4, 5], [0, 3], 3, 2, []),
        ([4, 5, 6], [0, 4], 0, 2, []),
        ([4, 5, 6, 9, 6, 7], [0, 5, 6], 2, 1, [7]),
        ([4, 5, 6, 9, 6, 7], [0, 5, 6], 2, 2, [9, 6]),
        ([], [0], 3, 2, []),
    ],
)
def test_what_followed_the_last_time_is_guessed(
    source: list[int], ids: list[int], guesses: int, longest: int, expected: list[int]
) -> None:
    assert look_up(source, ids, guesses, longest) == expected
