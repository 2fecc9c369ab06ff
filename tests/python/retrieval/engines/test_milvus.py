"""Search in Milvus, Milvus Lite and a server, against exact search."""

import importlib.util
import sys

import numpy as np
import pytest

from dnnh import packed_codes
from dnnh.errors import UserError
from dnnh.retrieval.engines import milvus
from dnnh.retrieval.engines.milvus import MilvusEngine
from dnnh.retrieval.engines.numpy_engine import NumpyEngine

# Not imported here: the engine sets an environment variable before that.
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("pymilvus", "milvus_lite"))),
    reason="Milvus is not installed",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server."""
    server = pytest.importorskip("milvus").default_server
    server.set_base_dir(str(tmp_path_factory.mktemp("server")))
    server.start()
    yield f"http://127.0.0.1:{server.listen_port}"
    server.stop()


@pytest.fixture(params=["lite", "server"])
def address(request, tmp_path):
    return (
        str(tmp_path / "codes.db") if request.param == "lite" else request.getfixturevalue("server")
    )


def some_codes(count, bits, ones=0.5):
    rng = np.random.default_rng(bits)
    return packed_codes.pack(rng.random((count, bits)) < ones)


@pytest.mark.parametrize("bits, count", [(12, 700), (48, 700), (100, 50), (48, 1)])
def test_hits_are_the_exact_ones(address, bits, count):
    codes = some_codes(count, bits, 0.2)
    queries = codes[:130]  # more than are sent at a time
    index, exact = MilvusEngine(codes, bits, address), NumpyEngine(bits)
    exact.add(codes)
    assert len(index) == count
    for k in (1, 10, 2000):
        for actual, expected in zip(index.search(queries, k), exact.search(queries, k)):
            assert np.array_equal(actual, expected)
    for actual, expected in zip(index.within(codes[0], 4, 50), exact.within(codes[0], 4, 50)):
        assert np.array_equal(actual, expected)


class LastFirst:
    """Stands in for Milvus: returns equal distances in decreasing order of ids."""

    def __init__(self, codes, bits):
        self.index = NumpyEngine(bits)
        self.index.add(codes)
        self.limits = []

    def search(self, name, queries, limit, search_params, timeout):
        self.limits.append(limit)
        codes = np.frombuffer(b"".join(queries), np.uint8).reshape(len(queries), -1)
        results = []
        for distances, ids in zip(*(array.tolist() for array in self.index.search(codes, 500))):
            hits = [{"distance": float(d), "id": id} for d, id in zip(distances, ids)]
            hits.sort(key=lambda hit: (hit["distance"], -hit["id"]))
            results.append(hits[:limit])
        return results


def test_equal_distances_come_by_their_ids(tmp_path):
    codes = some_codes(500, 12, 0.1)
    index = MilvusEngine(codes, 12, str(tmp_path / "codes.db"))
    milvus_client = LastFirst(codes, 12)
    index._client = milvus_client
    for k in (1, 20):
        for actual, expected in zip(
            index.search(codes[:40], k), milvus_client.index.search(codes[:40], k)
        ):
            assert np.array_equal(actual, expected)
    assert 8 in milvus_client.limits and max(milvus_client.limits) <= 500


def test_codes_are_inserted_once_and_completely(address, monkeypatch):
    codes = some_codes(500, 24)
    monkeypatch.setattr(milvus, "ROWS", 100)
    inserted = []
    insert = MilvusEngine._insert

    def counting(engine, codes):
        inserted.append(1)
        insert(engine, codes)

    monkeypatch.setattr(MilvusEngine, "_insert", counting)
    first = MilvusEngine(codes, 24, address)
    MilvusEngine(codes, 24, address)
    assert len(inserted) == 1
    # Killed while it inserted: the last rows are missing.
    first._client.delete(first._name, filter="id >= 400")
    again = MilvusEngine(codes, 24, address)
    assert len(inserted) == 2
    assert again.search(codes[450:451], 1)[1].tolist() == [[450]]
    other = MilvusEngine(codes[:10], 24, address)
    assert len(other) == 10 and len(inserted) == 3
    assert other.search(codes[450:451], 100)[0].shape == (1, 10)


def test_a_collection_that_cannot_be_loaded_stays(tmp_path, monkeypatch):
    """Others may search in it."""
    codes = some_codes(40, 24)
    index = MilvusEngine(codes, 24, str(tmp_path / "codes.db"))
    client = index._client

    def busy(name, **options):
        raise index._milvus.MilvusException(message="busy")

    dropped = []
    monkeypatch.setattr(client, "load_collection", busy)
    monkeypatch.setattr(client, "drop_collection", dropped.append)
    with pytest.raises(index._milvus.MilvusException, match="busy"):
        index._insert_if_absent(codes)
    assert client.has_collection(index._name) and not dropped


def test_fewer_hits_than_codes(tmp_path):
    """Somebody inserts the codes again at this moment."""
    codes = some_codes(40, 24)
    index = MilvusEngine(codes, 24, str(tmp_path / "codes.db"))
    index._client.delete(index._name, filter="id >= 8")
    with pytest.raises(ConnectionError, match="returned fewer codes than 'dnnh_24_"):
        index.search(codes[:2], 10)


def test_bad_requests(tmp_path, monkeypatch):
    codes = some_codes(40, 24)
    with pytest.raises(UserError, match="Milvus at http://localhost:1: .*http://host:19530"):
        MilvusEngine(codes, 24, "http://localhost:1")
    with pytest.raises(UserError, match="Milvus at here.txt: "):
        MilvusEngine(codes, 24, "here.txt")
    index = MilvusEngine(codes, 24, str(tmp_path / "codes.db"))
    with pytest.raises(UserError, match=r"codes of 24 bits are uint8 of shape \(n, 3\)"):
        index.search(some_codes(1, 48))
    with pytest.raises(UserError, match="k is 0; ask for at least 1"):
        index.search(codes, 0)
    monkeypatch.setattr(milvus, "MAX_NEIGHBORS", 20)
    with pytest.raises(UserError, match="k is 30; Milvus returns at most 20"):
        index.search(codes, 30)
    index._client.drop_collection(index._name)  # by somebody else
    with pytest.raises(ConnectionError, match="Milvus at .*codes.db: "):
        index.search(codes)


def test_it_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(UserError, match=r"pip install -e .\[milvus\]"):
        MilvusEngine(some_codes(1, 24), 24, "codes.db")


def test_the_tool(photos, tmp_path, run):
    run.encode(photos, tmp_path / "c.h5")
    query = ["search", "--index", tmp_path / "c.h5", "--image", photos / "class1/16.png"]
    printed = run(*query, "--engine", "milvus", "--address", tmp_path / "codes.db")
    assert printed == run(*query)
    with pytest.raises(UserError, match="'milvus' needs --address"):
        run(*query, "--engine", "milvus")
    with pytest.raises(UserError, match="--address is for the engine 'milvus'"):
        run(*query, "--address", "x.db")
