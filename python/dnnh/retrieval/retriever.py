"""From an image to the most similar images of an index."""

import contextlib
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnnh import packed_codes
from dnnh.data import sources
from dnnh.errors import UserError
from dnnh.files import StrPath
from dnnh.nets import runtimes
from dnnh.retrieval import index_files, spark_session
from dnnh.retrieval.engines import base, spark, storage
from dnnh.retrieval.engines.base import Engine
from dnnh.retrieval.engines.milvus import MilvusEngine
from dnnh.retrieval.image_index import ImageIndex, Labels

# Those of this process, and those that are servers or clusters.
ENGINES = (*storage.ENGINES, "milvus", "spark")


CANDIDATES = 1000  # nearest by Hamming distance that are ordered by asymmetric distance


class EncodedQuery(NamedTuple):
    """An image to search with.

    The asymmetric distance of a query's relaxed code s to a code b is sum |s_i - b_i|. Less a
    constant of the query, that is the sum of |2 s_i - 1| over the bits that differ: its weights. Of
    hashed features, the weights are the distances |v_i| from the hyperplanes of the bits.

    Attributes
    ----------
    codes : uint8 array of shape (1, ceil(q / 8))
    weights : float64 array of shape (1, q)
        0 or more, of each bit.
    """

    codes: NDArray[np.uint8]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Hit:
    """An image of the index: its row, name, labels, and Hamming distance to the query."""

    row: int
    name: str
    labels: Labels
    distance: int


