"""Mutated files for each reader: they are read, or refused in one sentence. `make fuzz` has more."""

import os
import resource
import signal
import sys
import time

import pytest

import fuzz_harness
from dnnh.errors import UserError

import readers

INPUTS, SECONDS = 150, 2  # for each reader, whichever comes first
NEEDS = {"index_parquet": "pyarrow", "engines": "faiss"}


@pytest.mark.parametrize("name", readers.READERS)
def test_mutated_files_are_read_or_refused(name):
    pytest.importorskip(NEEDS.get(name, "dnnh"))
    if readers.READERS[name].read is None and not fuzz_harness.CAFFE.exists():
        pytest.skip("the program caffe is not built")
    report = fuzz_harness.fuzz(name, SECONDS, seed=0, most=INPUTS)
    problems = [
        f"{target}, mutation {mutation}: {verdict.kind}: {verdict.what}\n{verdict.message}"
        for target, _, mutation, verdict in report.findings
    ]
    assert not problems, "\n".join(problems)
    assert report.counts["read"] and sum(report.counts.values()) > 1


def judged(tmp_path, read):
    """What the harness says of a reader."""
    reader = readers.Reader(lambda folder: None, ("a",), read)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").touch()
    with fuzz_harness.Worker(reader) as worker:
        target = fuzz_harness.Target("x", "x", "a")
        return worker.read(tmp_path / "folder", target, tmp_path)


def raises(error):
    def read(folder, path):
        raise error

    return read


@pytest.mark.parametrize(
    "read, kind, what",
    [
        (lambda folder, path: None, "read", ""),
        (lambda folder, path: raises(UserError(f"{path} is bad"))(0, 0), "refused", "UserError"),
        (raises(UserError("it is bad")), "message", "names no file"),
        (raises(UserError("")), "message", "not one line"),
        (raises(KeyError("a")), "exception", "KeyError"),
        (lambda folder, path: print("x", file=sys.stderr), "stderr", "x"),
        (lambda folder, path: os.write(2, b"from C\n"), "stderr", "from C"),
        (lambda folder, path: os.kill(os.getpid(), signal.SIGSEGV), "crash", "SIGSEGV"),
        (lambda folder, path: os._exit(3), "crash", "exit status 3"),
        (lambda folder, path: bytearray(1 << 36), "memory", "MemoryError"),
        (lambda folder, path: len(bytearray(b"x") * (3 << 29)), "memory", "takes 15"),
    ],
)
def test_the_harness_finds(tmp_path, read, kind, what):
    verdict = judged(tmp_path, read)
    assert (verdict.kind, what in verdict.what) == (kind, True), verdict
    assert verdict.is_finding == (kind not in ("read", "refused"))


@pytest.mark.parametrize(
    "read, waiting, what",
    [
        (lambda folder, path: [None for _ in iter(int, 1)], 60, "takes more than 1 s"),
        (lambda folder, path: time.sleep(60), 1, "waits for more than 1 s"),
    ],
)
def test_the_harness_does_not_hang(tmp_path, monkeypatch, read, waiting, what):
    monkeypatch.setattr(fuzz_harness, "SECONDS", 1)
    monkeypatch.setattr(fuzz_harness, "WAITING_SECONDS", waiting)
    verdict = judged(tmp_path, read)
    assert (verdict.kind, verdict.what) == ("hang", what)


@pytest.mark.parametrize("may_change, left", [("", ["leaves ['new.partial']"]), ("new*", [])])
def test_the_harness_sees_what_is_left_behind(may_change, left):
    def write_seeds(folder):
        (folder / "seed").mkdir(parents=True)
        (folder / "seed/a").write_bytes(b"x")

    readers.READERS["x"] = readers.Reader(
        write_seeds,
        ("a",),
        lambda folder, path: (folder / "new.partial").touch(),
        may_change=may_change,
    )
    try:
        report = fuzz_harness.fuzz("x", 5, seed=0, most=1)
    finally:
        del readers.READERS["x"]
    assert [verdict.what for *_, verdict in report.findings] == left


def test_mutations_follow_from_the_seed():
    corpus = fuzz_harness.Corpus("tables")
    target = corpus.targets[0]
    mutated = [corpus.mutated(target, str(number)) for number in range(50)]
    assert mutated == [corpus.mutated(target, str(number)) for number in range(50)]
    assert len(set(mutated)) > 40


def test_the_limits_are_those_of_the_worker_alone():
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
