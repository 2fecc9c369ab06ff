"""The server with clients that are many, slow, gone, or send what takes memory."""

import concurrent.futures
import contextlib
import http.client
import io
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

import h5py
import pytest
import test_server
from PIL import Image

from dnnh import limits
from dnnh.paths import ROOT

server = pytest.importorskip("dnnh.retrieval.server")
web_server = pytest.importorskip("dnnh.retrieval.web_server")


@contextlib.contextmanager
def running(index):
    """A server in a thread of this process; yields its port."""
    listener = web_server.listen("127.0.0.1", 0)
    started = web_server.make_server(server.make_app(index))
    thread = threading.Thread(target=started.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        started.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def port():
    with running(test_server.Fixed(test_server.Fake())) as port:
        yield port


def request(port, method, path, body=None, timeout=30):
    """The status and the JSON of a response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    with contextlib.closing(connection):
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def large_png(side):
    """A PNG file of one color, side x side: a thousand times smaller than its pixels."""
    file = io.BytesIO()
    Image.new("P", (side, side)).save(file, "PNG", compress_level=9)
    return file.getvalue()


# --- clients that are slow ----------------------------------------------------------------


def is_closed_within(connection, seconds):
    connection.settimeout(seconds)
    start = time.monotonic()
    while connection.recv(10_000):
        pass
    return time.monotonic() - start < seconds


def test_a_slow_upload_is_answered(port, monkeypatch):
    monkeypatch.setattr(limits, "UPLOAD_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        connection.settimeout(10)
        answer = connection.recv(10_000)
        assert b"408 Request Timeout" in answer and b"connection: close" in answer.lower()
        assert is_closed_within(connection, 10)


@pytest.mark.parametrize(
    "start",
    [b"", b"GET /health HTTP/1.1\r\nHo", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /health HT"],
)
def test_a_request_that_never_ends_is_cut_off(monkeypatch, start):
    monkeypatch.setattr(limits, "REQUEST_SECONDS", 0.5)
    with (
        running(test_server.Fixed(test_server.Fake())) as port,
        socket.create_connection(("127.0.0.1", port)) as connection,
    ):
        connection.sendall(start)
        with contextlib.suppress(ConnectionResetError):
            assert is_closed_within(connection, 10)


def test_uploads_that_are_given_up_are_forgotten(port, monkeypatch, capfd):
    monkeypatch.setattr(limits, "UPLOADS_BYTES", 5000)
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n" + bytes(4000)
            )
            time.sleep(0.05)
    end = time.monotonic() + 10  # until the last one is noticed to be gone
    while request(port, "POST", "/search?top=1", test_server.png(7))[0] != 200:
        assert time.monotonic() < end
    assert capfd.readouterr().err == ""  # no traceback


def test_bytes_that_wait_are_bounded(port, monkeypatch):
    monkeypatch.setattr(limits, "UPLOADS_BYTES", 5000)
    head = b"POST /search HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as first:
        first.sendall(head + bytes(4000))
        end = time.monotonic() + 10  # until the first one is read
        while (answer := request(port, "POST", "/search", bytes(3000)))[0] == 400:
            assert time.monotonic() < end
        status, content = answer
        assert (status, content["detail"]) == (503, "too many images are being sent; try again")


# --- images that take memory --------------------------------------------------------------


class Slow(test_server.Fake):
    """Counts how many images are encoded at once."""

    def __init__(self):
        super().__init__()
        self.now, self.most = 0, 0

    def encode(self, image):
        self.now += 1
        self.most = max(self.most, self.now)
        time.sleep(0.05)
        self.now -= 1
        return super().encode(image)


def test_few_images_are_decoded_at_once():
    slow = Slow()
    with (
        running(test_server.Fixed(slow)) as port,
        concurrent.futures.ThreadPoolExecutor(30) as pool,
    ):
        images = [test_server.png(row % 40) for row in range(60)]
        answers = list(pool.map(lambda png: request(port, "POST", "/search?top=1", png), images))
        assert [status for status, _ in answers] == [200] * 60
        expected = test_server.packed_codes.unpack(test_server.CODES, test_server.BITS)
        for row, (_, answer) in enumerate(answers):
            assert answer["bits"] == "".join(map(str, expected[row % 40]))
    assert 1 <= slow.most <= limits.DECODED_AT_ONCE


def test_whoever_waits_long_is_told(monkeypatch):
    monkeypatch.setattr(limits, "WAIT_SECONDS", 0.2)
    slow = Slow()
    query = test_server.EncodedQuery(test_server.CODES[:1], test_server.COSTS)
    monkeypatch.setattr(slow, "encode", lambda image: time.sleep(1) or query)
    with (
        running(test_server.Fixed(slow)) as port,
        concurrent.futures.ThreadPoolExecutor(6) as pool,
    ):
        answers = list(
            pool.map(lambda _: request(port, "POST", "/search", test_server.png()), range(6))
        )
    statuses = sorted(status for status, _ in answers)
    assert statuses[:2] == [200, 200] and statuses[-1] == 503


def memory_of(process):
    """Megabytes of a process: now, and at its peak."""
    status = pathlib.Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return tuple(int(fields[name].split()[0]) / 1000 for name in ("VmRSS", "VmHWM"))


@pytest.fixture
def process(photos, run, weights, tmp_path):
    """tools/serve.py as a user starts it; yields the process, its port and its index."""
    index = tmp_path / "c.h5"
    run.encode(photos, index)
    command = [sys.executable, ROOT / "tools/serve.py", "--index", index, "--model", weights]
    process = subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    port = int(process.stdout.readline().rsplit(":", 1)[1])
    yield process, port, index
    process.kill()
    process.communicate()


def test_images_that_are_a_thousand_times_larger_than_their_files(process):
    """40 uploads took 13.5 GB, and /health 43 s."""
    started, port, _ = process
    side = 4000 if not os.environ.get("DNNH_LONG_TESTS") else 7000
    before, _ = memory_of(started.pid)
    png = large_png(side)
    assert len(png) < 100_000
    slowest = 0.0
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        uploads = [pool.submit(request, port, "POST", "/search", png, 120) for _ in range(40)]
        while not all(upload.done() for upload in uploads):
            start = time.monotonic()
            assert request(port, "GET", "/health")[0] == 200
            slowest = max(slowest, time.monotonic() - start)
            time.sleep(0.05)
    statuses = {upload.result()[0] for upload in uploads}
    assert 200 in statuses and statuses <= {200, 503}
    after, peak = memory_of(started.pid)
    decoded = 12 * side * side / 1e6  # megabytes, see limits.IMAGE_PIXELS
    assert peak - before < limits.DECODED_AT_ONCE * decoded + 200
    assert after - before < 200
    assert slowest < 20  # it was 43 s


def test_ctrl_c_ends_it_whatever_is_open(process):
    started, port, _ = process
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        time.sleep(0.3)
        started.send_signal(signal.SIGINT)
        _, errors = started.communicate(timeout=limits.SHUTDOWN_SECONDS + 10)
    assert started.returncode == 0 and errors == ""


# --- an index that is replaced --------------------------------------------------------------


def test_a_replaced_index_is_served(process, photos, run):
    started, port, index = process
    assert request(port, "GET", "/health")[1]["images"] == 37
    (photos / "class1/01.png").unlink()
    run.encode(photos, index, "--force")
    assert request(port, "GET", "/health")[1]["images"] == 36
    # Written to in place, as cp does: neither the old index nor a part of a new one.
    whole = index.read_bytes()
    with index.open("r+b") as file:
        file.truncate(len(whole) // 2)
    for path in ("/health", "/random", "/search?row=3"):
        status, answer = request(port, "GET", path)
        assert status == 503 and "the index is being replaced, try again: " in answer["detail"]
    index.write_bytes(whole)
    assert request(port, "GET", "/health")[1]["images"] == 36
    index.unlink()  # it stays open
    assert len(request(port, "GET", "/search?row=3&top=5")[1]["hits"]) == 5
    assert started.poll() is None


def test_an_index_that_changes_between_two_reads(process):
    """Names are read from the file: codes of one index never come with names of another."""
    _, port, index = process
    first = index.read_bytes()
    copy = index.with_name("copy.h5")
    copy.write_bytes(first)
    with h5py.File(copy, "r+") as file:  # the second has other names
        names = file["names"].asstr()[:]
        file["names"][:] = [f"other/{name}" for name in names]
    second = copy.read_bytes()
    wrong, answered, stop = [], {"one": 0, "other": 0}, threading.Event()

    def ask():
        while not stop.is_set():
            status, answer = request(port, "GET", "/search?row=3&top=37")
            if status not in (200, 503):
                wrong.append(answer)
            if status == 200:
                other = {hit["name"].startswith("other/") for hit in answer["hits"]}
                if len(other) > 1:
                    wrong.append(answer)
                answered["other" if other == {True} else "one"] += 1

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    # For 40 times, and on a busy machine until there were answers from both.
    end = time.monotonic() + 60
    for i in itertools.count():
        if time.monotonic() > end or (i >= 40 and all(answered.values())):
            break
        index.with_name("new.h5").write_bytes(first if i % 2 else second)
        os.replace(index.with_name("new.h5"), index)
        time.sleep(0.02 * (1 + i // 40))
    stop.set()
    for thread in asking:
        thread.join()
    assert not wrong
    assert all(answered.values()), answered


# --- requests of every kind -----------------------------------------------------------------


def test_requests_without_growth(process):
    """10,000 requests with DNNH_LONG_TESTS=1; 1,000 else."""
    started, port, _ = process
    count = 10_000 if os.environ.get("DNNH_LONG_TESTS") else 1000
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    png = test_server.png(7, (1000, 1000))  # 3 MB decoded: what is kept would show
    halfway = 0.0
    for i in range(count):
        method, path, body = (
            ("GET", f"/search?row={i % 37}&top=3", None),
            ("POST", "/search?top=3", png),
            ("GET", f"/image/{i % 37}", None),
            ("GET", f"/random?count=3&seed={i}", None),
        )[i % 4]
        connection.request(method, path, body)
        response = connection.getresponse()
        content = response.read()
        assert response.status == 200, content
        if path.startswith("/search?row"):
            assert json.loads(content)["hits"][0]["distance"] == 0
        if i == count // 2:
            halfway, _ = memory_of(started.pid)
    now, _ = memory_of(started.pid)
    assert now - halfway < 30


def test_every_request_of_the_openapi_document(port):
    """schemathesis makes requests of it, valid and not; no answer is a 500."""
    schemathesis = pytest.importorskip("schemathesis")
    hypothesis = pytest.importorskip("hypothesis")
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{port}/openapi.json")
    tried = set()

    def check(operation):
        @hypothesis.settings(
            max_examples=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy())
        def answers(case):
            response = case.call()
            assert response.status_code < 500, response.text
            case.validate_response(
                response,
                checks=[
                    schemathesis.checks.response_schema_conformance,
                    schemathesis.checks.status_code_conformance,
                    schemathesis.checks.content_type_conformance,
                ],
            )
            tried.add(operation.label)

        answers()

    for operation in schema.get_all_operations():
        check(operation.ok())
    assert tried == {
        "GET /health",
        "GET /image/{row}",
        "GET /metrics",
        "GET /search",
        "GET /random",
        "POST /search",
    } | {"GET /docs"}
