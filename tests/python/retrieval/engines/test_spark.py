"""Encoding and searching on Spark give what one machine gives; skipped without Java."""

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
from PIL import Image

from dnnh import packed_codes
from dnnh.data import datasets
from dnnh.errors import UserError
from dnnh.nets import prototxt, specs
from dnnh.retrieval import index_files, parquet, spark_encoding, spark_session
from dnnh.retrieval.engines import spark
from dnnh.retrieval.engines.numpy_engine import NumpyEngine
from dnnh.retrieval.engines.spark import RowNumbers, SparkEngine
from dnnh.retrieval.spark_encoding import Counts

pytest.importorskip("pyspark")
pytestmark = pytest.mark.skipif(not shutil.which("java"), reason="Spark needs Java")

# Two machines of one core and 1 GB: processes of their own.
MASTER = "local-cluster[2,1,1024]"
SPEC = specs.net_spec("digits", bits=12)


@pytest.fixture(scope="module")
def session():
    with spark_session.session(MASTER) as opened:
        yield opened


def digit(path, i):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(datasets.load("digits").images[i, :, :, 0]).save(path)


def same(one, other):
    """Whether two indexes have the same images with the same codes."""
    return np.array_equal(one.codes, other.codes) and all(
        a(slice(None)) == b(slice(None))
        for a, b in ((one.names, other.names), (one.labels, other.labels))
    )


def test_codes_are_those_of_one_machine(photos, tmp_path, run, weights, session):
    run.encode(photos, tmp_path / "c.h5")
    assert spark_encoding.encode(session, photos, SPEC, weights, tmp_path / "c") == Counts(37, 2)
    here, there = index_files.load(tmp_path / "c.h5"), index_files.load(tmp_path / "c")
    assert same(here, there) and len(there.codes) == 37
    assert (there.net, there.source) == (here.net, here.source)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "c",
        "c.h5",
        "c.h5.skipped.txt",
        "photos",
    ]
    skipped = session.read.parquet(str(tmp_path / "c/images")).where("skipped IS NOT NULL")
    assert {row["name"] for row in skipped.collect()} == {"broken.jpg", "class1/zero.png"}
    assert all("is not a readable image" in row["skipped"] for row in skipped.collect())


def test_a_table_and_a_database(photos, tmp_path, weights, session, run):
    names = [f"class{i % 3}/{i:02}.png" for i in range(37)][::-1]
    (photos / "t.csv").write_text("".join(f"{name},a,b\n" for name in names))
    run.encode(photos / "t.csv", tmp_path / "c.h5")
    spark_encoding.encode(session, photos / "t.csv", SPEC, weights, tmp_path / "c")
    assert same(index_files.load(tmp_path / "c.h5"), index_files.load(tmp_path / "c"))
    assert index_files.load(tmp_path / "c").names([0, 36]) == [names[0], names[36]]
    import lmdb
    from caffe.proto.caffe_pb2 import Datum

    with (
        lmdb.open(str(tmp_path / "images_lmdb")) as database,
        database.begin(write=True) as transaction,
    ):
        for i, name in enumerate(names):
            datum = Datum(data=(photos / name).read_bytes(), encoded=True, label=i % 3)
            transaction.put(f"{i:08}".encode(), datum.SerializeToString())
    run.encode(tmp_path / "images_lmdb", tmp_path / "d.h5")
    name = tmp_path / "d e=[1]*%41ß"  # letters that mean something in a URL or a pattern
    spark_encoding.encode(session, tmp_path / "images_lmdb", SPEC, weights, name)
    assert same(index_files.load(tmp_path / "d.h5"), index_files.load(name))
    index, _ = spark.load(session, name)
    assert index.names(np.array([0, 36])) == ["00000000", "00000036"]


def executors(session):
    """The processes on whose behalf workers encode."""
    numbers, application = [], session.sparkContext.applicationId.encode()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            if b"CoarseGrainedExecutorBackend" in words and application in words:
                numbers.append(int(process.name))
        except OSError:
            pass
    return numbers


def test_losing_an_executor_costs_no_data(photos, tmp_path, run, weights, session):
    for copy in range(40):
        shutil.copytree(photos / "class0", photos / f"copy{copy:02}")
    run.encode(photos, tmp_path / "c.h5")
    before, killed, done = executors(session), [], threading.Event()

    def kill():
        tracker = session.sparkContext.statusTracker()
        while not done.wait(0.005):
            for stage in tracker.getActiveStageIds():
                about = tracker.getStageInfo(stage)
                # In the middle of encoding: some parts are done, others begun.
                if about and about.numTasks > 4 and about.numCompletedTasks > 1:
                    os.kill(before[0], signal.SIGKILL)
                    killed.append(before[0])
                    return

    assert len(before) == 2
    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        spark_encoding.encode(session, photos, SPEC, weights, tmp_path / "c")
    finally:
        done.set()
    assert killed and killed[0] not in executors(session)
    assert same(index_files.load(tmp_path / "c.h5"), index_files.load(tmp_path / "c"))


