"""The engines of this process against comparing bits one by one, and their files."""

import concurrent.futures
import sys
import threading

import h5py
import numpy as np
import pytest

from dnnh import packed_codes
from dnnh.errors import UserError
from dnnh.retrieval.engines import code_blocks, storage
from dnnh.retrieval.engines.faiss_flat import FaissFlatEngine
from dnnh.retrieval.engines.ivf import MAX_NLIST, IvfEngine
from dnnh.retrieval.engines.numpy_engine import NumpyEngine

RNG = np.random.default_rng(0)


def bit_by_bit(codes, queries, bits, k):
    one, other = packed_codes.unpack(codes, bits), packed_codes.unpack(queries, bits)
    distances = (other[:, np.newaxis] != one).sum(axis=2)
    ids = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, ids, axis=1), ids


def random_codes(bits, count, queries=9):
    return (
        packed_codes.pack(RNG.integers(0, 2, (count, bits))),
        packed_codes.pack(RNG.integers(0, 2, (queries, bits))),
    )


@pytest.mark.parametrize("engine", [NumpyEngine, FaissFlatEngine])
@pytest.mark.parametrize("bits", [8, 12, 24, 48, 64, 100])
def test_exact_with_equal_distances_in_order(engine, bits, monkeypatch):
    if engine is FaissFlatEngine:
        pytest.importorskip("faiss")
    monkeypatch.setattr(code_blocks, "BLOCK", 70)
    codes, queries = random_codes(bits, 500)
    index = engine(bits)
    index.add(codes[:200])
    index.add(codes[200:])
    assert len(index) == 500
    for k in (1, 10, 71, 500, 900):
        for actual, expected in zip(index.search(queries, k), bit_by_bit(codes, queries, bits, k)):
            assert np.array_equal(actual, expected) and actual.dtype == np.int64


@pytest.mark.parametrize("name", storage.ENGINES)
def test_within_a_radius(name, monkeypatch):
    if name != "numpy":
        pytest.importorskip("faiss")
    monkeypatch.setattr(code_blocks, "BLOCK", 70)
    codes, queries = random_codes(12, 500)
    index = IvfEngine(12, nlist=7, nprobe=1) if name == "ivf" else storage.make_engine(name, 12)
    index.add(codes[:450])
    index.search(queries)
    index.add(codes[450:])
    for query in queries:
        distances, ids = bit_by_bit(codes, query[np.newaxis], 12, 500)
        near = distances[0] <= 3
        assert near.sum() > 20
        for k in (1, 20, 500, 1000):
            neighbors = index.within(query, 3, k)
            assert np.array_equal(neighbors.distances, distances[0][near][:k])
            assert np.array_equal(neighbors.ids, ids[0][near][:k])
            assert neighbors.distances.dtype == neighbors.ids.dtype == np.int64


def test_ivf_finds_most_in_clusters():
    pytest.importorskip("faiss")
    centers = RNG.integers(0, 2, (50, 48))

    def noisy(count):
        flipped = RNG.random((count, 48)) < 0.05
        return packed_codes.pack(centers[RNG.integers(50, size=count)] ^ flipped)

    codes, queries = noisy(20_000), noisy(100)
    index = IvfEngine(48, nlist=64, nprobe=8)
    index.add(codes)
    exact, _ = bit_by_bit(codes, queries, 48, 10)
    distances, ids = index.search(queries, 10)
    assert (distances == exact).mean() > 0.9
    assert (np.diff(distances) >= 0).all() and (ids >= 0).all()


def test_saved_and_loaded(tmp_path):
    codes, queries = random_codes(20, 30)
    index = NumpyEngine(20)
    index.add(codes)
    storage.save(index, tmp_path / "index.h5")
    loaded = storage.load(tmp_path / "index.h5")
    assert type(loaded) is NumpyEngine and loaded.bits == 20
    for one, other in zip(index.search(queries, 5), loaded.search(queries, 5)):
        assert np.array_equal(one, other)
    index = IvfEngine(20, nlist=7, nprobe=3)
    index.add(codes)  # which are in no list yet
    storage.save(index, tmp_path / "index.h5")
    loaded = storage.load(tmp_path / "index.h5")
    assert type(loaded) is IvfEngine
    assert (loaded.bits, loaded.nlist, loaded.nprobe, len(loaded)) == (20, 7, 3, 30)
    for content in (b"", b"nonsense"):
        (tmp_path / "index.h5").write_bytes(content)
        with pytest.raises(UserError, match="index.h5 is not a file of searchable codes"):
            storage.load(tmp_path / "index.h5")


