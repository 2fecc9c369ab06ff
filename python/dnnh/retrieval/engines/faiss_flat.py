"""Exact search by FAISS: every code is compared with every query."""

import numpy as np

from dnnh.retrieval.engines import code_blocks, faiss_knn
from dnnh.retrieval.engines.base import Codes, Neighbors
from dnnh.retrieval.engines.in_memory import InMemoryEngine

NOT_FOUND = -1  # id and distance where an engine finds too few
FARTHEST = 1 << 30  # sorts behind every distance


class FaissFlatEngine(InMemoryEngine):
    """Codes in memory, searched exactly by FAISS.

    FAISS's IndexBinaryFlat would hold a second copy of the codes, so that its function for
    brute-force search is called here.

    Parameters
    ----------
    bits : int
        q, the length of the codes.
    """

    def __init__(self, bits: int) -> None:
        super().__init__(bits, faiss_knn.stored_bytes(bits))

    def _search(self, blocks: code_blocks.Blocks, queries: Codes, k: int) -> Neighbors:
        return nearest_of([candidates(blocks, queries, k)], k)


def candidates(blocks: code_blocks.Blocks, queries: Codes, k: int, first_id: int = 0) -> Neighbors:
    """The nearest codes in each part of the blocks: all that can be among the k nearest.

    Parameters
    ----------
    blocks : tuple of uint8 arrays of shape (some, bytes), not empty
    queries : uint8 array of shape (m, bytes)
    k : int
    first_id : int
        The id of the first code.

    Returns
    -------
    (distances, ids) : int64 arrays of shape (m, candidates), part behind part
    """

    def nearest_in(piece: tuple[int, Codes]) -> Neighbors:
        first, codes = piece
        distances, places = faiss_knn.nearest(queries, codes, min(k, len(codes)))
        return Neighbors(distances, first_id + first + places)

    part = -(-code_blocks.count(blocks) // faiss_knn.threads())  # codes for each thread
    parts = faiss_knn.in_threads(nearest_in, code_blocks.pieces(blocks, part))
    return side_by_side(parts)


def side_by_side(parts: list[Neighbors]) -> Neighbors:
    """Candidates of the same queries from several places, as one: (m, all candidates)."""
    return Neighbors(
        np.concatenate([part.distances for part in parts], axis=1),
        np.concatenate([part.ids for part in parts], axis=1),
    )


def nearest_of(parts: list[Neighbors], k: int) -> Neighbors:
    """The k nearest candidates of each query, equal distances by id, NOT_FOUND last."""
    distances, ids = side_by_side(parts)
    by_distance = np.where(ids == NOT_FOUND, FARTHEST, distances)
    order = np.lexsort((ids, by_distance))[:, :k]
    return Neighbors(
        np.take_along_axis(distances, order, axis=1), np.take_along_axis(ids, order, axis=1)
    )
