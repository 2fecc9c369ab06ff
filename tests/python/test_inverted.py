"""Lists of codes, against plain comparisons."""

import threading

import numpy as np
import pytest

from dnnh import inverted, ranking, search

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("count, bound", [
    (0, 1), (1, 1), (1, 10 ** 9), (700, 700), (700, 10 ** 6), (20_000, 2 * 10 ** 6),
    (3000, 10 ** 11)])
def test_increasing_numbers(count, bound):
    numbers = np.sort(RNG.choice(bound, count, replace=False) if bound < 10 ** 7
                      else RNG.integers(bound, size=count))
    kept = inverted._Increasing(count, bound)
    places = RNG.permutation(count)
    for part in np.array_split(places, 3):             # in any order
        kept.put(part, numbers[part])
    kept.close()
    assert np.array_equal(kept[places], numbers[places])
    assert np.array_equal(kept[places.reshape(-1, 1)], numbers[places, np.newaxis])
    read = list(kept.pieces(groups=2))
    assert np.array_equal(np.concatenate([part for _, part in read]), numbers)
    assert [first for first, _ in read] == np.cumsum(
        [0, *(len(part) for _, part in read)])[:-1].tolist()


def test_every_list_is_in_the_order_of_ids(monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(inverted, "BLOCK", 70)
    codes = ranking.pack(RNG.integers(0, 2, (500, 16)))
    lists = inverted.Lists([codes[:300], codes[300:]], codes[:9].copy())
    ids = lists.ids(np.arange(500))
    assert np.array_equal(np.sort(ids), np.arange(500))
    assert np.array_equal(lists.codes, codes[ids])
    (_, distances), = ranking.distances(codes, codes[:9])
    ordered, list_of = lists.in_order()
    assert np.array_equal(ordered, codes)
    assert (distances[np.arange(500), list_of] == distances.min(axis=1)).all()
    key = list_of[ids].astype(int) * 500 + ids
    assert (np.diff(key) > 0).all()


def test_all_lists_probed_is_exact():
    """Equal distances by id, whatever lists they are in; codes added later, too."""
    pytest.importorskip("faiss")
    codes = ranking.pack(RNG.integers(0, 2, (3000, 12)))
    queries = ranking.pack(RNG.integers(0, 2, (20, 12)))
    index = search.Index(12, "ivf", lists=30, probed=30)
    plain = search.Index(12)
    for first, last in ((0, 2000), (2000, 2100), (2100, 2200), (2200, 3000)):
        for each in (index, plain):
            each.add(codes[first:last])
        for top in (1, 10, 200):
            for found, wanted in zip(index.search(queries, top), plain.search(queries, top)):
                assert np.array_equal(found, wanted) and found.dtype == np.int64
        # A few more stay in no list; many are put into lists, too.
        assert sum(map(len, index._held[1])) == {2100: 100, 2200: 200}.get(last, 0)


def test_lists_last_until_there_are_twice_as_many_codes():
    pytest.importorskip("faiss")
    codes = ranking.pack(RNG.integers(0, 2, (9000, 16)))
    index = search.Index(16, "ivf", lists=20, probed=20)
    centroids = []
    for first, last in ((0, 2000), (2000, 4000), (4000, 8001)):
        index.add(codes[first:last])
        index.search(codes[:1])
        lists, added = index._held
        assert len(lists) == last and not added
        centroids.append(lists.centroids)
    assert centroids[0] is centroids[1] and centroids[1] is not centroids[2]


def test_more_is_asked_than_lists_have():
    """Distance and id -1 stand for what was not looked at; memory does not grow with top."""
    pytest.importorskip("faiss")
    codes = ranking.pack(RNG.integers(0, 2, (3000, 16)))
    index = search.Index(16, "ivf", lists=30, probed=2)
    index.add(codes)
    distances, ids = index.search(codes[:4], 3000)
    assert distances.shape == ids.shape == (4, 3000)
    for found, at in zip(distances, ids):
        seen = at >= 0
        assert 10 < seen.sum() < 2000 and (seen[:-1] >= seen[1:]).all()
        assert (np.diff(found[seen]) >= 0).all() and (found[~seen] == -1).all()
        assert len(set(at[seen])) == seen.sum()


def test_codes_added_while_lists_are_made(monkeypatch):
    pytest.importorskip("faiss")
    codes = ranking.pack(RNG.integers(0, 2, (2100, 16)))
    index = search.Index(16, "ivf", lists=10, probed=10)
    index.add(codes[:2000])
    made, adding = inverted.Lists, []

    def slow(*arguments):
        adding.append(threading.Thread(target=index.add, args=(codes[2000:],)))
        adding[0].start()
        assert len(index) == 2000                      # nobody waits to be told
        return made(*arguments)
    monkeypatch.setattr(inverted, "Lists", slow)
    index.search(codes[:1])
    adding[0].join()
    assert len(index) == 2100
    assert index.search(codes[2099:], 1)[0].tolist() == [[0]]


def test_queries_by_parts(monkeypatch):
    pytest.importorskip("faiss")
    codes = ranking.pack(RNG.integers(0, 2, (3000, 24)))
    index = search.Index(24, "ivf", lists=30, probed=4)
    index.add(codes)
    whole = index.search(codes[:50], 5)
    monkeypatch.setattr(search, "HITS", 4 * 5 * 7)
    assert all(map(np.array_equal, index.search(codes[:50], 5), whole))
    assert (whole[1][:, 0] == np.arange(50)).all()
