"""Rows of lengths of their own in buffers that are written in place: whatever happens, each keeps what is its own."""

import numpy as np
import pytest

from diptych.runtime.graph import Array
from diptych.runtime.row_cache import PLACES, RowCache

SHAPES = {"past_key_values.0.key": (2, 3), "past_key_values.0.value": (2, 3)}


class Rows:
    """A cache and the tokens that each row should have by now. A token's key is its number, its value minus that."""

    def __init__(self, count: int) -> None:
        self.cache = RowCache.empty(SHAPES, count)
        self.tokens: list[list[float]] = [[] for _ in range(count)]
        self.next = 1.0

    def write(self, known: list[list[int]]) -> bool:
        """As a graph does, after `extend`: the first places behind those that are taken."""
        before = self.cache.counts
        grown = self.cache.extend(np.array(known) > 0, before)
        for row, marks in enumerate(known):
            for place in range(int(before[row]), int(before[row]) + sum(marks)):
                self.tokens[row].append(self.next)
                for sign, buffer in zip((1, -1), self.cache.buffers.values(), strict=True):
                    buffer[row, :, place] = sign * self.next
                self.next += 1
        return grown

    def select(self, rows: list[int]) -> bool:
        self.tokens = [list(self.tokens[row]) for row in rows]
        return self.cache.select(np.array(rows, dtype=np.int64))

    def check(self) -> None:
        assert self.cache.counts.tolist() == list(map(len, self.tokens))
        for sign, buffer in zip((1, -1), self.cache.buffers.values(), strict=True):
            assert buffer.flags.c_contiguous
            assert buffer.shape == (len(self.tokens), 2, self.cache.places, 3)
            for row, tokens in enumerate(self.tokens):
                expected = np.broadcast_to(sign * np.array(tokens)[None, :, None], (2, len(tokens), 3))
                np.testing.assert_array_equal(buffer[row, :, : len(tokens)], expected)


def memory(rows: Rows) -> list[int]:
    return [buffer.ctypes.data for buffer in rows.cache.buffers.values()]


def ragged() -> Rows:
    rows = Rows(4)
    rows.write([[1, 1, 1], [0, 1, 1], [0, 0, 0], [0, 0, 1]])
    return rows


def test_rows_have_lengths_of_their_own() -> None:
    rows = ragged()
    rows.write([[1], [0], [1], [1]])
    rows.check()
    assert list(map(len, rows.tokens)) == [4, 2, 1, 2]
    assert rows.cache.mask.tolist() == [[1, 1, 1, 1], [0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 1, 1]]


@pytest.mark.parametrize(
    "selected", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 2, 3, 0], [0, 0, 0, 0], [3, 1], [2], [1, 1, 3], []]
)
def test_selected_rows_stay_in_the_same_memory(selected: list[int]) -> None:
    rows = ragged()
    before = memory(rows)
    assert rows.select(selected) == (len(selected) != 4)
    rows.check()
    if selected:
        assert memory(rows) == before
        rows.write([[1]] * len(selected))
        rows.check()


def test_more_rows_get_memory_of_their_own() -> None:
    rows = ragged()
    assert rows.select([0, 0, 1, 1, 3, 3])
    rows.check()
    rows.write([[1]] * 6)
    rows.check()


@pytest.mark.parametrize("length", [PLACES - 3, PLACES, 3 * PLACES])
def test_buffers_grow(length: int) -> None:
    rows = ragged()
    assert rows.write([[1] * length, [0] * length, [0] * (length - 1) + [1], [1] * length]) == (length > PLACES - 3)
    assert rows.cache.places == {PLACES - 3: PLACES, PLACES: 2 * PLACES}.get(length, length + 3)
    rows.check()


def test_what_rows_have_in_common_is_not_moved() -> None:
    """Beams of one prompt: only what was written since they parted is copied."""
    rows = Rows(1)
    rows.write([[1] * 6])
    rows.select([0, 0, 0])
    rows.write([[1]] * 3)
    for buffer in rows.cache.buffers.values():
        buffer[:, :, :6] = np.array([7.0, 8.0, 9.0])[:, None, None, None]
    rows.select([1, 2, 1])
    for buffer in rows.cache.buffers.values():
        assert buffer[:, 0, :6, 0].tolist() == [[7.0] * 6, [8.0] * 6, [9.0] * 6]
    assert next(iter(rows.cache.buffers.values()))[:, 0, 6, 0].tolist() == [8.0, 9.0, 8.0]


def test_forgotten_places_are_written_anew() -> None:
    rows = Rows(1)
    rows.write([[1, 1]])
    rows.select([0, 0])
    rows.cache.trim(1)
    rows.tokens = [tokens[:1] for tokens in rows.tokens]
    rows.write([[1], [1]])
    rows.select([1, 0])
    rows.check()


def test_places_that_no_row_uses_are_dropped() -> None:
    rows = ragged()
    rows.select([3])
    rows.cache.drop_unused()
    assert rows.cache.mask.tolist() == [[1]]
    rows.check()


@pytest.mark.parametrize("counts", [(4, 2), (2, 4)])
def test_joined_rows_keep_what_is_theirs(counts: tuple[int, int]) -> None:
    first, second = Rows(2), Rows(1)
    second.next = 100.0
    for rows, count in zip((first, second), counts, strict=True):
        rows.write([[1] * count] * len(rows.tokens))
    first.cache, first.tokens = first.cache.joined(second.cache), first.tokens + second.tokens
    first.check()
    assert first.cache.mask.shape == (3, 4)
    # What both numbered in the same way is not the same.
    first.select([2, 1, 0])
    first.check()


@pytest.mark.parametrize("seed", range(20))
def test_rows_that_come_and_go_at_random(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = ragged()
    for _ in range(30):
        known: Array = random.integers(0, 2, (len(rows.tokens), random.integers(1, 4)))
        rows.write(np.sort(known, axis=1).tolist())
        if random.random() < 0.7:
            rows.select(random.integers(0, len(rows.tokens), random.integers(1, 7)).tolist())
        if random.random() < 0.2 and len(rows.tokens) < 9:
            other = Rows(2)
            other.next = rows.next
            other.write([[1, 1], [0, 1]])
            rows.cache, rows.tokens, rows.next = rows.cache.joined(other.cache), rows.tokens + other.tokens, other.next
        rows.cache.drop_unused()
        rows.check()
