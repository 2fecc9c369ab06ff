"""What a search engine is, and the checks that all engines share.

An engine holds packed codes (:mod:`dnnh.packed_codes`) and finds the nearest ones of a query by
Hamming distance. Codes are numbered 0, 1, 2, ... in the order in which they were added; such a
number is an id.

To add an engine, write a class with the members of :class:`Engine` in this folder. One of this
process goes into storage.ENGINES; another one is opened in dnnh.retrieval.retriever.open_index.
"""

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dnnh import packed_codes
from dnnh.errors import UserError

Codes = NDArray[np.uint8]
Ids = NDArray[np.int64]


class Neighbors(NamedTuple):
    """Distances and ids of neighbors: two int64 arrays of one shape."""

    distances: NDArray[np.int64]
    ids: Ids


class Engine(Protocol):
    """Codes that can be searched."""

    bits: int

    def __len__(self) -> int:
        """How many codes there are."""
        ...

    def search(self, queries: Codes, k: int = 10) -> Neighbors:
        """The nearest codes of each query.

        Parameters
        ----------
        queries : uint8 array of shape (m, ceil(q / 8))
        k : int
            How many; fewer where there are fewer codes.

        Returns
        -------
        (distances, ids) : int64 arrays of shape (m, min(k, n)), nearest first, equal
        distances in the order of their ids. An approximate engine may miss some; where it
        returns too few, the rest have distance and id -1.

        Raises
        ------
        UserError
            If the queries are not codes of this length, or k is below 1.
        """
        ...

    def within(self, query: NDArray[np.uint8], radius: int, k: int) -> Neighbors:
        """The nearest codes within a Hamming radius of one query, exactly.

        Parameters
        ----------
        query : uint8 array of shape (ceil(q / 8),)
        radius : int
        k : int
            How many, at most.

        Returns
        -------
        (distances, ids) : int64 arrays of shape (neighbors,), ordered as by :meth:`search`

        Raises
        ------
        UserError
            If the query is not a code of this length, or k is below 1.
        """
        ...


def check_codes(codes: ArrayLike, bits: int) -> Codes:
    """Codes to be added, checked: uint8 of shape (n, ceil(bits / 8)), or UserError."""
    return packed_codes.check(codes, bits, "the array of codes")


def check_request(queries: ArrayLike, k: int, bits: int, size: int) -> tuple[Codes, int]:
    """A search among ``size`` codes, checked: (queries, how many neighbors each has).

    Raises
    ------
    UserError
        If the queries are not codes of this length, or k is below 1.
    """
    if k < 1:
        raise UserError(f"k is {k}; ask for at least 1 neighbor")
    return packed_codes.check(queries, bits, "the array of queries"), min(k, size)


def cut_at(radius: int, nearest: Neighbors) -> Neighbors:
    """The nearest codes of one query, (1, k), that are within a radius: (neighbors,)."""
    near = nearest.distances[0] <= radius
    return Neighbors(nearest.distances[0][near], nearest.ids[0][near])


def check_query(query: ArrayLike, bits: int) -> Codes:
    """One packed code, (ceil(bits / 8),), checked, as an array of one: (1, ceil(bits / 8)).

    Raises
    ------
    UserError
        If it is not one code of this length.
    """
    query = np.asarray(query)
    if query.ndim != 1:
        raise UserError(f"one query is expected, an array of one axis, not of shape {query.shape}")
    return packed_codes.check(query[np.newaxis], bits, "the query")


def no_neighbors(queries: Codes, k: int) -> Neighbors:
    """The result where there is no query, or no code to find."""
    return Neighbors(np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k), np.int64))


def concatenate(parts: list[Neighbors]) -> Neighbors:
    """The results of some queries after another, for searches that take a part at a time."""
    return Neighbors(
        np.concatenate([part.distances for part in parts]),
        np.concatenate([part.ids for part in parts]),
    )
