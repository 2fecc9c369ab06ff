"""Coding and searching on Apache Spark, for collections that outgrow one machine.

Every machine needs this repository, built, and the images and the weights, all at the same
paths (a shared file system); Spark brings the rest. Collections are as dnnh.parquet says.
"""

import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
import socket
import sys
import urllib.parse

import numpy as np

from dnnh import collection, encoder, nets, parquet, paths, search, sources
from dnnh.errors import UserError

MASTER = "local[*]"
GROUPS_A_PART = 1000       # that one file of codes is made from, at most
PARTS_A_CORE = 4           # so that no core waits long for the last


@contextlib.contextmanager
def session(master=MASTER):
    """Yield a SparkSession, and stop it.

    Parameters
    ----------
    master : str
        ``local[2]``, ``local-cluster[2,1,2048]`` (machines, cores, MB: processes of
        their own on this machine), ``spark://host:port``, ``yarn``, ...

    Raises
    ------
    UserError
        If Spark or Java is not here, or the master cannot be reached; and in place of
        what Spark raises inside the block.
    """
    try:
        import pandas, pyarrow   # noqa: E401, F401: PySpark itself asks only when it needs them
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise UserError(f"the engine 'spark' is not whole here ({error}); install it with "
                        "'.venv/bin/pip install -e .[spark]'") from error
    if SparkSession.getActiveSession():
        raise UserError("this process has a session of Spark's already; stop that first, or "
                        "use it")
    _check_reachable(master)
    # Workers run this very Python, with the packages that are in its environment.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    try:
        opened = (SparkSession.builder.master(master).appName("DNNH on Caffe")
                  .config("spark.log.level", "ERROR")
                  .config("spark.ui.enabled", "false")
                  .config("spark.ui.showConsoleProgress", "true")
                  .getOrCreate())
    except (PySparkException, Py4JError) as error:
        raise UserError(f"Spark does not start on '{master}': {_reason(error)}; it needs "
                        "Java 17 or later (Debian: openjdk-17-jre-headless)") from error
    try:
        yield opened
    except (PySparkException, Py4JError) as error:
        raise UserError(f"Spark: {_reason(error)}") from error
    finally:
        opened.stop()


def _check_reachable(master):
    """Spark itself tries for a minute, and then says so in a hundred lines."""
    if not master.startswith("spark://"):
        return
    for address in master.removeprefix("spark://").split(","):
        try:
            at = urllib.parse.urlsplit(f"//{address}")
            socket.create_connection((at.hostname or "", at.port or 7077), 5).close()
            return
        except (OSError, ValueError) as error:
            reason = error
    raise UserError(f"nobody answers at {master} ({reason}); is the master running?")


def _reason(error):
    """The line of Spark's many that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if line.startswith(("dnnh.errors.UserError: ",
                                                        "Caused by: "))]
    return (named[0] if named else lines[0] if lines else type(error).__name__).removeprefix(
        "dnnh.errors.UserError: ")


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker has to know: which net, with which weights, and whose images."""

    dataset: str
    variant: str
    bits: int
    weights: str
    digest: str
    source: str

    @property
    def spec(self):
        return nets.net_spec(self.dataset, self.variant, self.bits)