@pytest.mark.parametrize("bits", [12, 48, 100])
def test_search_is_that_of_one_machine(tmp_path, session, bits):
    rng = np.random.default_rng(0)
    codes = packed_codes.pack(rng.integers(0, 2, (500, bits)) & rng.integers(0, 2, (500, bits)))
    columns = parquet.words(codes)
    rows = [(i, *map(int, words)) for i, words in enumerate(columns)]
    table = session.createDataFrame(rows, ["row", *parquet.word_names(bits)])
    assert np.array_equal(parquet.packed(columns, bits), codes)
    index, exact = SparkEngine(table, bits, len(codes)), NumpyEngine(bits)
    exact.add(codes)
    for k in (1, 10, 600):
        for actual, expected in zip(index.search(codes[:7], k), exact.search(codes[:7], k)):
            assert np.array_equal(actual, expected)
    radius = bits // 4
    for k in (3, 500):
        for actual, expected in zip(
            index.within(codes[3], radius, k), exact.within(codes[3], radius, k)
        ):
            assert np.array_equal(actual, expected)
    far = np.full_like(codes[0], 0)
    assert [array.shape for array in index.within(far, 0, 9)] == [
        array.shape for array in exact.within(far, 0, 9)
    ]


@pytest.mark.parametrize("word", [1 << 12, -1, 1 << 60])
def test_ones_beyond_the_codes(tmp_path, session, word):
    rows = [(0, "a", [], None, word), (1, "b", [], None, 4095)]
    columns = "row long, name string, labels array<string>, skipped string, word_0 long"
    session.createDataFrame(rows, columns).write.parquet(str(tmp_path / parquet.IMAGES))
    parquet.write_about(tmp_path, parquet.About(12, "digits", "dnnh", "500", "", "photos", 2, 0))
    with pytest.raises(UserError, match="has codes with ones beyond bit 12; make it again"):
        spark.load(session, tmp_path)


def test_ids_count_the_rows_that_were_not_skipped():
    row_numbers = RowNumbers(np.array([1, 4]))
    assert row_numbers.to_rows(np.arange(4)).tolist() == [0, 2, 3, 5]
    assert row_numbers.to_ids(np.array([0, 2, 3, 5])).tolist() == [0, 1, 2, 3]
    assert RowNumbers().to_rows(np.arange(3)).tolist() == [0, 1, 2]


@pytest.fixture
def one_session(session, monkeypatch):
    """Tools get the session of these tests; returns the masters that they asked for."""
    masters = []

    @contextlib.contextmanager
    def opened(master):
        masters.append(master)
        yield session

    monkeypatch.setattr(spark_session, "session", opened)
    return masters


def test_the_tools(photos, tmp_path, run, weights, one_session):
    """The same hits from either index by any engine."""
    run.encode(photos, tmp_path / "c.h5")
    run.encode(photos, tmp_path / "c", "--engine", "spark", "--master", MASTER)
    query = ["--image", photos / "class1/16.png", "--top", 4, "--json", "-"]
    on_spark = ["search", "--index", tmp_path / "c", "--engine", "spark"]
    here = [["search", "--index", tmp_path / name, *query] for name in ("c.h5", "c")]
    assert run(*here[0]) == run(*here[1])
    hamming = ["--rank", "hamming"]  # the only one of the engine spark
    printed = [run(*command, *hamming) for command in here]
    printed.append(run(*on_spark, *query, "--master", "local[2]"))
    assert len(set(printed)) == 1 and '"distance": 0' in printed[0]
    queries = ["--queries", tmp_path / "c.h5", "--top", 2]
    printed = [
        run.plain("search", "--index", tmp_path / "c.h5", *queries),
        run.plain(*on_spark, *queries),
    ]
    assert len(set(printed)) == 1 and printed[0].count("\n") == 3 * 37
    assert one_session == [MASTER, "local[2]", spark_session.MASTER]
    lost = next((tmp_path / "c/images").glob("part-*.parquet"))
    lost.unlink()
    with pytest.raises(UserError, match=r"c has \d+ codes and should have 37; make it again"):
        run(*on_spark, *query)
    with pytest.raises(UserError, match=r"c is a damaged index .*it has \d+ images, about.json 39"):
        run("search", "--index", tmp_path / "c", *query)
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="none has no image that can be read"):
        run.encode(tmp_path / "none", tmp_path / "d", "--engine", "spark")
    assert not (tmp_path / "d").exists()


