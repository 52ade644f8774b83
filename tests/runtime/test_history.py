"""A history is the same however it came to be: step by step, selected, joined, or begun at once."""

from dataclasses import dataclass

import numpy as np
import pytest

from diptych.runtime.generation.history import PADDING, History

READ = [[7, 8, 9, 6], [5], [4, 3]]
PROMPTS = [[2], [2, 5, 6], [2, 4]]


@dataclass
class Told:
    """A row, told plainly: source, prompt, tokens with scores, and what each looked at."""

    source: int
    tokens: list[int]
    scores: list[float]
    looked: list[list[float]]


def plain(rows: list[Told]) -> tuple[list[list[int]], list[list[float]]]:
    return [row.tokens for row in rows], [row.scores for row in rows]


def grown(seed: int, steps: int, *, attends: bool, limit: int = 99) -> tuple[History, list[Told]]:
    """By steps that reorder, repeat and drop rows, or leave them as they are."""
    random = np.random.default_rng(seed)
    history = History.start(PROMPTS, [limit] * 3, READ)
    rows = [Told(source, [], [], []) for source in range(3)]
    for _ in range(steps):
        chosen = None
        if random.random() < 0.5:
            chosen = random.integers(0, len(rows), random.choice([len(rows), 5, 2]))
            rows = [rows[row] for row in chosen.tolist()]
        tokens, scores = random.integers(0, 50, len(rows)), random.normal(size=len(rows)).astype(np.float32)
        looked = random.random((len(rows), 4), dtype=np.float32)
        for row, own in zip(rows, looked, strict=True):
            own[len(READ[row.source]) :] = 0
        history = history.extended(chosen, tokens, scores, looked if attends else None)
        rows = [
            Told(row.source, [*row.tokens, token], [*row.scores, score], [*row.looked, own])
            for row, token, score, own in zip(rows, tokens.tolist(), scores.tolist(), looked.tolist(), strict=True)
        ]
    return history, rows


def assert_is(history: History, rows: list[Told], *, attends: bool, limit: int = 99) -> None:
    assert len(history) == len(rows)
    assert history.counts.tolist() == [len(row.tokens) for row in rows]
    assert history.left.tolist() == [limit - len(row.tokens) for row in rows]
    assert history.given.tolist() == [len(PROMPTS[row.source]) for row in rows]
    texts = [[*PROMPTS[row.source], *row.tokens] for row in rows]
    assert history.lengths.tolist() == list(map(len, texts))
    length = max(map(len, texts))
    assert history.ids.tolist() == [[PADDING] * (length - len(text)) + text for text in texts]
    assert history.record.last.tolist() == [text[-1] for text in texts]
    width = max(len(READ[row.source]) for row in rows)
    sources = [READ[row.source] for row in rows]
    assert history.sources.tolist() == [source + [PADDING] * (width - len(source)) for source in sources]
    assert history.scores.shape == history.ids.shape
    for number, row in enumerate(rows):
        first = length - len(row.tokens)
        assert history.generated(number) == row.tokens
        assert history.record.of(number, len(row.tokens)) == (row.tokens, row.scores)
        assert history.scores[number, first:].tolist() == row.scores
        if attends:
            expected = np.array(row.looked, dtype=np.float32).reshape(-1, 4)[:, :width]
            np.testing.assert_array_equal(history.attention[number, first:], expected)
    assert history.attention.shape == (len(rows), length if attends else 0, width)
    assert history.record.attends == attends


@pytest.mark.parametrize("attends", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 31, 32, 33, 34, 80])
def test_steps_are_kept_in_order(steps: int, attends: bool) -> None:
    for seed in range(4):
        history, rows = grown(seed, steps, attends=attends)
        assert [history.generated(row) for row in range(len(rows))] == [row.tokens for row in rows]
        assert_is(history, rows, attends=attends)


def test_what_was_gone_on_from_stays_as_it_was() -> None:
    history, rows = grown(3, 20, attends=False)
    one = history.extended(None, np.arange(len(rows)), np.zeros(len(rows), dtype=np.float32))
    other = history.extended(np.array([1, 1]), np.array([48, 49]), np.ones(2, dtype=np.float32))
    assert [one.generated(row) for row in range(len(rows))] == [[*row.tokens, n] for n, row in enumerate(rows)]
    assert [other.generated(row) for row in range(2)] == [[*rows[1].tokens, 48], [*rows[1].tokens, 49]]
    assert one.ids[:, -1].tolist() == list(range(len(rows)))
    assert other.scores[:, -1].tolist() == [1, 1]
    assert_is(history, rows, attends=False)


@pytest.mark.parametrize("attends", [False, True])
def test_rows_are_selected(attends: bool) -> None:
    history, rows = grown(1, 9, attends=attends)
    for chosen in ([1, 0], [0], [1, 1, 0]):
        assert_is(history.select(np.array(chosen)), [rows[row] for row in chosen], attends=attends)


@pytest.mark.parametrize("attends", [False, True])
@pytest.mark.parametrize(("first", "second"), [(3, 40), (40, 3), (5, 5)])
def test_rows_of_two_are_joined(first: int, second: int, attends: bool) -> None:
    (one, rows), (other, more) = grown(5, first, attends=attends), grown(6, second, attends=attends)
    together = one.joined(other)
    assert_is(together, [*rows, *more], attends=attends)
    scores = np.zeros(len(together), dtype=np.float32)
    looked = np.zeros((len(together), 4), dtype=np.float32) if attends else None
    on = together.extended(None, np.arange(len(together)), scores, looked)
    told = [replaced(row, token) for token, row in enumerate([*rows, *more])]
    assert_is(on, told, attends=attends)


def replaced(row: Told, token: int) -> Told:
    return Told(row.source, [*row.tokens, token], [*row.scores, 0.0], [*row.looked, [0.0] * 4])


def test_what_was_begun_counts() -> None:
    begun = [[(5, -0.5), (6, -0.25)], [], [(9, -1.0)]]
    history = History.start(PROMPTS, [7, 7, 7], READ, begun)
    assert history.counts.tolist() == [2, 0, 1]
    assert history.left.tolist() == [5, 7, 6]
    assert history.ids.tolist() == [[2, 5, 6], [2, 5, 6], [2, 4, 9]]
    assert [history.record.of(row, 2 - row)[1] for row in (0, 1)] == [[-0.5, -0.25], [0.0]]
    on = history.extended(np.array([2, 0]), np.array([1, 3]), np.array([-2.0, -3.0], dtype=np.float32))
    assert on.generated(0) == [9, 1]
    assert on.record.of(1, 3) == ([5, 6, 3], [-0.5, -0.25, -3.0])
    assert on.lengths.tolist() == [4, 4]


def test_without_an_encoder_nothing_was_read() -> None:
    history = History.start([[1], [2, 3]], [4, 4])
    assert history.sources.shape == (2, 0)
    assert history.extended(None, np.array([5, 6]), np.zeros(2)).sources.shape == (2, 0)


def test_it_is_known_when_a_row_may_end() -> None:
    history = History.start(PROMPTS, [4, 3, 9], READ)
    for soon in (False, False, True, True):
        assert history.ends_soon == soon
        history = history.extended(None, np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.float32))
    long = History.start([[2]], [9], [READ[0]])
    assert not long.ends_soon
    assert long.joined(history.select(np.array([2]))).left.tolist() == [9, 5]
    assert not long.joined(history.select(np.array([2]))).ends_soon
    assert History.start([], []).ends_soon is False
