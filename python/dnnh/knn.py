"""Nearest packed codes by FAISS (Douze et al., "The Faiss library", 2024), on threads of Python's.

FAISS's own threads share out queries, so that one alone would have one thread; and they wait
for more work in a loop, while others could use the processor.
"""

import concurrent.futures

import numpy as np

from dnnh.errors import UserError


def nearest(queries, codes, top):
    """The nearest codes of each query, on the thread that calls.

    Parameters
    ----------
    queries : uint8 array of shape (m, bytes), in C order
    codes : uint8 array of shape (n, bytes), in C order
    top : int
        At most n.

    Returns
    -------
    (distances, places) : int64 arrays of shape (m, top); equal distances by place
    """
    faiss = import_faiss()
    others = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)           # for the thread that calls
    try:
        distances, places = faiss.knn_hamming(queries, codes, top)
    finally:
        faiss.omp_set_num_threads(others)
    return distances.astype(np.int64), places


def threads():
    """How many threads FAISS would have."""
    return import_faiss().omp_get_max_threads()


def in_threads(function, items):
    """A list of what ``function`` gives for each item, by as many threads as FAISS would have.

    One item is done by the thread that calls.
    """
    items = list(items)
    if len(items) == 1:
        return [function(items[0])]
    with concurrent.futures.ThreadPoolExecutor(threads()) as pool:
        return list(pool.map(function, items))


def import_faiss():
    """FAISS.

    Raises
    ------
    UserError
        If it is not here.
    """
    try:
        import faiss
    except ImportError as error:
        raise UserError("the engines 'flat' and 'ivf' are FAISS, which is not here; install "
                        "it with '.venv/bin/pip install -e .[search]'") from error
    return faiss
