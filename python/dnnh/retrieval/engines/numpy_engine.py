"""Exact search in NumPy alone: every code is compared with every query."""

import numpy as np

from dnnh import packed_codes
from dnnh.evaluation import ranking
from dnnh.retrieval.engines import base, code_blocks
from dnnh.retrieval.engines.base import Codes, Neighbors
from dnnh.retrieval.engines.in_memory import InMemoryEngine

QUERIES = 16  # that are compared at a time
ID_BITS = 40  # of a sort key


class NumpyEngine(InMemoryEngine):
    """Codes in memory, searched exactly by NumPy.

    Parameters
    ----------
    bits : int
        q, the length of the codes.
    """

    def __init__(self, bits: int) -> None:
        super().__init__(bits, packed_codes.code_bytes(bits))

    def _search(self, blocks: code_blocks.Blocks, queries: Codes, k: int) -> Neighbors:
        return base.concatenate(
            [
                _nearest(blocks, queries[start : start + QUERIES], k)
                for start in range(0, len(queries), QUERIES)
            ]
        )


def _nearest(blocks: code_blocks.Blocks, queries: Codes, k: int) -> Neighbors:
    # Distance and id in one number, distance * 2^40 + id: its order is the order of neighbors.
    best = np.zeros((len(queries), 0), np.int64)
    for first, codes in code_blocks.pieces(blocks):
        distances = np.concatenate([part for _, part in ranking.distances(queries, codes)])
        ids = np.arange(first, first + len(codes))
        keys = (distances.astype(np.int64) << ID_BITS) + ids
        if len(codes) > k:
            keys = np.partition(keys, k - 1, axis=1)[:, :k]
        best = np.sort(np.concatenate([best, keys], axis=1), axis=1)[:, :k]
    return Neighbors(best >> ID_BITS, best & ((1 << ID_BITS) - 1))
