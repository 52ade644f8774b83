"""What is put into buffers comes out again, wherever it lies there."""

import numpy as np
import pytest

from diptych.export.parity.caches import Compact, Slotted

ENTRIES = np.random.default_rng(3).normal(size=(6, 2, 5, 3)).astype(np.float32)


def hidden(mask: np.ndarray) -> np.ndarray:
    """ENTRIES, 0 where there is padding."""
    return np.asarray(np.where(mask[:, None, :, None], ENTRIES, 0))


@pytest.mark.parametrize("rows_per_source", [1, 2, 3, 6])
def test_rows_of_a_source_share_its_buffer(rows_per_source: int) -> None:
    mask = (np.arange(5) >= np.arange(6)[:, None] % 4).astype(np.int64)
    slotted = Slotted(mask, rows_per_source, more=2)
    buffer = slotted.put(ENTRIES)
    assert buffer.shape == (6 // rows_per_source, 2, 5 * rows_per_source + 2, 3)
    np.testing.assert_array_equal(Slotted.take(buffer, slotted.cache), hidden(mask))
    assert slotted.cache.counts.tolist() == mask.sum(axis=1).tolist()


def test_slots_have_the_positions_of_their_tokens() -> None:
    mask = np.array([[0, 1, 1, 1], [0, 0, 1, 1]])
    cache = Slotted(mask, 2).cache
    for row, (columns, positions) in enumerate([([1, 2, 3], [0, 1, 2]), ([2, 3], [0, 1])]):
        seen = cache.seen[0, row]
        assert sorted(cache.columns[0, seen]) == columns
        assert sorted(cache.positions[0, seen]) == positions


def test_tokens_of_a_row_take_the_first_places() -> None:
    mask = (np.arange(5) >= np.arange(6)[:, None] % 5).astype(np.int64)
    mask[1] = [1, 0, 1, 0, 1]
    cache = Compact(mask)
    buffer = cache.put(ENTRIES, 7)
    assert cache.counts.tolist() == mask.sum(axis=1).tolist()
    np.testing.assert_array_equal(buffer[1, :, :3], ENTRIES[1][:, [0, 2, 4]])
    np.testing.assert_array_equal(cache.take(buffer), hidden(mask))


def test_nothing_is_cached() -> None:
    nothing = ENTRIES[:, :, :0]
    mask = np.zeros((6, 0), dtype=np.int64)
    assert Slotted(mask, 3).put(nothing).shape == (2, 2, 1, 3)
    assert Compact(mask).put(nothing, 1).shape == (6, 2, 1, 3)
