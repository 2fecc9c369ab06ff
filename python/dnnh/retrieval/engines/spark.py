"""Exact search on Apache Spark, for many queries at once and codes on many machines.

Sessions are opened by :mod:`dnnh.retrieval.spark_session`.
"""

import pathlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh.errors import UserError
from dnnh.files import StrPath
from dnnh.retrieval import parquet, spark_session
from dnnh.retrieval.engines import base
from dnnh.retrieval.engines.base import Codes, Ids, Neighbors
from dnnh.retrieval.image_index import PRESENT, ImageIndex, Labels, Rows


class SparkEngine:
    """Codes in a table of Spark's, searched exactly.

    Parameters
    ----------
    table : DataFrame with ``row`` and the words of a code, see dnnh.retrieval.parquet
    bits, size : int
        The length of codes, and how many there are.
    skipped_rows : int64 array, sorted, optional
        Rows that have no code. Ids count without them, and with rows that no search finds.
    """

    def __init__(
        self, table: Any, bits: int, size: int, skipped_rows: NDArray[np.int64] | None = None
    ) -> None:
        self.bits = bits
        self._size = size
        self._words = parquet.word_names(bits)
        self._rows = RowNumbers(skipped_rows)
        self._table = table.select("row", *self._words)

    def __len__(self) -> int:
        return self._size

    def search(self, queries: Codes, k: int = 10) -> Neighbors:
        """The nearest codes of each query: see :meth:`.base.Engine.search`.

        First how many codes there are at each distance from each query, which tells how
        far the last neighbor is; then the codes up to there.
        """
        queries, k = base.check_request(queries, k, self.bits, len(self))
        if not k or not len(queries):
            return base.no_neighbors(queries, k)
        from pyspark.sql import Window, functions

        nearest_first = Window.partitionBy("query").orderBy("distance", "row")
        ranked = np.array(
            self._pairs(queries, self._radii(queries, k))
            .withColumn("rank", functions.row_number().over(nearest_first))
            .where(functions.col("rank") <= k)
            .select("query", "rank", "distance", "row")
            .collect(),
            np.int64,
        )
        query, rank, distance, row = ranked.T
        distances = np.empty((len(queries), k), np.int64)
        rows = np.empty((len(queries), k), np.int64)
        distances[query, rank - 1] = distance
        rows[query, rank - 1] = row
        return Neighbors(distances, self._rows.to_ids(rows))

    def within(self, query: NDArray[np.uint8], radius: int, k: int) -> Neighbors:
        """The nearest codes within a radius of one query: see :meth:`.base.Engine.within`."""
        query, k = base.check_request(base.check_query(query, self.bits), k, self.bits, len(self))
        pairs = (
            self._pairs(query, np.array([radius]))
            .orderBy("distance", "row")
            .select("distance", "row")
            .limit(k)
            .collect()
        )
        distances, rows = np.array(pairs, np.int64).reshape(-1, 2).T
        return Neighbors(distances, self._rows.to_ids(rows))

    def _radii(self, queries: Codes, k: int) -> NDArray[np.int64]:
        """The distance of neighbor number k of each query."""
        histogram = np.zeros((len(queries), self.bits + 1), np.int64)
        for row in self._pairs(queries).groupBy("query", "distance").count().collect():
            histogram[row["query"], row["distance"]] = row["count"]
        return (np.cumsum(histogram, axis=1) >= k).argmax(axis=1)

    def _pairs(self, queries: Codes, radii: NDArray[np.int64] | None = None) -> Any:
        """A row for each query and each code, of which radii keep those within the query's."""
        from pyspark.sql import functions

        columns = ["query long", *(f"query_{word} long" for word in self._words)]
        rows = [[number, *words] for number, words in enumerate(parquet.words(queries).tolist())]
        if radii is not None:
            columns.append("radius long")
            for row, radius in zip(rows, radii.tolist()):
                row.append(radius)
        table = self._table.sparkSession.createDataFrame(rows, ", ".join(columns))
        distance = " + ".join(f"bit_count({word} ^ query_{word})" for word in self._words)
        pairs = self._table.crossJoin(functions.broadcast(table))
        if radii is not None:
            pairs = pairs.where(f"{distance} <= radius")
        return pairs.selectExpr("query", "row", f"{distance} AS distance")


