"""Codes in lists around centroids: an inverted file, of which a search reads a few lists.

Each code is in the list of its nearest centroid, and a search reads only the lists of the
centroids that are nearest to the query (Sivic and Zisserman, "Video Google", ICCV 2003; for
binary codes FAISS's IndexBinaryIVF, whose k-means finds the centroids here and whose
brute-force search compares the codes).

This is not IndexBinaryIVF itself because of its memory. FAISS stores an id of 8 bytes beside
each code: 2 bytes for each byte of a code of 8 where every list has exactly its size, and 3.7
where lists grow by doubling, as they do when codes are added. Here it is 1.2: all codes stand
in one array, list behind list, and ids take 11 to 12 bits each where there are 512 lists.

Ids are that small because each list is kept in the order of ids. So the numbers

    list * period + id        (period: how many codes there are)

increase along the whole array, and an increasing sequence can be stored in few bits
(:mod:`.elias_fano`). The id is the remainder of such a number by the period, and the list the
quotient. For example, six codes whose lists are 1, 0, 1, 1, 0, 0 are stored as

    list     0  0  0  1  1  1
    id       1  4  5  0  2  3
    number   1  4  5  6  8  9     (period 6)
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from dnnh.retrieval.engines import base, code_blocks, faiss_knn
from dnnh.retrieval.engines.base import Codes, Ids, Neighbors
from dnnh.retrieval.engines.code_blocks import Blocks
from dnnh.retrieval.engines.elias_fano import IncreasingIntegers

TRAINING_CODES = 64  # for each centroid
CODES_A_THREAD = 100  # that are compared with the centroids, at least
IDS = 4096  # that are decoded at a time


class InvertedLists:
    """Codes in lists; each list is in the order of ids.

    Parameters
    ----------
    blocks : tuple of uint8 arrays of shape (some, bytes)
        The codes; their ids count through all blocks. ``bytes`` as FAISS takes them.
    centroids : uint8 array of shape (nlist, bytes)
    list_of : integer array of shape (up to n,), optional
        The lists of the first codes, where they are known; the other codes go to the list of
        the nearest centroid.

    Attributes
    ----------
    codes : uint8 array of shape (n, bytes), list behind list
    centroids : as given
    """

    def __init__(
        self, blocks: Blocks, centroids: Codes, list_of: NDArray[np.integer] | None = None
    ) -> None:
        self.centroids = np.ascontiguousarray(centroids)
        size, nlist = code_blocks.count(blocks), len(centroids)
        list_of = self._assign(blocks, list_of)
        sizes = np.zeros(nlist, np.int64)
        for first in range(0, size, code_blocks.BLOCK):
            sizes += np.bincount(list_of[first : first + code_blocks.BLOCK], minlength=nlist)
        # List i is in self.codes[starts[i] : starts[i + 1]].
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._period = max(size, 1)
        self._numbers = IncreasingIntegers(size, nlist * self._period)
        self.codes = np.empty((size, centroids.shape[1]), np.uint8)
        self._fill(blocks, list_of)

    def _assign(self, blocks: Blocks, known: NDArray[np.integer] | None) -> NDArray[np.integer]:
        """The list of each code, in the order of ids."""
        size, nlist = code_blocks.count(blocks), len(self.centroids)
        list_of = np.empty(size, np.min_scalar_type(nlist))
        done = 0
        if known is not None:
            done = len(known)
            list_of[:done] = known
        for first, codes in code_blocks.pieces(blocks):
            end = first + len(codes)
            if end > done:
                start = max(first, done)
                nearest = self._nearest_centroids(codes[start - first :], 1)
                list_of[start:end] = nearest[:, 0]
        return list_of

    def _fill(self, blocks: Blocks, list_of: NDArray[np.integer]) -> None:
        """Copy each code to its list, behind those that are there, and note its id."""
        nlist = len(self.centroids)
        free = self._starts[:-1].copy()  # the next free place of each list
        for first, codes in code_blocks.pieces(blocks):
            lists = list_of[first : first + len(codes)].astype(np.int64)
            order = np.argsort(lists, kind="stable")  # by list, in a list by id
            counts = np.bincount(lists, minlength=nlist)
            # Code order[j] is the one number j - first_of_list of this piece in its list.
            first_of_list = np.repeat(np.cumsum(counts) - counts, counts)
            places = np.repeat(free, counts) + np.arange(len(codes)) - first_of_list
            self.codes[places] = codes[order]
            self._numbers.set(places, lists[order] * self._period + first + order)
            free += counts
        self._numbers.finish()

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that codes, ids and lists take."""
        arrays = self.codes.nbytes + self.centroids.nbytes + self._starts.nbytes
        return arrays + self._numbers.nbytes

    def search(self, queries: Codes, k: int, nprobe: int) -> Neighbors:
        """The nearest codes in the lists of the ``nprobe`` nearest centroids.

        Parameters
        ----------
        queries : uint8 array of shape (m, bytes)
        k, nprobe : int

        Returns
        -------
        (distances, ids) : int64 arrays of shape (m, candidates), in no order; where a list is
        shorter than others, distance and id are -1.
        """
        nprobe = min(nprobe, len(self.centroids))
        probed = self._nearest_centroids(queries, nprobe)
        k = min(k, int(np.diff(self._starts)[probed].max()))
        distances = np.full((len(queries), nprobe, k), -1, np.int64)
        places = np.full((len(queries), nprobe, k), -1, np.int64)

        def search_lists(visits: list[_Visit]) -> None:
            for visit in visits:
                start, end = self._starts[visit.number : visit.number + 2].tolist()
                if start == end:
                    continue
                codes, rows, columns = self.codes[start:end], visit.queries, visit.probes
                nearest = faiss_knn.nearest(queries[rows], codes, min(k, len(codes)))
                width = nearest.ids.shape[1]
                distances[rows, columns, :width] = nearest.distances
                places[rows, columns, :width] = start + nearest.ids

        # One query is soonest done by one thread: to hand over Python's lock at each list
        # takes as long as to search it.
        visits = _visits(probed)
        threads = min(faiss_knn.threads(), len(queries))
        faiss_knn.in_threads(search_lists, [visits[i::threads] for i in range(threads)])
        ids = places
        ids[places >= 0] = self.ids(places[places >= 0])
        return Neighbors(distances.reshape(len(queries), -1), ids.reshape(len(queries), -1))

    def within(self, query: Codes, radius: int, k: int) -> Neighbors:
        """The k nearest codes within a radius of one query, (1, bytes), nearest first."""
        return code_blocks.within((self.codes,), query, radius, k, self.ids)

    def ids(self, places: NDArray[np.int64]) -> Ids:
        """Ids of the codes at these places of :attr:`codes`, an int64 array of shape (some,)."""
        parts = np.array_split(places, 1 + len(places) // IDS)
        return np.concatenate([self._numbers[part] % self._period for part in parts])

    def in_order(self) -> tuple[Codes, NDArray[np.integer]]:
        """Codes (n, bytes) in the order of their ids, and the list of each, (n,)."""
        codes = np.empty_like(self.codes)
        list_of = np.empty(len(self), np.min_scalar_type(len(self.centroids)))
        for first, numbers in self._numbers.pieces():
            lists, ids = np.divmod(numbers, self._period)
            codes[ids] = self.codes[first : first + len(ids)]
            list_of[ids] = lists
        return codes, list_of

    def _nearest_centroids(self, codes: Codes, count: int) -> NDArray[np.int64]:
        """The numbers of the nearest centroids of each code: (n, count)."""
        parts = min(faiss_knn.threads(), 1 + len(codes) // CODES_A_THREAD)
        nearest = faiss_knn.in_threads(
            lambda part: faiss_knn.nearest(part, self.centroids, count),
            np.array_split(codes, parts),
        )
        return base.concatenate(nearest).ids


@dataclasses.dataclass(frozen=True)
class _Visit:
    """A list that is to be searched, for all queries that probe it: they share one reading.

    ``queries`` and ``probes`` are int64 arrays of shape (pairs,): query queries[j] probes this
    list as number probes[j] of its nprobe lists.
    """

    number: int
    queries: NDArray[np.int64]
    probes: NDArray[np.int64]


def _visits(probed: NDArray[np.int64]) -> list[_Visit]:
    """The lists that are probed, int64 of shape (m, nprobe), each with the queries that probe it."""
    flat = probed.ravel()
    order = np.argsort(flat, kind="stable")
    numbers, firsts = np.unique(flat[order], return_index=True)
    visits = []
    for number, pairs in zip(numbers.tolist(), np.split(order, firsts[1:])):
        queries, probes = np.divmod(pairs, probed.shape[1])
        visits.append(_Visit(number, queries, probes))
    return visits


def train_centroids(blocks: Blocks, nlist: int) -> Codes:
    """Centroids for lists of codes, uint8 (nlist, bytes): k-means of a sample, by FAISS.

    There are fewer where there are less than TRAINING_CODES codes for each.
    """
    faiss = faiss_knn.import_faiss()
    bytes_ = blocks[0].shape[1]
    nlist = min(nlist, code_blocks.count(blocks) // TRAINING_CODES)
    if nlist < 2:  # nothing to choose among
        return blocks[0][:1].copy()
    quantizer = faiss.IndexBinaryFlat(8 * bytes_)
    index = faiss.IndexBinaryIVF(quantizer, 8 * bytes_, nlist)
    index.train(code_blocks.sample(blocks, TRAINING_CODES * nlist))
    return faiss.vector_to_array(quantizer.xb).reshape(-1, bytes_)
