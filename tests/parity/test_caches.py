"""What is put into buffers comes out again, wherever it lies there."""

import numpy as np
import pytest

from diptych.export.parity.caches import Compact, Scattered

ENTRIES = np.random.default_rng(3).normal(size=(6, 2, 5, 3)).astype(np.float32)


@pytest.mark.parametrize("rows_per_source", [1, 2, 3, 6])
def test_rows_of_a_source_hold_each_others_past(rows_per_source: int) -> None:
    cache = Scattered.drawn(6 // rows_per_source, rows_per_source, 8)
    buffer = cache.put(ENTRIES, 2)
    np.testing.assert_array_equal(cache.take(buffer, 5), ENTRIES)
    scattered = not np.array_equal(buffer[:, :, :5], ENTRIES)
    assert scattered is (rows_per_source > 1)


def test_one_head_of_several_queries_is_there_for_each() -> None:
    cache = Scattered.drawn(2, 3, 5)
    found = cache.take(cache.put(ENTRIES, 4), 5)
    np.testing.assert_array_equal(found[:, ::2], ENTRIES)
    np.testing.assert_array_equal(found[:, 1::2], ENTRIES)


def test_tokens_of_a_row_take_the_first_places() -> None:
    mask = (np.arange(5) >= np.arange(6)[:, None] % 5).astype(np.int64)
    mask[1] = [1, 0, 1, 0, 1]
    cache = Compact(mask)
    buffer = cache.put(ENTRIES, 7)
    assert cache.counts.tolist() == mask.sum(axis=1).tolist()
    np.testing.assert_array_equal(buffer[1, :, :3], ENTRIES[1][:, [0, 2, 4]])
    np.testing.assert_array_equal(cache.take(buffer), np.where(mask[:, None, :, None], ENTRIES, 0))


def test_nothing_is_cached() -> None:
    nothing = ENTRIES[:, :, :0]
    assert Scattered.drawn(2, 3, 1).put(nothing, 2).shape == (6, 2, 1, 3)
    assert Compact(np.zeros((6, 0), dtype=np.int64)).put(nothing, 1).shape == (6, 2, 1, 3)
