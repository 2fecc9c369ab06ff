"""Packed codes in blocks, in the order of their ids.

``blocks`` is a tuple of uint8 arrays, each of shape (some, bytes): codes 0, 1, 2, ... count
through all of them. Codes are added by making a new tuple, so that a thread that searches the
old one is not disturbed, and codes that are there are not copied.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from dnnh.evaluation import ranking
from dnnh.retrieval.engines.base import Neighbors

Blocks = tuple[NDArray[np.uint8], ...]

BLOCK = 1 << 20  # codes that are worked on at a time


def count(blocks: Blocks) -> int:
    """How many codes there are."""
    return sum(len(block) for block in blocks)


def append(blocks: Blocks, codes: NDArray[np.uint8]) -> Blocks:
    """Blocks with more codes behind them. A small last block is joined with them."""
    if not len(codes):
        return blocks
    if blocks and len(blocks[-1]) + len(codes) <= BLOCK:
        return (*blocks[:-1], np.concatenate([blocks[-1], codes]))
    return (*blocks, codes)


def pieces(blocks: Blocks, size: int | None = None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield (first id, codes), at most ``size`` codes (default: BLOCK) at a time."""
    size = size or BLOCK
    first = 0
    for block in blocks:
        for start in range(0, len(block), size):
            yield first + start, block[start : start + size]
        first += len(block)


def sample(blocks: Blocks, size: int) -> NDArray[np.uint8]:
    """``size`` codes drawn at random, or all where there are fewer, in their order."""
    total = count(blocks)
    rows = np.random.default_rng(0).choice(total, min(total, size), replace=False)
    rows.sort()
    chosen, start = [], 0
    for block in blocks:
        end = start + len(block)
        chosen.append(block[rows[(start <= rows) & (rows < end)] - start])
        start = end
    return np.concatenate(chosen)


def within(
    blocks: Blocks,
    query: NDArray[np.uint8],
    radius: int,
    k: int,
    ids_of: Callable[[NDArray[np.int64]], NDArray[np.int64]],
) -> Neighbors:
    """The nearest codes within a radius of one query, nearest first.

    Parameters
    ----------
    blocks : tuple of uint8 arrays of shape (some, bytes)
    query : uint8 array of shape (1, bytes)
    radius, k : int
    ids_of : callable
        Gives the ids of codes by their places in the blocks.

    Returns
    -------
    (distances, ids) : int64 arrays of shape (at most k,)
    """
    nearest = Neighbors(np.zeros(0, np.int64), np.zeros(0, np.int64))
    for first, codes in pieces(blocks):
        for _, (of_piece,) in ranking.distances(query, codes):  # one query: one row
            near = np.flatnonzero(of_piece <= radius)
            found = Neighbors(of_piece[near].astype(np.int64), ids_of(first + near))
            nearest = nearest_first(nearest, found, k)
    return nearest


def nearest_first(some: Neighbors, others: Neighbors, k: int) -> Neighbors:
    """The k nearest of two parts of the neighbors of one query, equal distances by id."""
    distances = np.concatenate([some.distances, others.distances])
    ids = np.concatenate([some.ids, others.ids])
    order = np.lexsort((ids, distances))[:k]
    return Neighbors(distances[order], ids[order])
