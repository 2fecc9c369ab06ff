"""Inverted lists, against exact search."""

import threading

import numpy as np
import pytest

from dnnh import packed_codes
from dnnh.evaluation import ranking
from dnnh.retrieval.engines import code_blocks, ivf
from dnnh.retrieval.engines.inverted_lists import InvertedLists
from dnnh.retrieval.engines.ivf import IvfEngine
from dnnh.retrieval.engines.numpy_engine import NumpyEngine

pytest.importorskip("faiss")
RNG = np.random.default_rng(0)


def random_codes(count, bits):
    return packed_codes.pack(RNG.integers(0, 2, (count, bits)))


def test_every_list_is_in_the_order_of_ids(monkeypatch):
    monkeypatch.setattr(code_blocks, "BLOCK", 70)
    codes = random_codes(500, 16)
    lists = InvertedLists((codes[:300], codes[300:]), codes[:9].copy())
    ids = lists.ids(np.arange(500))
    assert np.array_equal(np.sort(ids), np.arange(500))
    assert np.array_equal(lists.codes, codes[ids])
    ((_, distances),) = ranking.distances(codes, codes[:9])
    ordered, list_of = lists.in_order()
    assert np.array_equal(ordered, codes)
    assert (distances[np.arange(500), list_of] == distances.min(axis=1)).all()
    key = list_of[ids].astype(int) * 500 + ids
    assert (np.diff(key) > 0).all()
    # The lists of the first codes may be known; they are then taken as they are.
    known = np.zeros(100, np.uint8)
    lists = InvertedLists((codes[:300], codes[300:]), codes[:9].copy(), known)
    ordered, again = lists.in_order()
    assert np.array_equal(ordered, codes)
    assert (again[:100] == 0).all() and (again[100:] == list_of[100:]).all()


def test_all_lists_probed_is_exact():
    """Equal distances by id, whatever lists they are in; codes added later, too."""
    codes, queries = random_codes(3000, 12), random_codes(20, 12)
    index, exact = IvfEngine(12, nlist=30, nprobe=30), NumpyEngine(12)
    for first, last in ((0, 2000), (2000, 2100), (2100, 2200), (2200, 3000)):
        for each in (index, exact):
            each.add(codes[first:last])
        for k in (1, 10, 200):
            for actual, expected in zip(index.search(queries, k), exact.search(queries, k)):
                assert np.array_equal(actual, expected) and actual.dtype == np.int64
        # A few more stay in no list; many are put into lists, too.
        recent = {2100: 100, 2200: 200}.get(last, 0)
        assert code_blocks.count(index.stored.recent) == recent


def test_lists_last_until_there_are_twice_as_many_codes():
    codes = random_codes(9000, 16)
    index = IvfEngine(16, nlist=20, nprobe=20)
    centroids = []
    for first, last in ((0, 2000), (2000, 4000), (4000, 8001)):
        index.add(codes[first:last])
        index.search(codes[:1])
        assert len(index.stored.lists) == last and not index.stored.recent
        centroids.append(index.stored.lists.centroids)
    assert centroids[0] is centroids[1] and centroids[1] is not centroids[2]


def test_codes_that_are_in_no_list_yet_are_found():
    codes = random_codes(2100, 48)
    index = IvfEngine(48, nlist=20, nprobe=20)
    index.add(codes[:2000])
    index.search(codes[:1])
    index.add(codes[2000:])
    distances, ids = index.search(codes[2000:], 1)
    assert index.stored.recent and index.stored.listed == 2000
    assert ids[:, 0].tolist() == [*range(2000, 2100)] and not distances.any()


def test_more_neighbors_than_lists_have():
    """Distance and id -1 stand for what was not read; memory does not grow with k."""
    codes = random_codes(3000, 16)
    index = IvfEngine(16, nlist=30, nprobe=2)
    index.add(codes)
    distances, ids = index.search(codes[:4], 3000)
    assert distances.shape == ids.shape == (4, 3000)
    for of_query, ids_of_query in zip(distances, ids):
        read = ids_of_query >= 0
        assert 10 < read.sum() < 2000 and (read[:-1] >= read[1:]).all()
        assert (np.diff(of_query[read]) >= 0).all() and (of_query[~read] == -1).all()
        assert len(set(ids_of_query[read])) == read.sum()


def test_codes_added_while_lists_are_made(monkeypatch):
    codes = random_codes(2100, 16)
    index = IvfEngine(16, nlist=10, nprobe=10)
    index.add(codes[:2000])
    adding = []

    def slow(*arguments):
        adding.append(threading.Thread(target=index.add, args=(codes[2000:],)))
        adding[0].start()
        assert len(index) == 2000  # its length can be read without waiting
        return InvertedLists(*arguments)

    monkeypatch.setattr(ivf, "InvertedLists", slow)
    index.search(codes[:1])
    adding[0].join()
    assert len(index) == 2100
    assert index.search(codes[2099:], 1)[0].tolist() == [[0]]


def test_queries_a_part_at_a_time(monkeypatch):
    codes = random_codes(3000, 24)
    index = IvfEngine(24, nlist=30, nprobe=4)
    index.add(codes)
    at_once = index.search(codes[:50], 5)
    monkeypatch.setattr(ivf, "CANDIDATES", 4 * 5 * 7)
    assert all(map(np.array_equal, index.search(codes[:50], 5), at_once))
    assert (at_once[1][:, 0] == np.arange(50)).all()
