"""Downloads from a server on loopback: whole, resumed, cut, wrong."""

import functools
import hashlib
import http.server
import shutil
import threading

import pytest

from dnnh import paths
from dnnh.data import download
from dnnh.errors import UserError

CONTENT = bytes(range(256)) * 4000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``content``, with ranges if told so, cut after ``cut`` bytes if told."""

    def __init__(self, server_state, *arguments):
        self.state = server_state
        super().__init__(*arguments)

    def do_GET(self):
        content, first = self.state["content"], 0
        asked = self.headers.get("Range")
        self.state["ranges"].append(asked)
        if content is None:
            self.send_error(404)
            return
        if asked and self.state["resumable"]:
            first = int(asked.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        self.wfile.write(content[first : self.state["cut"]])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(home, monkeypatch):
    state = {"content": CONTENT, "resumable": True, "cut": None, "ranges": []}
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, state)
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/archive.tar.gz"
        monkeypatch.setitem(
            download.ARCHIVES,
            "cifar10",
            (download.Archive(url, hashlib.md5(CONTENT).hexdigest(), len(CONTENT)),),
        )
        yield state
        server.shutdown()


def left():
    return sorted(p.name for p in paths.DATA.iterdir())


def test_whole(server):
    path = download.fetch("cifar10")
    assert path.read_bytes() == CONTENT
    assert left() == ["archive.tar.gz"]
    download.fetch("cifar10")
    assert len(server["ranges"]) == 1  # what is whole is not fetched again


def test_several_files(server, monkeypatch):
    (archive,) = download.ARCHIVES["cifar10"]
    other = archive.url.replace("archive", "other")
    monkeypatch.setitem(
        download.ARCHIVES, "mnist", (archive, download.Archive(other, archive.md5, archive.size))
    )
    folder = download.fetch("mnist")
    assert folder == paths.DATA / "mnist"
    assert sorted(path.name for path in folder.iterdir()) == ["archive.tar.gz", "other.tar.gz"]
    (folder / "other.tar.gz").unlink()
    download.fetch("mnist", archive.url.rsplit("/", 1)[0])
    assert len(server["ranges"]) == 3


@pytest.mark.parametrize("resumable", [True, False])
def test_cut_then_resumed(server, resumable):
    server.update(cut=300_000, resumable=resumable)
    with pytest.raises(UserError, match="300,000 of 1,024,000 bytes.*run the same"):
        download.fetch("cifar10")
    assert left() == ["archive.tar.gz.partial"]
    server["cut"] = None
    assert download.fetch("cifar10").read_bytes() == CONTENT
    assert server["ranges"] == [None, "bytes=300000-"]
    assert left() == ["archive.tar.gz"]


def test_wrong_content_is_deleted(server):
    server["content"] = CONTENT[:-1] + b"x"
    with pytest.raises(UserError, match="md5.*it was deleted"):
        download.fetch("cifar10")
    assert left() == []


@pytest.mark.parametrize("content", [CONTENT + b"x", b"<html>Please log in</html>"])
def test_another_size_is_not_fetched(server, content):
    server["content"] = content
    with pytest.raises(
        UserError, match=f"has {len(content):,} bytes, the archive 1,024,000; it was not fetched"
    ):
        download.fetch("cifar10")
    assert left() == []


def test_no_such_file(server):
    server["content"] = None
    with pytest.raises(UserError, match="404.*get_data.py cifar10 --from"):
        download.fetch("cifar10")


def test_no_server(home):
    with pytest.raises(UserError, match="could not be fetched"):
        download.fetch("cifar10", "http://127.0.0.1:9/archive.tar.gz")


def test_no_room(server, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("usage", (), {"free": 10}))
    with pytest.raises(UserError, match="needs about 1.02 MB and the disk has 10 bytes free"):
        download.fetch("cifar10")
