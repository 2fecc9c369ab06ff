"""The page's requests, asked as a browser asks them."""

import io
import threading
import types

import numpy as np
import pytest
from PIL import Image

from dnnh import ranking, search, server
from dnnh.datasets import trees
from dnnh.errors import UserError
from dnnh.finder import Finder, Hit

testing = pytest.importorskip("fastapi.testclient")
COUNT, BITS = 40, 12
RNG = np.random.default_rng(0)
CODES = ranking.pack(RNG.integers(0, 2, (COUNT, BITS)))


def png(value=7, size=(30, 20)):
    file = io.BytesIO()
    Image.new("RGB", size, (value, 0, 0)).save(file, "PNG")
    return file.getvalue()


class Fake(Finder):
    """Finds, and codes an image by its first pixel: as the image of that row."""

    def __init__(self):
        self.collection = types.SimpleNamespace(
            codes=CODES, bits=BITS,
            names=lambda rows: [f"<b>{row}.png" for row in np.atleast_1d(rows)],
            labels=lambda rows: [("even" if row % 2 == 0 else "odd",)
                                 for row in np.atleast_1d(rows)])
        self.index = search.Index(BITS)
        self.index.add(CODES)

    def code(self, image):
        return CODES[image[0, 0, :1]]

    def image(self, name):
        if name == "<b>3.png":
            raise UserError("it is gone")
        return np.full((100, 400, 3) if name == "<b>4.png" else (8, 8, 3), 7, np.uint8)


@pytest.fixture
def client():
    return testing.TestClient(server.make_app(Fake(), Fake()))


def test_an_image_is_answered_with_what_is_like_it(client):
    found = client.post("/search?top=5", content=png(7)).json()
    assert found["bits"] == "".join(map(str, ranking.unpack(CODES[7:8], BITS)[0]))
    distances, rows = (f[0].tolist() for f in Fake().index.search(CODES[7:8], 5))
    assert [hit["row"] for hit in found["hits"]] == rows and 7 in rows
    assert [hit["distance"] for hit in found["hits"]] == distances
    assert found["hits"][0]["labels"] == ["odd" if rows[0] % 2 else "even"]
    assert set(found["milliseconds"]) == {"code", "search"}
    assert client.get("/like/7?top=5").json()["hits"] == found["hits"]
    near = client.get(f"/like/7?top=500&radius={BITS // 3}").json()["hits"]
    assert 0 < len(near) < COUNT
    assert max(hit["distance"] for hit in near) <= BITS // 3
    assert len(client.get("/like/7?top=500").json()["hits"]) == COUNT


@pytest.mark.parametrize("path, content, status, message", [
    ("/search", b"", 400, "body is empty"), ("/search", b"x", 400, "is not a readable image"),
    ("/search", bytes(1001), 413, "has more than"),
    ("/search?top=0", b"x", 422, "greater than or equal to 1"),
    ("/search?top=501", b"x", 422, "less than or equal to 500"),
    ("/search?radius=13", b"x", 422, "less than or equal to 12"),
    ("/search?top=x", b"x", 422, "valid integer"),
    ("/like/40", None, 404, "there is no image 40; there are 40, from 0 on"),
    ("/like/-1", None, 404, "no image -1"), ("/like/x", None, 422, "valid integer"),
    ("/image/40", None, 404, "no image 40"), ("/image/3", None, 404, "is no longer there"),
    ("/some?count=0", None, 422, "greater than"), ("/nowhere", None, 404, "Not Found"),
    ("/static/../server.py", None, 404, "Not Found")])
def test_what_is_refused(client, monkeypatch, path, content, status, message):
    monkeypatch.setattr(server, "MAX_UPLOAD", 1000)
    answer = client.get(path) if content is None else client.post(path, content=content)
    assert answer.status_code == status and message in answer.text


def test_a_form_is_told_what_to_send(client):
    answer = client.post("/search", files={"file": png(7)})
    assert answer.status_code == 415 and "--data-binary" in answer.text


def test_an_engine_that_is_gone(monkeypatch):
    finder = Fake()
    def search(codes, top):
        raise ConnectionError("Milvus at http://host:19530: no answer")
    monkeypatch.setattr(finder.index, "search", search)
    answer = testing.TestClient(server.make_app(finder, finder)).get("/like/7")
    assert (answer.status_code, answer.json()["detail"]) == (
        503, "Milvus at http://host:19530: no answer")


def test_only_who_asks_for_this_machine_is_answered():
    """A page of somebody else's can have its own name lead to this machine."""
    app = server.make_app(Fake(), Fake(), server.LOCAL)
    for host, status in (("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:8000", 200),
                         ("evil.example", 421), ("127.0.0.1.evil.example:8000", 421),
                         ("", 421), ("[::1", 421)):
        answer = testing.TestClient(app).get("/health", headers={"Host": host})
        assert answer.status_code == status, host
    assert "this page is at localhost" in answer.json()["detail"]


def test_small_copies_of_images(client):
    for row, size in ((4, (192, 48)), (5, (192, 192))):
        answer = client.get(f"/image/{row}")
        assert answer.headers["content-type"] == "image/png"
        # The next collection that is served here has other images under these numbers.
        assert answer.headers["cache-control"] == "no-store"
        assert Image.open(io.BytesIO(answer.content)).size == size


def test_some_images(client):
    images = client.get("/some?count=6").json()
    assert len({image["row"] for image in images}) == 6
    assert images == client.get("/some?count=6").json()
    assert images != client.get("/some?count=6&seed=1").json()
    assert len(client.get("/some?count=100").json()) == COUNT


def test_nothing_comes_from_elsewhere(client):
    for path in ("/", "/docs", "/static/style.css", "/static/app.js", "/openapi.json"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "http://" not in answer.text and "https://" not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
    assert "/like/{row}" in client.get("/docs").text
    assert client.get("/health").json() == {"status": "ok", "images": COUNT, "bits": BITS}


def test_several_at_once_get_their_own_answers(client):
    wrong = []

    def ask(row):
        for _ in range(5):
            found = client.post("/search?top=1", content=png(row)).json()
            wanted = "".join(map(str, ranking.unpack(CODES[row:row + 1], BITS)[0]))
            if found["bits"] != wanted:
                wrong.append(row)

    threads = [threading.Thread(target=ask, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
