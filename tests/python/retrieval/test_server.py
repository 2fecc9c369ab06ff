"""The server's requests, as a browser sends them."""

import contextlib
import io
import os
import threading
import time
from concurrent import futures

import numpy as np
import pytest
from PIL import Image

from dnnh import limits, packed_codes
from dnnh.errors import UserError
from dnnh.nets.net_info import NetInfo
from dnnh.retrieval.engines.numpy_engine import NumpyEngine
from dnnh.retrieval.image_index import ImageIndex
from dnnh.retrieval.retriever import EncodedQuery, Retriever
from dnnh.retrieval.served_index import OpenedIndex, ServedIndex

testing = pytest.importorskip("fastapi.testclient")
server = pytest.importorskip("dnnh.retrieval.server")
COUNT, BITS = 40, 12
RNG = np.random.default_rng(0)
CODES = packed_codes.pack(RNG.integers(0, 2, (COUNT, BITS)))
# What it costs to differ in a bit.
COSTS = np.linspace(0, 1, BITS)[np.newaxis]


def png(value=7, size=(30, 20)):
    file = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


class Fake(Retriever):
    """A retriever, and an encoder that takes the first pixel of an image for its row."""

    def __init__(self, present=None):
        index = ImageIndex(
            net=NetInfo(BITS, "digits", "dnnh", "500", ""),
            source="",
            codes=CODES,
            names=lambda rows: [f"<b>{row}.png" for row in np.atleast_1d(rows)],
            labels=lambda rows: [
                ("even" if row % 2 == 0 else "odd",) for row in np.atleast_1d(rows)
            ],
        )
        engine = NumpyEngine(BITS)
        engine.add(CODES if present is None else CODES[present])
        super().__init__(index, engine, present)

    def encode(self, image):
        return EncodedQuery(CODES[image[0, 0, :1]], COSTS)

    def image(self, name):
        if name == "<b>3.png":
            raise UserError("it is gone")
        return np.full((100, 400, 3) if name == "<b>4.png" else (8, 8, 3), 7, np.uint8)


class Fixed:
    """An index that nobody replaces."""

    def __init__(self, fake):
        self._opened = OpenedIndex(fake, fake)

    def is_current(self):
        return True

    def opened(self):
        return self._opened


@pytest.fixture
def client():
    with testing.TestClient(server.make_app(Fixed(Fake()))) as client:
        yield client


def test_an_image_finds_similar_images(client):
    results = client.post("/search?top=5&rank=hamming", content=png(7)).json()
    assert results["bits"] == "".join(map(str, packed_codes.unpack(CODES[7:8], BITS)[0]))
    neighbors = Fake().engine.search(CODES[7:8], 5)
    rows = neighbors.ids[0].tolist()
    assert [hit["row"] for hit in results["hits"]] == rows and 7 in rows
    assert [hit["distance"] for hit in results["hits"]] == neighbors.distances[0].tolist()
    assert results["hits"][0]["labels"] == ["odd" if rows[0] % 2 else "even"]
    assert set(results["milliseconds"]) == {"encode", "search"}
    assert client.get("/search?row=7&top=5").json()["hits"] == results["hits"]
    near = client.get(f"/search?row=7&top=500&radius={BITS // 3}").json()["hits"]
    assert 0 < len(near) < COUNT
    assert max(hit["distance"] for hit in near) <= BITS // 3
    assert len(client.get("/search?row=7&top=500").json()["hits"]) == COUNT


def test_no_request_reaches_an_image_that_was_removed():
    removed = [5, 7, 39]
    rows = [row for row in range(COUNT) if row not in removed]
    with testing.TestClient(server.make_app(Fixed(Fake(np.array(rows))))) as client:
        for row in removed:
            assert client.get(f"/image/{row}").status_code == 404
            assert "there are 37, up to 38" in client.get(f"/search?row={row}").text
        assert (
            client.get("/image/38").status_code == client.get("/search?row=38").status_code == 200
        )
        images = client.get("/random?count=500").json()
        assert [image["row"] for image in images] == rows
        assert [image["name"] for image in images] == [f"<b>{row}.png" for row in rows]
        hits = client.post("/search?top=500", content=png(7)).json()["hits"]
        assert sorted(hit["row"] for hit in hits) == rows


@pytest.mark.parametrize("rank", ["hamming", "asymmetric"])
@pytest.mark.parametrize("radius", ["", f"&radius={BITS // 2}"])
def test_pages_of_hits(client, rank, radius):
    """Pages one after the other are the whole ranking."""
    path = f"/search?rank={rank}{radius}"
    whole = client.post(f"{path}&top=500", content=png(7)).json()["hits"]
    assert len(whole) > 14
    pages = []
    for offset in range(0, len(whole) + 7, 7):
        results = client.post(f"{path}&top=7&offset={offset}", content=png(7)).json()
        assert results["offset"] == offset
        pages += results["hits"]
    assert pages == whole
    by_row = client.get(f"/search?row=7&top=3&offset=4{radius}").json()["hits"]
    ranked = client.post(f"/search?rank=hamming&top=7{radius}", content=png(7)).json()["hits"]
    assert by_row == ranked[4:]