def contents(path):
    """Code, state, labels and stamp of each image, in the order of the rows."""
    index = index_files.load(path)
    every = slice(None)
    texts = zip(index.names(every), index.labels(every), index.stamps(every))
    return [(*text, *rest) for text, *rest in zip(texts, index.states, index.codes.tolist())]


def test_updates_are_those_of_one_machine(photos, tmp_path, run, one_session):
    here, there = tmp_path / "c.h5", tmp_path / "c"
    run.encode(photos, here)
    run.encode(photos, there, "--engine", "spark")

    def update(*what):
        both = [run("encode", *(what or ["--update"]), "--output", path) for path in (here, there)]
        assert both[0] == both[1].replace(f"{there}:", f"{here}:").replace(
            f"{there}.skipped", f"{here}.skipped"
        )
        assert contents(here) == contents(there)
        return both[1]

    sessions = len(one_session)
    assert "nothing is new, changed or gone" in update() and "2 skipped" in update()
    for i, name in ((40, "class9/new"), (41, "class0/03"), (42, "class1/zero"), (43, "class2/z")):
        digit(photos / f"{name}.png", i)
    (photos / "class1/04.png").rename(tmp_path / "04.png")
    assert "39 images; 3 new, 1 changed, 1 gone, 0 back\n1 skipped" in update()
    assert len(one_session) == sessions + 3  # of which two encoded what is broken
    (photos / "broken.jpg").unlink()
    (tmp_path / "04.png").rename(photos / "class1/04.png")
    assert "40 images; 0 new, 0 changed, 0 gone, 1 back" in update()
    assert len(one_session) == sessions + 3  # nothing had to be encoded
    assert not pathlib.Path(f"{there}.skipped.txt").exists()
    removed = ["encode", "--remove", "class2/z.png", "class0/00.png", "--output"]
    assert [run.plain(*removed, path).split(": ")[1] for path in (here, there)] == [
        "38 images; 2 removed\n"
    ] * 2
    assert contents(here) == contents(there)
    digit(photos / "class0/00.png", 44)
    assert "39 images; 0 new, 0 changed, 0 gone, 1 back" in update()
    query = ["--image", photos / "class1/16.png", "--top", 50, "--json", "-", "--rank", "hamming"]
    printed = [
        run("search", "--index", here, *query),
        run("search", "--index", there, *query),
        run("search", "--index", there, "--engine", "spark", *query),
    ]
    assert len(set(printed)) == 1 and printed[0].count('"distance"') == 39
    # The file that a running search may read, and the one that is in use.
    assert len(list(there.glob("changes-*"))) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "c.h5", "photos"]


def test_what_workers_do_not_have(photos, tmp_path, weights, session):
    job = spark_encoding.Job(
        deploy=prototxt.deploy_text(SPEC),
        net_input=SPEC.config.input,
        bits=12,
        weights=str(weights),
        digest="other",
        source=str(photos),
    )
    with pytest.raises(UserError, match="net.caffemodel is another file on "):
        spark_encoding._net(job)
    with pytest.raises(UserError, match="has no .*nowhere; all machines need the same images"):
        spark_encoding._net(dataclasses.replace(job, source=str(tmp_path / "nowhere")))
    already = pytest.raises(UserError, match="this process has a Spark session already")
    with already, spark_session.session("local[2]"):
        pass


@pytest.mark.parametrize("module", ["pyspark.sql", "pandas", "pyarrow"])
def test_it_is_asked_for_by_name(monkeypatch, tmp_path, module):
    monkeypatch.setitem(sys.modules, module, None)
    missing = pytest.raises(UserError, match=r"pip install -e .\[spark\]")
    with missing, spark_session.session("local[2]"):
        pass


def test_parquet_is_asked_for_by_name(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"pip install -e .\[spark\]"):
        parquet.load(tmp_path)


def test_bad_requests(photos, tmp_path, run, weights):
    run.encode(photos, tmp_path / "c.h5")
    with pytest.raises(UserError, match="c.h5 is not an index of encoded images as Parquet"):
        parquet.read_about(tmp_path / "c.h5")
    with pytest.raises(UserError, match="nothing answers at spark://localhost:1 .*refused"):
        spark_session._check_reachable("spark://localhost:1")
    with pytest.raises(UserError, match="--master is for the engine 'spark'"):
        query = ["--image", photos / "class1/16.png", "--top", 4]
        run("search", "--index", tmp_path / "c.h5", *query, "--master", "local[2]")
    with pytest.raises(UserError, match="--master is for --engine spark"):
        run.encode(photos, tmp_path / "d.h5", "--master", "local[2]")
