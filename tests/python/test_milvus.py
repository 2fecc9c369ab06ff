"""Search in Milvus, the embedded edition and a server, against exact search."""

import importlib.util
import sys

import numpy as np
import pytest

from dnnh import milvus, ranking, search
from dnnh.errors import UserError
from test_collection import photos, run, weights   # noqa: F401: fixtures

# Not imported here: dnnh.milvus has something to do before that.
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("pymilvus", "milvus_lite"))),
    reason="Milvus is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server."""
    server = pytest.importorskip("milvus").default_server
    server.set_base_dir(str(tmp_path_factory.mktemp("server")))
    server.start()
    yield f"http://127.0.0.1:{server.listen_port}"
    server.stop()


@pytest.fixture(params=["embedded", "server"])
def address(request, tmp_path):
    return (str(tmp_path / "codes.db") if request.param == "embedded"
            else request.getfixturevalue("server"))


def some_codes(count, bits, ones=0.5):
    rng = np.random.default_rng(bits)
    return ranking.pack(rng.random((count, bits)) < ones)


@pytest.mark.parametrize("bits, count", [(12, 700), (48, 700), (100, 50), (48, 1)])
def test_hits_are_the_exact_ones(address, bits, count):
    codes = some_codes(count, bits, 0.2)
    queries = codes[:130]                                # more than are asked at a time
    index, exact = milvus.Index(codes, bits, address), search.Index(bits)
    exact.add(codes)
    assert len(index) == count
    for top in (1, 10, 2000):
        for ours, theirs in zip(index.search(queries, top), exact.search(queries, top)):
            assert np.array_equal(ours, theirs)
    for ours, theirs in zip(index.within(codes[0], 4), exact.within(codes[0], 4)):
        assert np.array_equal(ours, theirs)


class LastFirst:
    """Gives equal distances in the order that is least welcome."""

    def __init__(self, codes, bits):
        self.index = search.Index(bits)
        self.index.add(codes)
        self.limits = []

    def search(self, name, queries, limit, search_params, timeout):
        self.limits.append(limit)
        asked = np.frombuffer(b"".join(queries), np.uint8).reshape(len(queries), -1)
        return [sorted(({"distance": float(d), "id": i} for d, i in zip(*both)),
                       key=lambda hit: (hit["distance"], -hit["id"]))[:limit]
                for both in zip(*(f.tolist() for f in self.index.search(asked, 500)))]


def test_equal_distances_come_by_their_ids(tmp_path):
    codes = some_codes(500, 12, 0.1)
    index = milvus.Index(codes, 12, str(tmp_path / "codes.db"))
    index._client = LastFirst(codes, 12)
    for top in (1, 20):
        for ours, theirs in zip(index.search(codes[:40], top),
                                index._client.index.search(codes[:40], top)):
            assert np.array_equal(ours, theirs)
    assert 8 in index._client.limits and max(index._client.limits) <= 500


def test_codes_are_filled_in_once_and_whole(address, monkeypatch):
    codes = some_codes(500, 24)
    monkeypatch.setattr(milvus, "ROWS", 100)
    filled = []
    fill = milvus.Index._fill
    monkeypatch.setattr(milvus.Index, "_fill",
                        lambda self, *rest: (filled.append(1), fill(self, *rest)))
    first = milvus.Index(codes, 24, address)
    milvus.Index(codes, 24, address)
    assert len(filled) == 1
    # Killed while it was being filled: the last rows are missing.
    first._client.delete(first._name, filter="id >= 400")
    again = milvus.Index(codes, 24, address)
    assert len(filled) == 2
    assert again.search(codes[450:451], 1)[1].tolist() == [[450]]
    other = milvus.Index(codes[:10], 24, address)
    assert len(other) == 10 and len(filled) == 3
    assert other.search(codes[450:451], 100)[0].shape == (1, 10)


def test_what_cannot_be(tmp_path, monkeypatch):
    codes = some_codes(40, 24)
    with pytest.raises(UserError, match="Milvus at http://localhost:1: .*http://host:19530"):
        milvus.Index(codes, 24, "http://localhost:1")
    with pytest.raises(UserError, match="Milvus at here.txt: "):
        milvus.Index(codes, 24, "here.txt")
    index = milvus.Index(codes, 24, str(tmp_path / "codes.db"))
    with pytest.raises(UserError, match=r"this index has 24 bits: uint8 of shape \(n, 3\)"):
        index.search(some_codes(1, 48))
    with pytest.raises(UserError, match="the top 0 were asked for"):
        index.search(codes, 0)
    monkeypatch.setattr(milvus, "MOST", 20)
    with pytest.raises(UserError, match="the top 30 were asked for; Milvus gives at most 20"):
        index.search(codes, 30)
    index._client.drop_collection(index._name)         # by somebody else
    with pytest.raises(ConnectionError, match="Milvus at .*codes.db: "):
        index.search(codes)


def test_it_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(UserError, match=r"pip install -e .\[milvus\]"):
        milvus.Index(some_codes(1, 24), 24, "codes.db")


def test_the_tool(photos, tmp_path, run):
    run.encode(photos, tmp_path / "c.h5")
    asked = ["search", "--codes", tmp_path / "c.h5", "--image", photos / "class1/16.png"]
    found = run(*asked, "--engine", "milvus", "--address", tmp_path / "codes.db")
    assert found == run(*asked)
    with pytest.raises(UserError, match="'milvus' needs --address"):
        run(*asked, "--engine", "milvus")
    with pytest.raises(UserError, match="--address is for the engine 'milvus'"):
        run(*asked, "--address", "x.db")
