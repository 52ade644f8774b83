"""Several batches at a time, each on a thread of its own.

Where batches are small, that keeps more cores busy than threads within operators do.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def in_turn(
    work: Callable[[ItemT], ResultT], items: Iterable[ItemT], workers: int, stop: Event | None = None
) -> Iterator[ResultT]:
    """The results of work on items, in the items' order; no more than `workers` are under way, or done and not taken.

    stop: set where some work failed or nobody waits for results any more, for work that can end early.
    """
    if workers == 1:
        yield from map(work, items)
        return

    def watched(item: ItemT) -> ResultT:
        try:
            return work(item)
        except BaseException:
            if stop is not None:
                stop.set()
            raise

    running: deque[Future[ResultT]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                if len(running) == workers:
                    yield running.popleft().result()
                running.append(pool.submit(watched, item))
            while running:
                yield running.popleft().result()
        finally:
            if stop is not None:
                stop.set()
            for each in running:
                each.cancel()