def test_metrics(client):
    client.get("/search?row=7")
    client.get("/search?row=99")
    client.post("/search", content=b"x")
    client.get("/nowhere")
    client.request("BREW", "/health")
    client.get("/image/5")
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = response.text.splitlines()
    for line in (
        'dnnh_requests_total{method="GET",path="/search",status="200"} 1.0',
        'dnnh_requests_total{method="GET",path="/search",status="404"} 1.0',
        'dnnh_requests_total{method="POST",path="/search",status="400"} 1.0',
        'dnnh_requests_total{method="GET",path="/image/{row}",status="200"} 1.0',
        'dnnh_requests_total{method="other",path="other",status="404"} 1.0',
        'dnnh_requests_total{method="other",path="other",status="405"} 1.0',
        'dnnh_request_seconds_count{method="GET",path="/search"} 2.0',
        f"dnnh_index_images {COUNT}.0",
        f"dnnh_index_bits {BITS}.0",
        "dnnh_uploads_bytes 0.0",
    ):
        assert line in lines, line
    other = testing.TestClient(server.make_app(Fixed(Fake())))
    assert "dnnh_requests_total{" not in other.get("/metrics").text


def test_the_description_has_schemas_and_examples(client):
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            content = about["responses"]["200"]["content"]
            assert content, (method, path)
            for problem in about["responses"].keys() - {"200", "422"}:
                (schema,) = about["responses"][problem]["content"].values()
                assert schema["schema"]["$ref"].endswith("/Problem")
    for name in ("SearchResponse", "FoundImage", "IndexedImage", "Health", "Problem"):
        (example,) = schemas[name]["examples"]
        assert set(example) == set(schemas[name]["required"])
    body = document["paths"]["/search"]["post"]["requestBody"]["content"]
    assert body["image/*"]["schema"] == {"type": "string", "format": "binary"}
    radius = [p for p in document["paths"]["/search"]["get"]["parameters"] if p["name"] == "offset"]
    assert radius[0]["schema"]["maximum"] == limits.HITS


def test_hits_are_ordered_by_what_differs(client):
    """Bits of which the net is sure count more."""
    found = client.post("/search?top=30", content=png(7)).json()["hits"]
    costs = packed_codes.unpack(CODES ^ CODES[7], BITS) @ COSTS[0]
    assert [costs[hit["row"]] for hit in found] == sorted(costs)[:30]
    assert [hit["distance"] for hit in found] != sorted(hit["distance"] for hit in found)
    within = client.post(f"/search?top=30&radius={BITS}", content=png(7)).json()["hits"]
    assert within == found


@pytest.mark.parametrize(
    "path, content, status, message",
    [
        ("/search", b"", 400, "body is empty"),
        ("/search", b"x", 400, "is not a readable image"),
        ("/search", bytes(1001), 413, "has more than"),
        ("/search?top=0", b"x", 422, "greater than or equal to 1"),
        ("/search?top=501", b"x", 422, "less than or equal to 500"),
        ("/search?radius=13", b"x", 422, "less than or equal to 12"),
        ("/search?top=x", b"x", 422, "valid integer"),
        ("/search?row=1&rank=asymmetric", None, 422, "'hamming'"),
        ("/search?row=40", None, 404, "there is no image 40; there are 40, up to 39"),
        ("/search?row=-1", None, 422, "greater than or equal to 0"),
        (f"/search?row={10**30}", None, 422, "less than or equal to"),
        ("/search?row=x", None, 422, "valid integer"),
        ("/image/40", None, 404, "no image 40"),
        ("/image/3", None, 404, "is no longer there"),
        ("/random?count=0", None, 422, "greater than"),
        ("/nowhere", None, 404, "Not Found"),
        ("/static/../server.py", None, 404, "Not Found"),
    ],
)
def test_bad_requests(client, monkeypatch, path, content, status, message):
    monkeypatch.setattr(limits, "UPLOAD_BYTES", 1000)
    response = client.get(path) if content is None else client.post(path, content=content)
    assert response.status_code == status and message in response.text


def test_a_row_that_has_another_image_by_now(client):
    assert client.get("/search", params={"row": 7, "name": "<b>7.png"}).status_code == 200
    response = client.get("/search", params={"row": 7, "name": "old.png"})
    assert response.status_code == 404 and "image 7 is no longer old.png" in response.text


