"""Searching codes that are in Milvus (Wang et al., SIGMOD 2021), for searches online.

The same calls whether Milvus is a file on this machine (its embedded edition) or a server
by its address.
"""

import hashlib
import os

import numpy as np

from dnnh import search
from dnnh.errors import UserError

MOST = 16_384              # hits that Milvus gives for one query
ROWS = 10_000              # that are sent at a time
QUERIES = 100              # that are asked at a time
SECONDS = 60               # that Milvus has to answer these


class Index:
    """Codes in Milvus, searched exactly (BIN_FLAT); called as dnnh.search.Index is.

    Codes are filled in once: whoever opens the same codes at the same address again finds
    them there. They stay there until somebody drops the collection, which is called
    ``dnnh_<bits>_<digest of the codes>``.

    Parameters
    ----------
    codes : uint8 array of shape (n, ceil(q / 8))
    bits : int
    address : str
        ``http://host:19530``, or the path of a file, ``*.db``, for the embedded edition.

    Raises
    ------
    UserError
        If Milvus is not here, or cannot be reached, or somebody else fills in the same
        codes at this moment.
    """

    def __init__(self, codes, bits, address):
        # gRPC's own handling of forks breaks whatever is started later, Spark's Java too.
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
        try:
            import pymilvus
        except ImportError as error:
            raise UserError("the engine 'milvus' is PyMilvus, which is not here; install it "
                            "with '.venv/bin/pip install -e .[milvus]'") from error
        codes = search.checked(codes, bits)
        self._size, self.bits, self._address = len(codes), bits, address
        self._name = f"dnnh_{bits}_{hashlib.sha256(codes).hexdigest()[:32]}"
        self._milvus = pymilvus
        try:
            self._client = pymilvus.MilvusClient(uri=address, timeout=SECONDS)
            if self._count() != len(codes):    # one that was left half full, too
                self._fill(codes)
                if self._count() != len(codes):
                    raise UserError(f"Milvus at {address} has {self._count():,} codes in "
                                    f"'{self._name}' and should have {len(codes):,}; is "
                                    "somebody else filling it? Try again")
        except (pymilvus.MilvusException, ValueError) as error:
            raise UserError(f"Milvus at {address}: {error}; name a server that runs, "
                            "http://host:19530, or a file, codes.db") from error

    def close(self):
        self._client.close()

    def _count(self):
        """How many codes are there; 0 where the collection is not, or not whole."""
        if not self._client.has_collection(self._name):
            return 0
        try:
            self._client.load_collection(self._name)
        except self._milvus.MilvusException:
            return 0                           # it has no index: killed before that
        found, = self._client.query(self._name, output_fields=["count(*)"],
                                    consistency_level="Strong")
        return found["count(*)"]

    def _fill(self, codes):
        client = self._client
        client.drop_collection(self._name)
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", self._milvus.DataType.INT64, is_primary=True)
        schema.add_field("code", self._milvus.DataType.BINARY_VECTOR, dim=8 * codes.shape[1])
        by = client.prepare_index_params()
        by.add_index("code", index_type="BIN_FLAT", metric_type="HAMMING")
        client.create_collection(self._name, schema=schema, index_params=by,
                                 consistency_level="Strong")
        for start in range(0, len(codes), ROWS):
            client.insert(self._name, [
                {"id": id, "code": code.tobytes()}
                for id, code in enumerate(codes[start:start + ROWS], start)])

    def __len__(self):
        return self._size

    def search(self, queries, top=10):
        """The nearest codes of each query: see dnnh.search.Index.search.

        Equal distances are put in the order of ids; where more than MOST codes are as
        near as the last hit, which of them Milvus gives is its own choice. Raises
        ConnectionError, too, if Milvus does not answer, or cannot.
        """
        queries, top = search.request(queries, top, self.bits, len(self))
        if top > MOST:
            raise UserError(f"the top {top} were asked for; Milvus gives at most {MOST}")
        if not top or not len(queries):
            return search.nothing(queries, top)
        found = np.concatenate([
            self._nearest(queries[start:start + QUERIES], top, min(2 * top, MOST, len(self)))
            for start in range(0, len(queries), QUERIES)])
        return found[..., 0], found[..., 1]

    def within(self, query, radius):
        """The codes within a radius of one query, MOST of them at most: see
        dnnh.search.Index.within."""
        distances, ids = self.search(search.one(query, self.bits),
                                     min(MOST, len(self)) or 1)
        near = distances[0] <= radius
        return distances[0][near], ids[0][near]

    def _nearest(self, queries, top, limit):
        """int64 (m, top, 2), distances and ids; asks for more until the last is further."""
        import grpc                            # PyMilvus is made on it
        try:
            found = self._client.search(self._name, [query.tobytes() for query in queries],
                                        limit=limit, search_params={"metric_type": "HAMMING"},
                                        timeout=SECONDS)
        except (self._milvus.MilvusException, grpc.RpcError) as error:
            raise ConnectionError(f"Milvus at {self._address}: {error}") from error
        hits = np.array([sorted((int(hit["distance"]), hit["id"]) for hit in hits)
                         for hits in found], np.int64)
        tied = (hits[:, -1, 0] == hits[:, top - 1, 0]) & (limit < min(MOST, len(self)))
        best = hits[:, :top]
        if tied.any():
            best[tied] = self._nearest(queries[tied], top, min(4 * limit, MOST, len(self)))
        return best
