"""Searching codes: each engine against plain counting."""

import concurrent.futures

import h5py
import numpy as np
import pytest

from dnnh import ranking, search
from dnnh.errors import UserError

RNG = np.random.default_rng(0)


def plain(codes, queries, bits, top):
    one, other = ranking.unpack(codes, bits), ranking.unpack(queries, bits)
    distances = (other[:, np.newaxis] != one).sum(axis=2)
    ids = np.argsort(distances, axis=1, kind="stable")[:, :top]
    return np.take_along_axis(distances, ids, axis=1), ids


def made(bits, count, queries=9):
    return (ranking.pack(RNG.integers(0, 2, (count, bits))),
            ranking.pack(RNG.integers(0, 2, (queries, bits))))


@pytest.mark.parametrize("engine", ["numpy", "flat"])
@pytest.mark.parametrize("bits", [8, 12, 24, 48, 64, 100])
def test_exact_with_equal_distances_in_order(engine, bits, monkeypatch):
    if engine == "flat":
        pytest.importorskip("faiss")
    monkeypatch.setattr(search, "BLOCK", 70)
    codes, queries = made(bits, 500)
    index = search.Index(bits, engine)
    index.add(codes[:200])
    index.add(codes[200:])
    assert len(index) == 500
    for top in (1, 10, 71, 500, 900):
        for found, wanted in zip(index.search(queries, top),
                                 plain(codes, queries, bits, top)):
            assert np.array_equal(found, wanted) and found.dtype == np.int64


@pytest.mark.parametrize("engine", search.ENGINES)
def test_within_a_radius(engine, monkeypatch):
    if engine != "numpy":
        pytest.importorskip("faiss")
    monkeypatch.setattr(search, "BLOCK", 70)
    codes, queries = made(12, 500)
    index = search.Index(12, engine, lists=7, probed=1)
    index.add(codes[:450])
    index.search(queries)
    index.add(codes[450:])
    for query in queries:
        distances, ids = plain(codes, query[np.newaxis], 12, 500)
        near = distances[0] <= 3
        found = index.within(query, 3)
        assert np.array_equal(found[0], distances[0][near])
        assert np.array_equal(found[1], ids[0][near])


def test_ivf_finds_most_in_clusters():
    pytest.importorskip("faiss")
    centres = RNG.integers(0, 2, (50, 48))
    def noisy(count):
        flipped = RNG.random((count, 48)) < 0.05
        return ranking.pack(centres[RNG.integers(50, size=count)] ^ flipped)
    codes, queries = noisy(20_000), noisy(100)
    index = search.Index(48, "ivf", lists=64, probed=8)
    index.add(codes)
    exact, _ = plain(codes, queries, 48, 10)
    found, ids = index.search(queries, 10)
    assert (found == exact).mean() > 0.9
    assert (np.diff(found) >= 0).all() and (ids >= 0).all()


def test_saved_and_loaded(tmp_path):
    codes, queries = made(20, 30)
    index = search.Index(20, lists=7, probed=3)
    index.add(codes)
    index.save(tmp_path / "index.h5")
    loaded = search.Index.load(tmp_path / "index.h5")
    assert (loaded.bits, loaded.engine, loaded.lists, loaded.probed) == (20, "numpy", 7, 3)
    for one, other in zip(index.search(queries, 5), loaded.search(queries, 5)):
        assert np.array_equal(one, other)
    for content in (b"", b"nonsense"):
        (tmp_path / "index.h5").write_bytes(content)
        with pytest.raises(UserError, match="index.h5 is not an index"):
            search.Index.load(tmp_path / "index.h5")


