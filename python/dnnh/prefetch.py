"""Results that threads compute before they are needed."""

import collections
import concurrent.futures
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

# Pillow, h5py and NumPy release Python's lock while they work.
THREADS = min(8, len(os.sched_getaffinity(0)))

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in order, computed by THREADS threads.

    Parameters
    ----------
    function : function
        Of one item. What it raises is raised here.
    items : iterable, which the calling thread iterates over
    ahead : int
        Results that are computed or waiting at a time.
    """
    items = iter(items)
    pool = concurrent.futures.ThreadPoolExecutor(THREADS)
    try:
        waiting = collections.deque(
            pool.submit(function, item) for item in itertools.islice(items, ahead)
        )
        while waiting:
            result = waiting.popleft().result()
            for item in itertools.islice(items, 1):
                waiting.append(pool.submit(function, item))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