class RowNumbers:
    """Which rows of a source are which ids: ids count the rows that were not skipped.

    Parameters
    ----------
    skipped : int64 array, sorted, optional
        Rows that were skipped. With rows 1 and 4 skipped, ids 0, 1, 2, 3 are rows 0, 2, 3, 5.
    """

    def __init__(self, skipped: NDArray[np.int64] | None = None) -> None:
        self._skipped = np.zeros(0, np.int64) if skipped is None else skipped
        # How many ids come before each skipped row.
        self._ids_before = self._skipped - np.arange(len(self._skipped))

    def to_ids(self, rows: NDArray[np.int64]) -> Ids:
        return rows - np.searchsorted(self._skipped, rows)

    def to_rows(self, ids: Ids) -> NDArray[np.int64]:
        return ids + np.searchsorted(self._ids_before, ids, side="right")


def load(spark: Any, folder: StrPath) -> tuple[ImageIndex, SparkEngine]:
    """An index of encoded images, whose codes, names and labels stay in Spark, and its engine.

    Parameters
    ----------
    spark : SparkSession
    folder : path of an index, as dnnh.retrieval.spark_encoding writes it

    Returns
    -------
    (index, engine)
        The index has no codes, and gives names and labels of a row or an array of rows alone.

    Raises
    ------
    UserError
        If there is none, or it has lost a part.
    """
    from pyspark.sql import functions

    about = parquet.read_about(folder)
    images = spark.read.parquet(spark_session.pattern(pathlib.Path(folder, parquet.IMAGES)))
    columns = ["row", "name", "labels", *parquet.word_names(about.bits)]
    table = images.where("skipped IS NULL").select(columns)
    encoded = size = table.count()
    if encoded != about.encoded:
        raise UserError(
            f"{folder} has {encoded:,} codes and should have {about.encoded:,}; "
            f"make it again with {parquet.REMEDY}"
        )
    if about.changes:
        # Kept: later updates delete the file.
        changed = spark.read.parquet(
            spark_session.pattern(pathlib.Path(folder, about.changes))
        ).cache()
        if changed.count() != about.changed:
            raise UserError(
                f"{folder} has {changed.count():,} changed rows and should have {about.changed:,}; "
                f"make it again with {parquet.REMEDY}"
            )
        present = changed.where(f"state = {PRESENT}").select(columns)
        changed_rows = functions.broadcast(changed.select("row"))
        table = table.join(changed_rows, "row", "left_anti").unionByName(present)
        size = table.count()
    last, unused = parquet.word_names(about.bits)[-1], -about.bits % 64
    beyond = f"shiftrightunsigned({last}, {64 - unused}) <> 0"
    if unused and table.where(beyond).limit(1).count():
        raise UserError(
            f"{folder} has codes with ones beyond bit {about.bits}; make it again with "
            f"{parquet.REMEDY}"
        )
    if parquet.read_about(folder) != about:
        raise UserError(f"{folder} was replaced while it was opened; run the same command again")
    skipped = [row["row"] for row in images.where("skipped IS NOT NULL").select("row").collect()]
    skipped_rows = np.array(sorted(skipped), np.int64)
    row_numbers = RowNumbers(skipped_rows)

    def column(name: str, ids: Any) -> list[Any]:  # a row or an array of rows
        rows = row_numbers.to_rows(np.atleast_1d(ids)).tolist()
        wanted = spark.createDataFrame([(row,) for row in rows], "row long")
        values = dict(table.join(wanted, "row").select("row", name).collect())
        return [values[row] for row in rows]

    def names(ids: Rows) -> list[str]:
        return column("name", ids)

    def labels(ids: Rows) -> list[Labels]:
        return [tuple(of_image) for of_image in column("labels", ids)]

    index = ImageIndex(
        net=about.net,
        source=about.source,
        codes=None,
        names=names,
        labels=labels,
    )
    return index, SparkEngine(table, about.bits, size, skipped_rows)