@pytest.mark.parametrize("name", ["bits", "nlist", "nprobe"])
def test_numbers_of_another_kind(tmp_path, name, recwarn):
    storage.save(IvfEngine(20, nlist=7, nprobe=3), tmp_path / "index.h5")
    with h5py.File(tmp_path / "index.h5", "r+") as file:
        file.attrs[name] = 20j
    with pytest.raises(UserError, match=f"index.h5 is not .*{name} is .*not a whole number"):
        storage.load(tmp_path / "index.h5")
    assert not recwarn.list


def test_lists_without_codes(tmp_path):
    pytest.importorskip("faiss")
    index = IvfEngine(20, nlist=3, nprobe=3)
    index.add(random_codes(20, 300)[0])
    index.search(index.stored.recent[0][:1, :3], 1)
    storage.save(index, tmp_path / "index.h5")
    with h5py.File(tmp_path / "index.h5", "r+") as file:
        del file["list_of"]
        file["list_of"] = np.zeros(0, np.uint8)
    with pytest.raises(UserError, match=r"its lists are uint8 of shape \(0,\)"):
        storage.load(tmp_path / "index.h5")


def test_lists_are_saved_too(tmp_path):
    """So that an index of millions need not be trained again."""
    pytest.importorskip("faiss")
    codes, queries = random_codes(20, 3000)
    index = IvfEngine(20, nlist=30, nprobe=3)
    index.add(codes)
    neighbors = index.search(queries, 5)
    storage.save(index, tmp_path / "index.h5")
    loaded = storage.load(tmp_path / "index.h5")
    assert len(loaded) == 3000
    assert all(map(np.array_equal, loaded.search(queries, 5), neighbors))
    loaded.add(queries)
    assert (loaded.search(queries, 1)[1][:, 0] == np.arange(3000, 3009)).sum() >= 8
    exact = storage.load(tmp_path / "index.h5", "flat")
    assert all(map(np.array_equal, exact.search(queries, 5), bit_by_bit(codes, queries, 20, 5)))
    for wrong in (np.full(3000, 30), np.full(3000, -1), np.zeros(3001, int)):
        with h5py.File(tmp_path / "index.h5", "a") as file:
            del file["list_of"]
            file["list_of"] = wrong
        with pytest.raises(UserError, match="searchable codes .its lists are int64 of shape"):
            storage.load(tmp_path / "index.h5")
    with h5py.File(tmp_path / "index.h5", "a") as file:
        width = file["centroids"].shape[1]
        del file["list_of"], file["centroids"]
        file["list_of"] = np.zeros(3000, int)
        file["centroids"] = np.zeros((MAX_NLIST + 1, width), np.uint8)
    with pytest.raises(UserError, match="it has 65,537 lists, more than 65,536"):
        storage.load(tmp_path / "index.h5")
    with h5py.File(tmp_path / "index.h5", "a") as file:
        del file["centroids"]
        file["centroids"] = np.zeros((30, 9), np.uint8)
    with pytest.raises(UserError, match=r"index.h5 is not a file .*of shape \(30, 9\)"):
        storage.load(tmp_path / "index.h5")


def test_files_of_other_codes_name_the_file(tmp_path):
    index = NumpyEngine(20)
    index.add(random_codes(20, 30)[0])
    storage.save(index, tmp_path / "index.h5")
    with pytest.raises(UserError, match="index.h5 is not a file .*unknown engine 'x'"):
        storage.load(tmp_path / "index.h5", "x")
    with h5py.File(tmp_path / "index.h5", "a") as file:
        file.attrs["bits"] = 30
    with pytest.raises(UserError, match=r"index.h5 is not a file .*codes of 30 bits are uint8"):
        storage.load(tmp_path / "index.h5")


def test_two_first_searches_at_once():
    pytest.importorskip("faiss")
    codes, queries = random_codes(20, 20_000, 50)
    index = IvfEngine(20, nlist=64, nprobe=64)
    index.add(codes)
    exact = bit_by_bit(codes, queries, 20, 3)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for neighbors in pool.map(lambda _: index.search(queries, 3), range(4)):
            assert all(map(np.array_equal, neighbors, exact))