def test_lists_are_saved_too(tmp_path):
    """So that an index of millions need not be trained again."""
    pytest.importorskip("faiss")
    codes, queries = made(20, 3000)
    index = search.Index(20, "ivf", lists=30, probed=3)
    index.add(codes)
    answers = index.search(queries, 5)
    index.save(tmp_path / "index.h5")
    loaded = search.Index.load(tmp_path / "index.h5")
    assert len(loaded) == 3000
    assert all(map(np.array_equal, loaded.search(queries, 5), answers))
    loaded.add(queries)
    assert (loaded.search(queries, 1)[1][:, 0] == np.arange(3000, 3009)).sum() >= 8
    exact = search.Index.load(tmp_path / "index.h5", "flat")
    assert all(map(np.array_equal, exact.search(queries, 5), plain(codes, queries, 20, 5)))
    for wrong in (np.full(3000, 30), np.full(3000, -1), np.zeros(3001, int)):
        with h5py.File(tmp_path / "index.h5", "a") as file:
            del file["list_of"]
            file["list_of"] = wrong
        with pytest.raises(UserError, match="is not an index .its lists are int64 of shape"):
            search.Index.load(tmp_path / "index.h5")
    with h5py.File(tmp_path / "index.h5", "a") as file:
        del file["centroids"]
        file["centroids"] = np.zeros((30, 9), np.uint8)
    with pytest.raises(UserError, match=r"index.h5 is not an index .*of shape \(30, 9\)"):
        search.Index.load(tmp_path / "index.h5")


def test_two_first_searches_at_once():
    pytest.importorskip("faiss")
    codes, queries = made(20, 20_000, 50)
    index = search.Index(20, "ivf", lists=64, probed=64)
    index.add(codes)
    exact = plain(codes, queries, 20, 3)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: index.search(queries, 3), range(4)):
            assert all(map(np.array_equal, found, exact))


def test_memory_is_that_of_the_padded_codes():
    pytest.importorskip("faiss")
    index = search.Index(48, "flat")
    index.add(np.zeros((1000, 6), np.uint8))
    index.search(np.zeros((1, 6), np.uint8))
    assert sum(block.nbytes for block in index._held[1]) == 8000


def test_lists_take_a_fifth_more():
    pytest.importorskip("faiss")
    codes, _ = made(48, 100_000)
    index = search.Index(48, "ivf")
    index.add(codes)
    index.search(codes[:1])
    lists, added = index._held
    arrays = [held for part in (lists, lists._numbers) for held in vars(part).values()
              if isinstance(held, np.ndarray)]
    assert not added and len(lists.centroids) == 512
    assert sum(held.nbytes for held in arrays) < 1.2 * 800_000


def test_nothing_in_it_or_asked():
    index = search.Index(16)
    queries = np.zeros((3, 2), np.uint8)
    assert [found.shape for found in index.search(queries, 5)] == [(3, 0), (3, 0)]
    index.add(np.zeros((4, 2), np.uint8))
    assert [found.shape for found in index.search(queries[:0], 5)] == [(0, 4), (0, 4)]
    assert [found.tolist() for found in index.within(queries[0], 0)] == [[0] * 4, [0, 1, 2, 3]]


@pytest.mark.parametrize("make, message", [
    (lambda index: index.add(np.zeros((4, 3), np.uint8)),
     r"uint8 of shape \(4, 3\); this index has 12 bits: uint8 of shape \(n, 2\)"),
    (lambda index: index.add(np.zeros((4, 2), int)), "codes are int64"),
    (lambda index: index.search(np.zeros(2, np.uint8)), r"of shape \(2,\)"),
    (lambda index: index.within(np.zeros((1, 2), np.uint8), 1), r"one query .* \(1, 2\)"),
    (lambda index: setattr(index, "probed", 0), "0 of 512 lists are to be probed"),
    (lambda index: index.add(np.full((4, 2), 255, np.uint8)), "ones beyond bit 12"),
    (lambda index: index.search(np.zeros((1, 2), np.uint8), 0), "ask for at least 1"),
    (lambda index: search.Index(8, "ivf", lists=0), "0 lists: codes are put into 1 to 65,536"),
    (lambda index: search.Index(0), "0 bits"), (lambda index: search.Index(256), "256 bits"),
    (lambda index: search.Index(8, "x"), "unknown engine 'x'; known ones: numpy, flat, ivf"),
    (lambda index: search.Index(8, "ivf", lists=4, probed=5), "5 of 4 lists")])
def test_bad_requests(make, message):
    with pytest.raises(UserError, match=message):
        make(search.Index(12))


def test_faiss_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    index = search.Index(8, "flat")
    index.add(np.zeros((4, 1), np.uint8))
    with pytest.raises(UserError, match=r"pip install -e .\[search\]"):
        index.search(np.zeros((1, 1), np.uint8))
