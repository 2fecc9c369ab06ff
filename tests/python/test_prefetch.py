"""Results come in order, and no more is read ahead than asked for."""

import threading

import pytest

from dnnh import prefetch


def test_results_are_in_the_order_of_the_items():
    turn = threading.Event()

    def slow_first(item):
        if item == 0:
            assert turn.wait(30)
        if item == 1:
            turn.set()
        return item * item

    results = prefetch.in_order(slow_first, range(50), ahead=8)
    if prefetch.THREADS == 1:
        turn.set()
    assert list(results) == [item * item for item in range(50)]


def test_no_more_than_that_is_prefetched():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    results = prefetch.in_order(abs, items(), ahead=5)
    assert next(results) == 0
    assert len(taken) == 6  # five waiting, and the one that was given out
    assert [next(results) for _ in range(3)] == [1, 2, 3]
    assert len(taken) == 9


def test_what_is_raised_reaches_the_caller_in_its_place():
    def refuse(item):
        if item == 3:
            raise ValueError("three")
        return item

    results = prefetch.in_order(refuse, range(10), ahead=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_threads_end_with_whoever_stops_early():
    before = threading.active_count()
    results = prefetch.in_order(abs, range(100), ahead=4)
    next(results)
    results.close()
    assert threading.active_count() == before
