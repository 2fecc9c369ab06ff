"""Exact search in Milvus (Wang et al., SIGMOD 2021), a server for searches online.

The same calls whether Milvus is a file on this machine (Milvus Lite) or a server by its
address.
"""

import contextlib
import hashlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh.errors import UserError
from dnnh.retrieval.engines import base
from dnnh.retrieval.engines.base import Codes, Neighbors

MAX_NEIGHBORS = 16_384  # that Milvus returns for one query
ROWS = 10_000  # that are inserted at a time
QUERIES = 100  # that are sent at a time
TIMEOUT = 60  # seconds that Milvus has to answer these


class MilvusEngine:
    """Codes in Milvus, searched exactly (BIN_FLAT).

    Codes are inserted once: opening the same codes at the same address again finds them there.
    They stay until somebody drops the Milvus collection, which is called
    ``dnnh_<bits>_<digest of the codes>``.

    Parameters
    ----------
    codes : uint8 array of shape (n, ceil(q / 8))
    bits : int
    address : str
        ``http://host:19530``, or the path of a file, ``*.db``, for Milvus Lite.

    Raises
    ------
    UserError
        If PyMilvus is not installed, Milvus cannot be reached, or another process inserts
        the same codes at this moment.
    """

    def __init__(self, codes: Codes, bits: int, address: str) -> None:
        self._milvus = _import_pymilvus()
        codes = base.check_codes(codes, bits)
        self.bits = bits
        self._size = len(codes)
        self._address = address
        self._name = f"dnnh_{bits}_{hashlib.sha256(codes.data).hexdigest()[:32]}"
        try:
            with contextlib.ExitStack() as opened:
                self._client = self._milvus.MilvusClient(uri=address, timeout=TIMEOUT)
                opened.callback(self._client.close)
                self._insert_if_absent(codes)
                opened.pop_all()
        except (self._milvus.MilvusException, ValueError) as error:
            raise UserError(
                f"Milvus at {address}: {error}; name a server that runs, "
                "http://host:19530, or a file, codes.db"
            ) from error

    def _insert_if_absent(self, codes: Codes) -> None:
        if self._count() == len(codes):
            return
        self._insert(codes)  # also where a collection was left incomplete
        if self._count() != len(codes):
            raise UserError(
                f"Milvus at {self._address} has {self._count():,} codes in '{self._name}' "
                f"and should have {len(codes):,}; does another process insert them? "
                "Try again"
            )

    def close(self) -> None:
        """Close the connection; the codes stay in Milvus."""
        self._client.close()

    def _count(self) -> int:
        """How many codes are there; 0 where the collection does not exist or is incomplete."""
        client = self._client
        if not client.has_collection(self._name) or not client.list_indexes(self._name):
            return 0  # without an index: the process was killed before that
        client.load_collection(self._name)
        rows = client.query(self._name, output_fields=["count(*)"], consistency_level="Strong")
        return rows[0]["count(*)"]

    def _insert(self, codes: Codes) -> None:
        client = self._client
        client.drop_collection(self._name)
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", self._milvus.DataType.INT64, is_primary=True)
        schema.add_field("code", self._milvus.DataType.BINARY_VECTOR, dim=8 * codes.shape[1])
        index_params = client.prepare_index_params()
        index_params.add_index("code", index_type="BIN_FLAT", metric_type="HAMMING")
        client.create_collection(
            self._name, schema=schema, index_params=index_params, consistency_level="Strong"
        )
        for start in range(0, len(codes), ROWS):
            rows = [
                {"id": id, "code": code.tobytes()}
                for id, code in enumerate(codes[start : start + ROWS], start)
            ]
            client.insert(self._name, rows)

    def __len__(self) -> int:
        return self._size

    def search(self, queries: Codes, k: int = 10) -> Neighbors:
        """The nearest codes of each query: see :meth:`.base.Engine.search`.

        Where more than MAX_NEIGHBORS codes are as near as the last neighbor, Milvus chooses
        among them.

        Raises
        ------
        UserError
            If the queries are not codes of this length, or k is below 1 or above MAX_NEIGHBORS.
        ConnectionError
            If Milvus does not answer, or cannot.
        """
        queries, k = base.check_request(queries, k, self.bits, len(self))
        if k > MAX_NEIGHBORS:
            raise UserError(f"k is {k}; Milvus returns at most {MAX_NEIGHBORS} neighbors")
        if not k or not len(queries):
            return base.no_neighbors(queries, k)
        limit = min(2 * k, MAX_NEIGHBORS, len(self))
        neighbors = np.concatenate(
            [
                self._nearest(queries[start : start + QUERIES], k, limit)
                for start in range(0, len(queries), QUERIES)
            ]
        )
        return Neighbors(neighbors[..., 0], neighbors[..., 1])

    def within(self, query: NDArray[np.uint8], radius: int, k: int) -> Neighbors:
        """The nearest codes within a radius of one query: see :meth:`.base.Engine.within`."""
        return base.cut_at(radius, self.search(base.check_query(query, self.bits), k))

    def _nearest(self, queries: Codes, k: int, limit: int) -> NDArray[np.int64]:
        """The k nearest codes of each query, int64 (m, k, 2): distance and id.

        Milvus returns equal distances in any order. So it is asked for ``limit`` codes, more
        than k, and for still more where the last of these is not farther than number k.
        """
        hits = self._request(queries, limit)
        most = min(MAX_NEIGHBORS, len(self))
        nearest = hits[:, :k]
        tied = hits[:, -1, 0] == hits[:, k - 1, 0]
        if limit < most and tied.any():
            nearest[tied] = self._nearest(queries[tied], k, min(4 * limit, most))
        return nearest

    def _request(self, queries: Codes, limit: int) -> NDArray[np.int64]:
        """What Milvus returns, sorted by distance and id: int64 (m, limit, 2)."""
        import grpc  # PyMilvus depends on it

        try:
            results = self._client.search(
                self._name,
                [query.tobytes() for query in queries],
                limit=limit,
                search_params={"metric_type": "HAMMING"},
                timeout=TIMEOUT,
            )
        except (self._milvus.MilvusException, grpc.RpcError) as error:
            raise ConnectionError(f"Milvus at {self._address}: {error}") from error
        if [len(hits) for hits in results] != [limit] * len(queries):
            raise ConnectionError(
                f"Milvus at {self._address} returned fewer codes than '{self._name}' has; is it "
                "being written? Try again"
            )
        return np.array(
            [sorted((int(hit["distance"]), hit["id"]) for hit in hits) for hits in results],
            np.int64,
        )


def _import_pymilvus() -> Any:
    # gRPC's own handling of forks breaks whatever is started later, Spark's Java too.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    try:
        import pymilvus
    except ImportError as error:
        raise UserError(
            "the engine 'milvus' needs PyMilvus, which is not installed; install it "
            "with '.venv/bin/pip install -e .[milvus]'"
        ) from error
    return pymilvus
