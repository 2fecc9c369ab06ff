"""Coding and searching on Spark give what one machine gives; skipped without Java."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import sys
import threading

import numpy as np
import pytest

from dnnh import collection, parquet, ranking, search, spark
from dnnh.errors import UserError
from test_collection import SPEC, photos, run, weights   # noqa: F401: fixtures

pytest.importorskip("pyspark")
pytestmark = pytest.mark.skipif(not shutil.which("java"), reason="Spark needs Java")

# Two machines of one core and 1 GB: processes of their own.
MASTER = "local-cluster[2,1,1024]"


@pytest.fixture(scope="module")
def session():
    with spark.session(MASTER) as opened:
        yield opened


def same(one, other):
    """Whether two collections have the same images with the same codes."""
    return np.array_equal(one.codes, other.codes) and all(
        a(slice(None)) == b(slice(None)) for a, b in ((one.names, other.names),
                                                      (one.labels, other.labels)))


def test_codes_are_those_of_one_machine(photos, tmp_path, run, weights, session):
    run.encode(photos, tmp_path / "c.h5")
    assert spark.encode(session, photos, SPEC, weights, tmp_path / "c") == (37, 2)
    here, there = collection.load(tmp_path / "c.h5"), collection.load(tmp_path / "c")
    assert same(here, there) and len(there.codes) == 37
    assert (there.bits, there.dataset, there.variant, there.weights, there.source,
            there.left_out) == (12, "digits", "", here.weights, here.source, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "c", "c.h5", "c.h5.left_out.txt", "photos"]
    refused = session.read.parquet(str(tmp_path / "c/images")).where("left_out IS NOT NULL")
    assert {row["name"] for row in refused.collect()} == {"broken.jpg", "class1/zero.png"}
    assert all("is not a readable image" in row["left_out"] for row in refused.collect())


def test_a_table_and_a_database(photos, tmp_path, weights, session, run):
    names = [f"class{i % 3}/{i:02}.png" for i in range(37)][::-1]
    (photos / "t.csv").write_text("".join(f"{name},a,b\n" for name in names))
    run.encode(photos / "t.csv", tmp_path / "c.h5")
    spark.encode(session, photos / "t.csv", SPEC, weights, tmp_path / "c")
    assert same(collection.load(tmp_path / "c.h5"), collection.load(tmp_path / "c"))
    assert collection.load(tmp_path / "c").names([0, 36]) == [names[0], names[36]]
    import lmdb
    from caffe.proto.caffe_pb2 import Datum
    with lmdb.open(str(tmp_path / "images_lmdb")) as database:
        with database.begin(write=True) as transaction:
            for i, name in enumerate(names):
                transaction.put(f"{i:08}".encode(), Datum(
                    data=(photos / name).read_bytes(), encoded=True, label=i % 3
                ).SerializeToString())
    run.encode(tmp_path / "images_lmdb", tmp_path / "d.h5")
    spark.encode(session, tmp_path / "images_lmdb", SPEC, weights, tmp_path / "d")
    assert same(collection.load(tmp_path / "d.h5"), collection.load(tmp_path / "d"))


def executors(session):
    """The processes on whose behalf workers code."""
    found, application = [], session.sparkContext.applicationId.encode()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            if b"CoarseGrainedExecutorBackend" in words and application in words:
                found.append(int(process.name))
        except OSError:
            pass
    return found


def test_a_killed_executor_costs_no_row(photos, tmp_path, run, weights, session):
    for copy in range(40):
        shutil.copytree(photos / "class0", photos / f"copy{copy:02}")
    run.encode(photos, tmp_path / "c.h5")
    before, killed, done = executors(session), [], threading.Event()

    def kill():
        tracker = session.sparkContext.statusTracker()
        while not done.wait(0.005):
            for stage in tracker.getActiveStageIds():
                about = tracker.getStageInfo(stage)
                # In the middle of coding: some parts are done, others begun.
                if about and about.numTasks > 4 and about.numCompletedTasks > 1:
                    os.kill(before[0], signal.SIGKILL)
                    killed.append(before[0])
                    return

    assert len(before) == 2
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        spark.encode(session, photos, SPEC, weights, tmp_path / "c")
    finally:
        done.set()
    assert killed and killed[0] not in executors(session)
    assert same(collection.load(tmp_path / "c.h5"), collection.load(tmp_path / "c"))


@pytest.mark.parametrize("bits", [12, 48, 100])
def test_search_is_that_of_one_machine(tmp_path, session, bits):
    rng = np.random.default_rng(0)
    codes = ranking.pack(rng.integers(0, 2, (500, bits)) & rng.integers(0, 2, (500, bits)))
    columns = parquet.words(codes)
    rows = [(i, *map(int, words)) for i, words in enumerate(columns)]
    table = session.createDataFrame(rows, ["row", *parquet.word_names(bits)])
    assert np.array_equal(parquet.packed(columns, bits), codes)
    index, exact = spark.Index(table, bits, len(codes)), search.Index(bits)
    exact.add(codes)
    for top in (1, 10, 600):
        for ours, theirs in zip(index.search(codes[:7], top), exact.search(codes[:7], top)):
            assert np.array_equal(ours, theirs)
    for ours, theirs in zip(index.within(codes[3], bits // 4),
                            exact.within(codes[3], bits // 4)):
        assert np.array_equal(ours, theirs)
    far = np.full_like(codes[0], 0)
    assert [found.shape for found in index.within(far, 0)] == [
        found.shape for found in exact.within(far, 0)]


@pytest.fixture
def one_session(session, monkeypatch):
    """Tools that ask for a session get that of these tests; gives the masters asked for."""
    asked = []

    @contextlib.contextmanager
    def given(master):
        asked.append(master)
        yield session

    monkeypatch.setattr(spark, "session", given)
    return asked


def test_the_tools(photos, tmp_path, run, weights, one_session):
    """The same answers from either collection by any engine."""
    run.encode(photos, tmp_path / "c.h5")
    run.encode(photos, tmp_path / "c", "--engine", "spark", "--master", MASTER)
    asked = ["--image", photos / "class1/16.png", "--top", 4, "--json", "-"]
    answers = [run("search", "--codes", tmp_path / "c.h5", *asked),
               run("search", "--codes", tmp_path / "c", *asked),
               run("search", "--codes", tmp_path / "c", *asked, "--engine", "spark",
                   "--master", "local[2]")]
    assert len(set(answers)) == 1 and '"distance": 0' in answers[0]
    many = ["--queries", tmp_path / "c.h5", "--top", 2]
    answers = [run("search", "--codes", tmp_path / "c.h5", *many),
               run("search", "--codes", tmp_path / "c", *many, "--engine", "spark")]
    assert len(set(answers)) == 1 and answers[0].count("\n") == 3 * 37
    assert one_session == [MASTER, "local[2]", spark.MASTER]
    lost = next((tmp_path / "c/images").glob("part-*.parquet"))
    lost.unlink()
    with pytest.raises(UserError, match=r"c has \d+ codes and should have 37; make it again"):
        run("search", "--codes", tmp_path / "c", *asked, "--engine", "spark")
    with pytest.raises(UserError, match=r"c is a damaged collection .*should have 37 of int64"):
        run("search", "--codes", tmp_path / "c", *asked)
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="none has no image that can be read"):
        run.encode(tmp_path / "none", tmp_path / "d", "--engine", "spark")
    assert not (tmp_path / "d").exists()


def test_what_workers_do_not_have(photos, tmp_path, weights, session):
    job = spark.Job("digits", "", 12, str(weights), "other", str(photos))
    with pytest.raises(UserError, match="net.caffemodel is another file on "):
        spark._net(job)
    with pytest.raises(UserError, match="has no .*nowhere; all machines need the same images"):
        spark._net(dataclasses.replace(job, source=str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match="this process has a session of Spark's already"):
        with spark.session("local[2]"):
            pass


@pytest.mark.parametrize("module", ["pyspark.sql", "pandas", "pyarrow"])
def test_it_is_asked_for_by_name(monkeypatch, tmp_path, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=r"pip install -e .\[spark\]"):
        with spark.session("local[2]"):
            pass


def test_parquet_is_asked_for_by_name(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install -e .\[spark\]"):
        parquet.load(tmp_path)


def test_what_the_tools_refuse(photos, tmp_path, run, weights):
    run.encode(photos, tmp_path / "c.h5")
    asked = ["--image", photos / "class1/16.png", "--top", 4]
    with pytest.raises(UserError, match="c.h5 is not a collection of codes as Parquet"):
        parquet.described(tmp_path / "c.h5")
    with pytest.raises(UserError, match="nobody answers at spark://localhost:1 .*refused"):
        spark._check_reachable("spark://localhost:1")
    with pytest.raises(UserError, match="--master is for the engine 'spark'"):
        run("search", "--codes", tmp_path / "c.h5", *asked, "--master", "local[2]")
    with pytest.raises(UserError, match="--master is for --engine spark"):
        run.encode(photos, tmp_path / "d.h5", "--master", "local[2]")