def test_while_an_index_is_opened_requests_get_the_one_before(tmp_path):
    path, opened, may_open = tmp_path / "c.h5", [], threading.Event()

    @contextlib.contextmanager
    def open_index():
        assert may_open.wait(60)
        opened.append(OpenedIndex(Fake(), Fake()))
        yield opened[-1]

    path.write_bytes(b"first")
    may_open.set()
    with ServedIndex(path, open_index) as served, futures.ThreadPoolExecutor() as pool:
        may_open.clear()
        (tmp_path / "new.h5").write_bytes(b"second")
        os.replace(tmp_path / "new.h5", path)
        opening = pool.submit(served.opened)
        while not served._opening.locked():
            time.sleep(0.001)
        assert served.opened() is opened[0]
        may_open.set()
        assert opening.result() is opened[1] and served.opened() is opened[1]


def test_codes_of_the_database_are_no_queries(client, monkeypatch):
    """Of a net with two sub-networks, as tools/search.py has it."""
    monkeypatch.setattr(server.configs, "has_two_towers", lambda net: True)
    response = client.get("/search?row=7")
    assert response.status_code == 400 and "has codes of the other one" in response.text
    assert client.post("/search", content=png(7)).status_code == 200


def test_a_radius_beyond_the_bits_is_refused_as_fastapi_does(client):
    detail = client.get("/search?row=7&radius=13").json()["detail"]
    expected = {
        "type": "less_than_equal",
        "loc": ["query", "radius"],
        "msg": "Input should be less than or equal to 12",
        "input": "13",
        "ctx": {"le": 12},
    }
    assert detail == [expected]
    assert client.get("/search?row=7&radius=12").status_code == 200


def test_a_form_is_refused_with_what_to_send(client):
    response = client.post("/search", files={"file": png(7)})
    assert response.status_code == 415 and "--data-binary" in response.text


def test_an_engine_that_is_gone(monkeypatch):
    fake = Fake()

    def search(codes, k):
        raise ConnectionError("Milvus at http://host:19530: no answer")

    monkeypatch.setattr(fake.engine, "search", search)
    response = testing.TestClient(server.make_app(Fixed(fake))).get("/search?row=7")
    assert response.status_code == 503
    assert response.json()["detail"] == "Milvus at http://host:19530: no answer"


def test_only_requests_for_this_machine_are_answered():
    """Another site can let its own name resolve to this machine (DNS rebinding)."""
    app = server.make_app(Fixed(Fake()), server.LOCAL)
    for host, status in (
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8000", 421),
        ("", 421),
        ("[::1", 421),
    ):
        response = testing.TestClient(app).get("/health", headers={"Host": host})
        assert response.status_code == status, host
        assert "content-security-policy" in response.headers
    assert "this page is at localhost" in response.json()["detail"]


def test_small_copies_of_images(client):
    for row, size in ((4, (192, 48)), (5, (192, 192))):
        response = client.get(f"/image/{row}")
        assert response.headers["content-type"] == "image/png"
        # The next index that is served here has other images under these numbers.
        assert response.headers["cache-control"] == "no-store"
        assert Image.open(io.BytesIO(response.content)).size == size


def test_some_images(client):
    images = client.get("/random?count=6").json()
    assert len({image["row"] for image in images}) == 6
    assert images == client.get("/random?count=6").json()
    assert images != client.get("/random?count=6&seed=1").json()
    assert len(client.get("/random?count=100").json()) == COUNT


def test_no_page_makes_outbound_requests(client):
    for path in ("/", "/docs", "/static/style.css", "/static/app.js", "/openapi.json"):
        response = client.get(path)
        assert response.status_code == 200
        assert "http://" not in response.text and "https://" not in response.text
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert response.headers["cross-origin-resource-policy"] == "same-origin"
    page = client.get("/docs").text
    assert "--data-binary @query.jpg testserver/search" in page
    assert "GET /search" in page and "top: how many images at most (default: 20)" in page
    assert "<style" not in page  # which the policy forbids
    assert f'max="{limits.HITS}"' in client.get("/").text  # as far as "More" goes
    assert client.get("/health").json() == {"status": "ok", "images": COUNT, "bits": BITS}


def test_what_is_asked_for_its_headers_alone(client):
    for path in ("/", "/health"):
        response = client.head(path)
        assert response.status_code == 200 and not response.content
    assert "head" not in client.get("/openapi.json").json()["paths"]["/health"]


def test_several_requests_at_once_get_their_own_results(client):
    wrong = []

    def request(row):
        for _ in range(5):
            results = client.post("/search?top=1", content=png(row)).json()
            expected = "".join(map(str, packed_codes.unpack(CODES[row : row + 1], BITS)[0]))
            if results["bits"] != expected:
                wrong.append(row)

    threads = [threading.Thread(target=request, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