@pytest.mark.parametrize("name", storage.ENGINES)
def test_searches_while_codes_are_added(name):
    """A search sees all codes of one moment."""
    if name != "numpy":
        pytest.importorskip("faiss")
    codes, queries = random_codes(16, 4000)
    index = IvfEngine(16, nlist=10, nprobe=10) if name == "ivf" else storage.make_engine(name, 16)
    index.add(codes[:500])

    searched = threading.Event()

    def add():
        for start in range(500, 4000, 50):
            if start == 1000:
                assert searched.wait(60)
            index.add(codes[start : start + 50])

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        adding = pool.submit(add)
        while not adding.done():
            for neighbors in pool.map(lambda _: index.search(queries, 5), range(2)):
                matching = codes[neighbors.ids] ^ queries[:, np.newaxis]
                assert (np.bitwise_count(matching).sum(axis=2) == neighbors.distances).all()
                assert (np.diff(neighbors.distances) >= 0).all()
            searched.set()
        adding.result()
    for actual, expected in zip(index.search(queries, 5), bit_by_bit(codes, queries, 16, 5)):
        assert np.array_equal(actual, expected)


def test_memory_is_that_of_the_padded_codes():
    pytest.importorskip("faiss")
    index = FaissFlatEngine(48)
    index.add(np.zeros((1000, 6), np.uint8))
    index.search(np.zeros((1, 6), np.uint8))
    assert sum(block.nbytes for block in index.blocks) == 8000


def test_lists_take_a_fifth_more():
    pytest.importorskip("faiss")
    codes, _ = random_codes(48, 100_000)
    index = IvfEngine(48)
    index.add(codes)
    index.search(codes[:1])
    lists = index.stored.lists
    assert not index.stored.recent and len(lists.centroids) == 512
    arrays = [
        value
        for part in (lists, lists._numbers)
        for value in vars(part).values()
        if isinstance(value, np.ndarray)
    ]
    assert sum(array.nbytes for array in arrays) == lists.nbytes < 1.2 * 800_000


def test_nothing_to_search_in_or_for():
    index = NumpyEngine(16)
    queries = np.zeros((3, 2), np.uint8)
    assert [array.shape for array in index.search(queries, 5)] == [(3, 0), (3, 0)]
    index.add(np.zeros((4, 2), np.uint8))
    assert [array.shape for array in index.search(queries[:0], 5)] == [(0, 4), (0, 4)]
    assert [array.tolist() for array in index.within(queries[0], 0, 9)] == [[0] * 4, [0, 1, 2, 3]]


@pytest.mark.parametrize("name", storage.ENGINES)
def test_engines_are_alike_where_there_is_nothing(name):
    index = storage.make_engine(name, 16)
    queries = np.zeros((3, 2), np.uint8)
    assert len(index) == 0
    assert [array.shape for array in index.search(queries, 5)] == [(3, 0), (3, 0)]
    assert [array.shape for array in index.within(queries[0], 5, 9)] == [(0,), (0,)]
    index.add(queries[:0])
    assert len(index) == 0


@pytest.mark.parametrize(
    "request_, message",
    [
        (
            lambda index: index.add(np.zeros((4, 3), np.uint8)),
            r"codes is uint8 of shape \(4, 3\); codes of 12 bits are uint8 of shape \(n, 2\)",
        ),
        (lambda index: index.add(np.zeros((4, 2), int)), "codes is int64"),
        (lambda index: index.search(np.zeros(2, np.uint8)), r"of shape \(2,\)"),
        (lambda index: index.within(np.zeros((1, 2), np.uint8), 1, 1), r"one query .* \(1, 2\)"),
        (lambda index: index.add(np.full((4, 2), 255, np.uint8)), "ones beyond bit 12"),
        (lambda index: index.search(np.zeros((1, 2), np.uint8), 0), "ask for at least 1"),
        (lambda index: setattr(IvfEngine(8), "nprobe", 0), "nprobe is 0; with 512 lists"),
        (lambda index: IvfEngine(8, nlist=0), "nlist is 0; it must be from 1 to 65,536"),
        (lambda index: IvfEngine(8, nlist=4, nprobe=5), "nprobe is 5; with 4 lists"),
        (lambda index: NumpyEngine(0), "0 bits"),
        (lambda index: FaissFlatEngine(0), "0 bits"),
        (lambda index: IvfEngine(0), "0 bits"),
        (lambda index: NumpyEngine(256), "256 bits"),
        (
            lambda index: storage.make_engine("x", 8),
            "unknown engine 'x'; known engines: numpy, flat, ivf",
        ),
    ],
)
@pytest.mark.parametrize("name", storage.ENGINES)
def test_bad_requests(name, request_, message):
    index = storage.make_engine(name, 12)
    with pytest.raises(UserError, match=message):
        request_(index)


def test_faiss_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    index = FaissFlatEngine(8)
    index.add(np.zeros((4, 1), np.uint8))
    with pytest.raises(UserError, match=r"pip install -e .\[search\]"):
        index.search(np.zeros((1, 1), np.uint8))