class Retriever:
    """An index of encoded images and an engine with its codes: returns hits with names.

    Parameters
    ----------
    index : ImageIndex
    engine : Engine
        With the codes of the index, or those of its rows ``present``, in their order.
    present : int64 array, optional
        By default all rows.
    """

    def __init__(
        self, index: ImageIndex, engine: Engine, present: NDArray[np.int64] | None = None
    ) -> None:
        self.index, self.engine, self._present = index, engine, present

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows of the index that the engine's ids stand for; -1 stays -1."""
        return ids if self._present is None else np.where(ids < 0, -1, self._present[ids])

    def last_row(self) -> int:
        """The last row that a search finds."""
        return int(self.rows(np.array(len(self.engine) - 1)))

    def has(self, row: int) -> bool:
        """Whether a search finds a row."""
        if self._present is None:
            return 0 <= row < len(self.engine)
        place = np.searchsorted(self._present, row)
        return bool(place < len(self._present) and self._present[place] == row)

    def nearest(
        self, codes: NDArray[np.uint8], k: int, weights: NDArray[np.float64] | None = None
    ) -> list[list[Hit]]:
        """The k nearest images of each code.

        Parameters
        ----------
        codes : uint8 array of shape (m, ceil(q / 8))
        k : int
        weights : float64 array of shape (m, q), optional
            Of queries: their hits are ordered by asymmetric distance, among the CANDIDATES (or k)
            that are nearest by Hamming distance. (Not of an index on Spark, whose codes are not
            here.)

        Returns
        -------
        m lists, nearest first

        Raises
        ------
        UserError
            If k is below 1.
        """
        base.check_request(codes, k, self.engine.bits, len(self.engine))
        if weights is None or self.index.codes is None:
            return self._hits(*self._search(codes, k))
        found = self._search(codes, max(k, CANDIDATES))
        return [
            hits
            for code, of_query, distances, rows in zip(codes, weights, *found)
            for hits in self._hits(*self._reordered(code, of_query, distances, rows, k))
        ]

    def within(
        self,
        code: NDArray[np.uint8],
        radius: int,
        k: int,
        weights: NDArray[np.float64] | None = None,
    ) -> list[Hit]:
        """Up to k images within a Hamming radius of a code, (bytes,), nearest first; weights, (q,),
        as of :meth:`nearest`."""
        distances, ids = self.engine.within(code, radius, max(k, CANDIDATES))
        rows = self.rows(ids)
        if weights is not None and self.index.codes is not None:
            return self._hits(*self._reordered(code, weights, distances, rows, k))[0]
        return self._hits(distances[np.newaxis, :k], rows[np.newaxis, :k])[0]

    def _search(
        self, codes: NDArray[np.uint8], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Distances and rows of the nearest images; row -1 stands for none."""
        distances, ids = self.engine.search(codes, k)
        return distances, self.rows(ids)

    def _reordered(
        self,
        code: NDArray[np.uint8],
        weights: NDArray[np.float64],
        distances: NDArray[np.int64],
        rows: NDArray[np.int64],
        k: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The k neighbors of least asymmetric distance, equal ones in the order that they have:
        their Hamming distances and rows, each (1, at most k)."""
        assert self.index.codes is not None
        found = rows >= 0
        distances, rows = distances[found], rows[found]
        differing = packed_codes.unpack(self.index.codes[rows] ^ code, len(weights))
        nearest = np.argsort(differing @ weights, kind="stable")[:k]
        return distances[np.newaxis, nearest], rows[np.newaxis, nearest]

    def _hits(self, distances: NDArray[np.int64], rows: NDArray[np.int64]) -> list[list[Hit]]:
        """The hits of each query; both arrays are (m, k), row -1 stands for none."""
        wanted = np.unique(rows[rows >= 0])  # names are read once for each image
        names, labels = {}, {}
        if len(wanted):
            names = dict(zip(wanted.tolist(), self.index.names(wanted)))
            labels = dict(zip(wanted.tolist(), self.index.labels(wanted)))
        hits = []
        for distances_of_query, rows_of_query in zip(distances.tolist(), rows.tolist()):
            hits_of_query = []
            for distance, row in zip(distances_of_query, rows_of_query):
                if row >= 0:
                    hits_of_query.append(Hit(row, names[row], labels[row], distance))
            hits.append(hits_of_query)
        return hits

    def hits(self, rows: NDArray[np.int64], code: NDArray[np.uint8]) -> list[Hit]:
        """Images of the index by their rows, with their distances to a code, (bytes,)."""
        assert self.index.codes is not None
        distances = np.bitwise_count(self.index.codes[rows] ^ code).sum(axis=1, dtype=np.int64)
        return self._hits(distances[np.newaxis], rows[np.newaxis])[0]

    def image(self, name: str) -> NDArray[np.uint8]:
        """An image of the index, uint8 (height, width, 3), read from the source.

        Raises
        ------
        UserError
            If it is no longer there.
        """
        return sources.item(self.index.source, name, ()).read()


class QueryEncoder:
    """The net that an index was encoded with, for queries. Thread-safe.

    Parameters
    ----------
    index : ImageIndex
    model, runtime, gpu : as of dnnh.nets.runtimes.of_index

    Raises
    ------
    UserError
        If there are no weights, or not those that the index was encoded with; or if the GPU
        cannot be used.
    """

    def __init__(
        self,
        index: ImageIndex,
        model: pathlib.Path | None = None,
        runtime: str | None = None,
        gpu: int | None = None,
    ) -> None:
        net = runtimes.of_index(index.net, runtime, model, gpu)
        if net.gives_features != (index.hasher is not None):
            raise UserError(
                f"{net.path} gives {'features' if net.gives_features else 'codes'} and the index of "
                f"{index.source} has {'hashed features' if index.hasher else 'codes'}; name the net "
                "that encoded the index with --model"
            )
        self._input, self._encoder, self._hasher = net.input, net.encoder, index.hasher

    def encode(self, image: NDArray[np.uint8]) -> EncodedQuery:
        """The query that an image is, uint8 of shape (height, width, 3)."""
        images = sources.fitted(image, self._input)[np.newaxis]
        if self._hasher is not None:
            values = self._hasher.project(self._encoder.outputs(images))
        else:
            values = 2 * self._encoder.unrounded_outputs(images) - 1
        weights = np.abs(values)
        if self._encoder.bit_weights is not None:  # the distance that the net was trained for
            weights = self._encoder.bit_weights[np.newaxis]
        return EncodedQuery(packed_codes.pack(values > 0), weights.astype(np.float64))


@contextlib.contextmanager
def open_index(
    path: StrPath, engine: str = "numpy", address: str | None = None, master: str | None = None
) -> Iterator[Retriever]:
    """Yield a Retriever of an index of encoded images, with an engine that has its codes.

    Parameters
    ----------
    path : path of an index, as tools/encode.py writes it
    engine : str
        One of ENGINES.
    address : str, optional
        Of Milvus: see MilvusEngine.
    master : str, optional
        Of Spark: see dnnh.retrieval.spark_session.session.

    Raises
    ------
    UserError
        If there is no index, or the engine cannot have it.
    """
    for name, value, option in (("milvus", address, "--address"), ("spark", master, "--master")):
        if value is not None and engine != name:
            raise UserError(f"{option} is for the engine '{name}'; this is '{engine}'")
    if engine == "spark":
        with spark_session.session(master or spark_session.MASTER) as session:
            yield Retriever(*spark.load(session, path))
        return
    if engine == "milvus" and not address:
        raise UserError(
            "the engine 'milvus' needs --address: http://host:19530, or a file for Milvus "
            "Lite, codes.db"
        )
    with contextlib.closing(index_files.load(path)) as index:
        assert index.codes is not None
        present = index.present()
        if present is not None and not len(present):
            raise UserError(f"{path} has no images: all of them are gone or removed")
        codes = index.codes if present is None else index.codes[present]
        if engine == "milvus":
            milvus = MilvusEngine(codes, index.net.bits, str(address))
            with contextlib.closing(milvus):
                yield Retriever(index, milvus, present)
            return
        local = storage.make_engine(engine, index.net.bits)
        local.add(codes)
        local.search(codes[:1], 1)  # what an engine builds at its first search is built now
        yield Retriever(index, local, present)
