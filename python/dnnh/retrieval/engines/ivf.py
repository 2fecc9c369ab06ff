"""Approximate search that reads a part of the codes only: an inverted file (IVF)."""

import dataclasses
import threading

import numpy as np
from numpy.typing import NDArray

from dnnh import packed_codes
from dnnh.errors import UserError
from dnnh.retrieval.engines import base, code_blocks, faiss_flat, faiss_knn
from dnnh.retrieval.engines.base import Codes, Neighbors
from dnnh.retrieval.engines.code_blocks import Blocks
from dnnh.retrieval.engines.inverted_lists import InvertedLists, train_centroids

NLIST = 512
NPROBE = 24
MAX_NLIST = 1 << 16
RECENT_SHARE = 8  # codes in lists, for each that may have been added since
CANDIDATES = 1 << 22  # of all queries and lists, that are held at a time


@dataclasses.dataclass(frozen=True)
class StoredCodes:
    """The codes of an IvfEngine: those in lists, and behind them those added since.

    ``lists`` is None before the first search. Ids count through the lists first.
    """

    lists: InvertedLists | None = None
    recent: Blocks = ()

    def __len__(self) -> int:
        return self.listed + code_blocks.count(self.recent)

    @property
    def listed(self) -> int:
        """How many codes are in lists."""
        return 0 if self.lists is None else len(self.lists)


class IvfEngine:
    """Codes in lists around centroids, of which a search reads a few; by FAISS's parts.

    Parameters
    ----------
    bits : int
        q, the length of the codes.
    nlist, nprobe : int
        Into how many lists codes are put, and how many of these a query probes. More lists
        are faster, but 256 more take a bit more for each code; more probed lists miss less.
        ``nprobe`` is an attribute that may be changed at any time.

    Notes
    -----
    The first search puts codes into lists. Codes that are added later are all compared, until
    they are an eighth of the others: then the next search puts them into lists, too, and finds
    new centroids once there are twice as many codes. That takes a minute for 100 million codes,
    which are there three times meanwhile.

    Any number of threads may search while one adds.
    """

    def __init__(self, bits: int, nlist: int = NLIST, nprobe: int = NPROBE) -> None:
        packed_codes.check_bits(bits)
        if not 1 <= nlist <= MAX_NLIST:
            raise UserError(f"nlist is {nlist}; it must be from 1 to {MAX_NLIST:,}")
        self.bits, self.nlist, self.nprobe = bits, nlist, nprobe
        self._stored_bytes = faiss_knn.stored_bytes(bits)
        # Replaced as a whole, and only under the lock: a thread that searches takes lists and
        # recent codes at once, and is not disturbed by what comes later.
        self._stored = StoredCodes()
        self._replacing = threading.Lock()

    @property
    def nprobe(self) -> int:
        return self._nprobe

    @nprobe.setter
    def nprobe(self, nprobe: int) -> None:
        if not 1 <= nprobe <= self.nlist:
            raise UserError(
                f"nprobe is {nprobe}; with {self.nlist} lists it must be from 1 to that"
            )
        self._nprobe = nprobe

    def __len__(self) -> int:
        return len(self._stored)

    @property
    def stored(self) -> StoredCodes:
        """The codes as they are stored now."""
        return self._stored

    def add(self, codes: Codes) -> None:
        """Add codes, uint8 of shape (n, ceil(q / 8)); ids continue from the last one.

        They may be kept as they are, without a copy: do not change them afterwards.

        Raises
        ------
        UserError
            If they are not codes of this length.
        """
        codes = packed_codes.pad(base.check_codes(codes, self.bits), self._stored_bytes)
        with self._replacing:
            recent = code_blocks.append(self._stored.recent, codes)
            self._stored = StoredCodes(self._stored.lists, recent)

    def restore_lists(self, lists: InvertedLists) -> None:
        """Put codes into an empty engine that are in lists already, as a file has them."""
        with self._replacing:
            if len(self._stored):
                raise ValueError("the engine has codes already")
            self._stored = StoredCodes(lists)

    def search(self, queries: Codes, k: int = 10) -> Neighbors:
        """The nearest codes of each query that are found: see :meth:`.base.Engine.search`."""
        queries, k = base.check_request(queries, k, self.bits, len(self))
        if not k or not len(queries):
            return base.no_neighbors(queries, k)
        queries = packed_codes.pad(queries, self._stored_bytes)
        stored, nprobe = self._put_into_lists(), self.nprobe
        at_once = max(1, CANDIDATES // (nprobe * k))  # queries
        return base.concatenate(
            [
                _search(stored, queries[start : start + at_once], k, nprobe)
                for start in range(0, len(queries), at_once)
            ]
        )

    def within(self, query: NDArray[np.uint8], radius: int, k: int) -> Neighbors:
        """The nearest codes within a radius of one query: see :meth:`.base.Engine.within`."""
        stored = self._stored
        query, k = base.check_request(base.check_query(query, self.bits), k, self.bits, len(stored))
        query = packed_codes.pad(query, self._stored_bytes)
        recent = code_blocks.within(
            stored.recent, query, radius, k, lambda ids: stored.listed + ids
        )
        if stored.lists is None:
            return recent
        return code_blocks.nearest_first(recent, stored.lists.within(query, radius, k), k)

    def _put_into_lists(self) -> StoredCodes:
        """The codes, with all of them in lists but for few that were added since."""
        with self._replacing:
            lists, recent = self._stored.lists, self._stored.recent
            new = code_blocks.count(recent)
            if new > self._stored.listed:
                blocks = recent if lists is None else (lists.in_order()[0], *recent)
                lists = InvertedLists(blocks, train_centroids(blocks, self.nlist))
            elif lists is not None and RECENT_SHARE * new > len(lists):
                codes, list_of = lists.in_order()
                lists = InvertedLists((codes, *recent), lists.centroids, list_of)
            else:
                return self._stored
            self._stored = StoredCodes(lists)
            return self._stored


def _search(stored: StoredCodes, queries: Codes, k: int, nprobe: int) -> Neighbors:
    """The nearest codes of some queries, padded with distance and id -1 to k of them."""
    not_found = np.full((len(queries), k), faiss_flat.NOT_FOUND)
    parts = [Neighbors(not_found, not_found)]
    if stored.recent:
        parts.append(faiss_flat.candidates(stored.recent, queries, k, stored.listed))
    if stored.lists is not None:
        parts.append(stored.lists.search(queries, k, nprobe))
    return faiss_flat.nearest_of(parts, k)
