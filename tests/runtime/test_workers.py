"""Batches that run at the same time: the same results, in order; errors and interruptions end all of them."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shell import assert_works, run

from diptych.runtime import OptionError, load_generator
from diptych.runtime.workers import in_turn


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order_and_no_more_than_these_are_under_way(workers: int) -> None:
    lock, under_way, most = threading.Lock(), 0, 0

    def work(item: int) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.001 * (item % 3))
        with lock:
            under_way -= 1
        return item * item

    assert list(in_turn(work, iter(range(20)), workers)) == [item * item for item in range(20)]
    assert most <= workers


def test_nothing_to_do() -> None:
    assert list(in_turn(lambda item: item, [], 3)) == []


def test_an_error_stops_the_others() -> None:
    stop, ended, both = threading.Event(), threading.Event(), threading.Barrier(2, timeout=30)

    def work(item: int) -> int:
        both.wait()
        if item == 0:
            raise ValueError("the first")
        assert stop.wait(30), "nobody told it to stop"
        ended.set()
        return item

    with pytest.raises(ValueError, match="the first"):
        list(in_turn(work, range(2), 2, stop))
    assert ended.is_set()


def test_an_error_of_a_later_one_is_told_before_the_first_would_end() -> None:
    stop = threading.Event()

    def work(item: int) -> bool:
        if item == 1:
            raise ValueError("the second")
        return stop.wait(30)

    results = in_turn(work, range(2), 2, stop)
    assert next(results), "stopped early"
    with pytest.raises(ValueError, match="the second"):
        next(results)


def test_who_stops_waiting_stops_them() -> None:
    stop = threading.Event()
    results = in_turn(lambda item: stop.wait(30) if item else False, range(3), 3, stop)
    assert next(results) is False
    results.close()
    assert stop.is_set()


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"do_sample": True, "seed": 4, "num_return_sequences": 2}])
def test_the_same_is_generated(bundle: Path, options: dict[str, Any]) -> None:
    one, three = (load_generator(bundle, threads=1, workers=workers) for workers in (1, 3))
    random = np.random.default_rng(0)
    sources = [random.integers(5, 500, length).tolist() for length in random.integers(1, 12, 17)]
    alone = one(sources, max_new_tokens=8, batch_size=6, **options)
    together = three(sources, max_new_tokens=8, batch_size=6, **options)
    assert [[one.ids for one in found] for found in together] == [[one.ids for one in found] for found in alone]
    scores = [[one.score for found in side for one in found] for side in (alone, together)]
    np.testing.assert_allclose(*scores, atol=1e-4)


def test_steps_are_told_by_one_thread(bundle: Path) -> None:
    told: set[int] = set()
    load_generator(bundle, threads=1, workers=2)(
        [[5, 6], [7], [8, 9]], max_new_tokens=4, on_step=lambda progress: told.add(threading.get_ident())
    )
    assert told == {threading.get_ident()}


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_what_is_no_number_of_workers_is_refused(bundle: Path, workers: Any) -> None:
    with pytest.raises(OptionError, match=r"workers is .*; expected a whole number from 1"):
        load_generator(bundle, workers=workers)


def test_the_command_takes_them(bundle: Path, tmp_path: Path) -> None:
    told = tmp_path / "lines"
    told.write_text("".join(f"Tom has {number} cats.\n" for number in range(30)), encoding="utf-8")
    alone = assert_works(run(bundle, "--input", told, "--threads", "1"))
    together = assert_works(run(bundle, "--input", told, "--threads", "1", "--workers", "3"))
    assert together == alone
    assert len(alone) == 30
