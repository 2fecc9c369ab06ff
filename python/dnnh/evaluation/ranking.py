"""Hamming ranking: distances between packed codes, and orders of a database."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from dnnh import packed_codes

BLOCK_BYTES = 1 << 23  # working memory for one block of distances


def distances(
    queries: NDArray[np.uint8], database: NDArray[np.uint8]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Hamming distances.

    Parameters
    ----------
    queries : uint8 array of shape (m, bytes), packed codes
    database : uint8 array of shape (n, bytes)

    Yields
    ------
    (first, block) : block is a uint8 array of shape (some queries, n): the
        distances of queries ``first``, ``first + 1``, ... to the database. (A
        code of more than 255 bits would not fit.)
    """
    query_words, database_words = packed_codes.words(queries), packed_codes.words(database)
    rows = max(1, BLOCK_BYTES // (8 * max(1, len(database))))
    for first in range(0, len(queries), rows):
        block = np.zeros((min(rows, len(queries) - first), len(database)), np.uint8)
        for w in range(query_words.shape[1]):
            block += np.bitwise_count(
                query_words[first : first + rows, w, np.newaxis] ^ database_words[np.newaxis, :, w]
            )
        yield first, block


def weighted_distances(
    database: NDArray[np.uint8], weights: NDArray[np.float32]
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Weighted Hamming distances: the sum of the weights of the bits that differ.

    Parameters
    ----------
    database : uint8 array of shape (n, bytes), packed codes
    weights : float32 array of shape (q,)

    Returns
    -------
    function of a query's packed code, uint8 of shape (bytes,): its distances, float32 of
        shape (n,). Equal codes have equal distances.
    """
    by_byte = np.ascontiguousarray(database.T)
    # In double precision, so that equal sums of weights are equal distances in single precision.
    of_bits = np.zeros((len(by_byte), 8))
    of_bits.flat[: len(weights)] = weights
    bytes_as_bits = packed_codes.unpack(np.arange(256, dtype=np.uint8)[:, np.newaxis], 8)
    tables = of_bits @ bytes_as_bits.T.astype(np.float64)  # (bytes, 256)

    def distances_of(query: NDArray[np.uint8]) -> NDArray[np.float32]:
        total = np.zeros(len(database))
        for table, column, byte in zip(tables, by_byte, query):
            total += table[column ^ byte]
        return total.astype(np.float32)

    return distances_of


def order(row: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.int64]:
    """The database in order of distance, equal distances in database order.

    Parameters
    ----------
    row : uint8 or float32 array of shape (n,)

    Returns
    -------
    int64 array of shape (n,), indices into the database.
    """
    return np.argsort(row, kind="stable")  # a radix sort for uint8
