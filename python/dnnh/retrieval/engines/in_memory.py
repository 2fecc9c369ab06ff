"""What the exact engines of this process share: codes in memory, added and checked."""

import threading

import numpy as np
from numpy.typing import NDArray

from dnnh import packed_codes
from dnnh.retrieval.engines import base, code_blocks
from dnnh.retrieval.engines.base import Codes, Neighbors


class InMemoryEngine:
    """Codes in memory; a subclass says how they are searched.

    Any number of threads may search while one adds.

    Parameters
    ----------
    bits : int
        q, the length of the codes.
    stored_bytes : int
        Bytes of a code in memory: ceil(q / 8), or more, zeros behind it.
    """

    def __init__(self, bits: int, stored_bytes: int) -> None:
        packed_codes.check_bits(bits)
        self.bits = bits
        self._stored_bytes = stored_bytes
        self._blocks: code_blocks.Blocks = ()  # replaced as a whole: see code_blocks
        self._adding = threading.Lock()

    def __len__(self) -> int:
        return code_blocks.count(self._blocks)

    @property
    def blocks(self) -> code_blocks.Blocks:
        """All codes, in the order of their ids."""
        return self._blocks

    def add(self, codes: Codes) -> None:
        """Add codes, uint8 of shape (n, ceil(q / 8)); ids continue from the last one.

        They may be kept as they are, without a copy: do not change them afterwards.

        Raises
        ------
        UserError
            If they are not codes of this length.
        """
        codes = packed_codes.pad(base.check_codes(codes, self.bits), self._stored_bytes)
        with self._adding:
            self._blocks = code_blocks.append(self._blocks, codes)

    def search(self, queries: Codes, k: int = 10) -> Neighbors:
        """The nearest codes of each query: see :meth:`.base.Engine.search`."""
        blocks = self._blocks
        queries, k = base.check_request(queries, k, self.bits, code_blocks.count(blocks))
        if not k or not len(queries):
            return base.no_neighbors(queries, k)
        return self._search(blocks, packed_codes.pad(queries, self._stored_bytes), k)

    def within(self, query: NDArray[np.uint8], radius: int, k: int) -> Neighbors:
        """The nearest codes within a radius of one query: see :meth:`.base.Engine.within`."""
        return base.cut_at(radius, self.search(base.check_query(query, self.bits), k))

    def _search(self, blocks: code_blocks.Blocks, queries: Codes, k: int) -> Neighbors:
        """The nearest codes of each query; there is at least one, and at least k codes."""
        raise NotImplementedError