def encode(spark, source, spec, weights, out):
    """Code the images of a source, on all of Spark's workers.

    Parameters
    ----------
    spark : SparkSession
    source : path, see dnnh.sources.items
    spec : dnnh.nets.NetSpec
    weights : path of a .caffemodel
    out : path of the collection to write; it appears whole, or not at all

    Returns
    -------
    (coded, left_out) : int

    Raises
    ------
    UserError
        If there is no such source or nothing of it could be coded, if the machines do not
        see the same weights, images and ``out``, or if Spark fails.
    """
    source, weights = pathlib.Path(source).resolve(), pathlib.Path(weights).resolve()
    job = Job(spec.dataset, spec.variant, spec.bits, str(weights), paths.digest(weights),
              str(source))
    columns = ", ".join(f"{name} long" for name in parquet.word_names(spec.bits))
    with paths.written_whole(out) as partial:
        partial.mkdir()
        # Images are listed here, a group a row, and read and coded by the workers.
        listing, images = partial / "listing", partial / parquet.IMAGES
        groups, listed = _list_groups(source, listing)
        parts = min(groups, max(-(-groups // GROUPS_A_PART),
                                PARTS_A_CORE * spark.sparkContext.defaultParallelism))
        (spark.read.parquet(_url(listing)).repartition(max(parts, 1))
         .mapInPandas(functools.partial(_encode_groups, job),
                      "row long, name string, labels array<string>, left_out string, "
                      + columns)
         .write.parquet(_url(images)))
        listing.unlink()
        counts = dict.fromkeys((False, True), 0)
        for row in (spark.read.parquet(_url(images)).selectExpr("left_out IS NULL AS coded")
                    .groupBy("coded").count().collect()):
            counts[row["coded"]] = row["count"]
        if sum(counts.values()) != listed:
            raise UserError(f"{sum(counts.values()):,} of {listed:,} images came back to "
                            f"{out}; it must be a folder that all machines share")
        if not counts[True]:
            raise UserError(f"{source} has no image that can be read")
        parquet.describe(partial, {
            "bits": spec.bits, "dataset": spec.dataset, "variant": spec.variant,
            "weights": job.digest, "source": job.source, "coded": counts[True],
            "left_out": counts[False]})
    return counts[True], counts[False]


def _url(path):
    return pathlib.Path(path).resolve().as_uri()


def _list_groups(source, path):
    """Write which images there are, one row for each group that is coded at once; returns
    (groups, images)."""
    import pyarrow
    from pyarrow import parquet as files
    schema = pyarrow.schema([("first", pyarrow.int64()),
                             ("names", pyarrow.list_(pyarrow.string())),
                             ("labels", pyarrow.list_(pyarrow.list_(pyarrow.string())))])
    # Names and labels alone: an item of an LMDB holds its pixels.
    items = ((item.name, list(item.labels)) for item in sources.items(source))
    groups = images = 0
    with files.ParquetWriter(path, schema) as writer:
        while some := list(itertools.islice(
                iter(lambda: list(itertools.islice(items, collection.GROUP)), []), 1000)):
            writer.write_table(pyarrow.table(
                [collection.GROUP * (groups + np.arange(len(some))),
                 [[name for name, _ in group] for group in some],
                 [[labels for _, labels in group] for group in some]], schema=schema))
            groups += len(some)
            images += sum(map(len, some))
    return groups, images


def _encode_groups(job, tables):
    """For mapInPandas: rows of a listing to rows of a collection, a group at a time."""
    import pandas
    net = _net(job)
    names = parquet.word_names(job.bits)
    for table in tables:
        for first, of_group, labels in zip(table["first"], table["names"], table["labels"]):
            group = [sources.item(job.source, name, tuple(some))
                     for name, some in zip(of_group, labels)]
            codes, refused = collection.coded(group, job.spec.recipe, net.outputs)
            words = np.zeros((len(group), len(names)), np.int64)
            words[[why is None for why in refused]] = parquet.words(codes) if len(codes) else 0
            yield pandas.DataFrame({
                "row": np.arange(first, first + len(group)),
                "name": [item.name for item in group],
                "labels": [list(item.labels) for item in group],
                "left_out": refused, **dict(zip(names, words.T))})


@functools.cache
def _net(job):
    """A worker's net, opened when it is first needed: nets cannot be sent to it."""
    if not os.path.exists(job.source):
        raise UserError(f"{socket.gethostname()} has no {job.source}; all machines need the "
                        "same images")
    if paths.digest(job.weights) != job.digest:
        raise UserError(f"{job.weights} is another file on {socket.gethostname()} than where "
                        "this was started; all machines need the same weights")
    spec = job.spec
    return encoder.Encoder(nets.deploy(spec, spec.recipe.subnetworks[-1]),
                           pathlib.Path(job.weights))


def load(spark, folder):
    """A collection whose codes stay where they are.

    Parameters
    ----------
    spark : SparkSession
    folder : path of a collection, as :func:`encode` writes it

    Returns
    -------
    (Collection, Index) : the first has no codes, and names and labels of arrays of rows alone

    Raises
    ------
    UserError
        If it is none, or has lost a part.
    """
    about = parquet.described(folder)
    every = spark.read.parquet(_url(pathlib.Path(folder, parquet.IMAGES)))
    table = every.where("left_out IS NULL")
    coded = table.count()
    if coded != about["coded"]:
        raise UserError(f"{folder} has {coded:,} codes and should have {about['coded']:,}; "
                        "make it again with 'python tools/encode.py --engine spark'")
    del about["coded"]
    gaps = _Gaps(np.array(sorted(row["row"] for row in every.where("left_out IS NOT NULL")
                                 .select("row").collect()), np.int64))

    def of(column):
        def read(rows):
            rows = gaps.opened(np.atleast_1d(rows)).tolist()
            asked = spark.createDataFrame([(row,) for row in rows], "row long")
            found = dict(table.join(asked, "row").select("row", column).collect())
            return [found[row] for row in rows]
        return read
    return collection.Collection(
        codes=None, names=of("name"),
        labels=lambda rows: [tuple(some) for some in of("labels")(rows)], **about), Index(
            table, about["bits"], coded, gaps)


class _Gaps:
    """Rows of a source, and the same without those that were left out (int64, sorted)."""

    def __init__(self, left_out=np.zeros(0, np.int64)):
        self._left_out = left_out
        self._closed = left_out - np.arange(len(left_out))

    def closed(self, rows):
        return rows - np.searchsorted(self._left_out, rows)

    def opened(self, rows):
        return rows + np.searchsorted(self._closed, rows, side="right")


class Index:
    """Codes in a table of Spark's, searched exactly; called as dnnh.search.Index is.

    Parameters
    ----------
    table : DataFrame with ``row`` and the words of a code
    bits, size : int
        The length of codes, and how many there are.
    gaps : _Gaps
        Which rows are missing; ids go on counting across them.
    """

    def __init__(self, table, bits, size, gaps=_Gaps()):
        self.bits, self._size, self._names = bits, size, parquet.word_names(bits)
        self._gaps = gaps
        self._table = table.select("row", *self._names)

    def __len__(self):
        return self._size

    def search(self, queries, top=10):
        """The nearest codes of each query: see dnnh.search.Index.search.

        First how many codes there are at each distance from each query, which tells how
        far the last one is; then those up to there.
        """
        queries, top = search.request(queries, top, self.bits, len(self))
        if not top or not len(queries):
            return search.nothing(queries, top)
        histogram = np.zeros((len(queries), self.bits + 1), np.int64)
        for row in (self._pairs(queries).groupBy("query", "distance").count()
                    .collect()):
            histogram[row["query"], row["distance"]] = row["count"]
        radii = (np.cumsum(histogram, axis=1) >= top).argmax(axis=1)
        from pyspark.sql import Window, functions
        nearest = Window.partitionBy("query").orderBy("distance", "row")
        found = np.array(
            self._pairs(queries, radii)
            .withColumn("place", functions.row_number().over(nearest))
            .where(functions.col("place") <= top)
            .select("query", "place", "distance", "row").collect(), np.int64)
        distances, ids = np.empty((2, len(queries), top), np.int64)
        distances[found[:, 0], found[:, 1] - 1] = found[:, 2]
        ids[found[:, 0], found[:, 1] - 1] = found[:, 3]
        return distances, self._gaps.closed(ids)

    def within(self, query, radius):
        """All codes within a radius of one query: see dnnh.search.Index.within."""
        query = search.one(query, self.bits)
        found = np.array(self._pairs(query, np.array([radius])).orderBy("distance", "row")
                         .select("distance", "row").collect(), np.int64).reshape(-1, 2)
        return found[:, 0], self._gaps.closed(found[:, 1])

    def _pairs(self, queries, radii=None):
        """A row for each query and each code, those further off than radii left out."""
        from pyspark.sql import functions
        spark = self._table.sparkSession
        rows = [(number, *map(int, words)) for number, words in
                enumerate(parquet.words(queries))]
        asked = ["query long", *(f"asked_{i} long" for i in range(len(self._names)))]
        if radii is not None:
            rows = [(*row, int(radius)) for row, radius in zip(rows, radii)]
            asked.append("radius long")
        distance = " + ".join(f"bit_count({name} ^ asked_{i})"
                              for i, name in enumerate(self._names))
        pairs = self._table.crossJoin(functions.broadcast(
            spark.createDataFrame(rows, ", ".join(asked))))
        if radii is not None:
            pairs = pairs.where(f"{distance} <= radius")
        return pairs.selectExpr("query", "row", f"{distance} AS distance")
