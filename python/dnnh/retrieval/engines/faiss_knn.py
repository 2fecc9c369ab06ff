"""Nearest packed codes by FAISS (Douze et al., "The Faiss library", 2024), on Python's threads.

FAISS's own threads share out queries, so that one alone would have one thread; and they wait
for more work in a loop, while others could use the processor.
"""

import concurrent.futures
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dnnh import packed_codes
from dnnh.errors import UserError
from dnnh.retrieval.engines.base import Neighbors

Item = TypeVar("Item")
Result = TypeVar("Result")


def stored_bytes(bits: int) -> int:
    """Bytes of a code for which FAISS is fast: 2, 4, or a multiple of 8."""
    needed = packed_codes.code_bytes(bits)
    if needed <= 2:
        return 2
    if needed <= 4:
        return 4
    return -(-needed // 8) * 8


def nearest(queries: NDArray[np.uint8], codes: NDArray[np.uint8], k: int) -> Neighbors:
    """The nearest codes of each query, on the thread that calls.

    Parameters
    ----------
    queries : uint8 array of shape (m, bytes), in C order
    codes : uint8 array of shape (n, bytes), in C order
    k : int
        At most n.

    Returns
    -------
    (distances, ids) : int64 arrays of shape (m, k); ids are places in ``codes``, equal
    distances in their order
    """
    faiss = import_faiss()
    threads_before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # for the thread that calls
    try:
        distances, places = faiss.knn_hamming(queries, codes, k)
    finally:
        faiss.omp_set_num_threads(threads_before)
    return Neighbors(distances.astype(np.int64), places)


def threads() -> int:
    """How many threads FAISS would have."""
    return import_faiss().omp_get_max_threads()


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """A list of what ``function`` returns for each item, by as many threads as FAISS would have.

    One item is done by the thread that calls.
    """
    items = list(items)
    if len(items) == 1:
        return [function(items[0])]
    with concurrent.futures.ThreadPoolExecutor(threads()) as pool:
        return list(pool.map(function, items))


def import_faiss() -> Any:
    """FAISS.

    Raises
    ------
    UserError
        If it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            "the engines 'flat' and 'ivf' need FAISS, which is not installed; install "
            "it with '.venv/bin/pip install -e .[search]'"
        ) from error
    return faiss
