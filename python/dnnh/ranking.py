"""Hamming ranking: distances between packed codes, and orders of a database.

Codes are packed as in a codes file: uint8 of shape (n, ceil(q / 8)), bit i of a
code in byte i // 8 at position i % 8, least significant first, unused bits 0.
"""

import numpy as np

BLOCK_BYTES = 1 << 23     # working memory for one block of distances


def pack(bits):
    """Pack codes.

    Parameters
    ----------
    bits : array of shape (n, q), of 0 and 1 or of bool

    Returns
    -------
    uint8 array of shape (n, ceil(q / 8)).
    """
    return np.packbits(np.asarray(bits, dtype=bool), axis=1, bitorder="little")


def unpack(codes, bits):
    """The inverse of :func:`pack`: uint8 array of 0 and 1, shape (n, bits)."""
    return np.unpackbits(codes, axis=1, count=bits, bitorder="little")


def padded(codes, width):
    """Packed codes in ``width`` bytes each, zeros behind them: uint8 (n, width), in C order.

    The very codes, if they have as many bytes.
    """
    if codes.shape[1] == width:
        return np.ascontiguousarray(codes)
    wider = np.zeros((len(codes), width), np.uint8)
    wider[:, :codes.shape[1]] = codes
    return wider


def words(codes):
    """Packed codes as uint64 of shape (n, ceil(q / 64)), zeros behind them."""
    return padded(codes, -(-codes.shape[1] // 8) * 8).view(np.uint64)


def distances(queries, database):
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
    query_words, database_words = words(queries), words(database)
    rows = max(1, BLOCK_BYTES // (8 * max(1, len(database))))
    for first in range(0, len(queries), rows):
        block = np.zeros((min(rows, len(queries) - first), len(database)), np.uint8)
        for w in range(query_words.shape[1]):
            block += np.bitwise_count(
                query_words[first:first + rows, w, np.newaxis]
                ^ database_words[np.newaxis, :, w])
        yield first, block


def order(row):
    """The database in order of distance, equal distances in database order.

    Parameters
    ----------
    row : uint8 array of shape (n,)

    Returns
    -------
    int64 array of shape (n,), indices into the database.
    """
    return np.argsort(row, kind="stable")     # a radix sort for uint8
