"""Nearest codes by Hamming distance.

    index = search.Index(bits=48)
    index.add(codes)                                   # packed, uint8 (n, 6)
    distances, ids = index.search(queries, top=10)
    index.save("index.h5"); search.Index.load("index.h5")

Three engines: ``numpy``, exact; ``flat``, exact, and ``ivf``, which looks at a part of the
codes only, by FAISS (Douze et al., "The Faiss library", 2024), for large collections.
"""

import h5py
import numpy as np

from dnnh import codes as codes_files
from dnnh import paths, ranking
from dnnh.errors import UserError

ENGINES = ("numpy", "flat", "ivf")
BLOCK = 1 << 20            # codes that are compared at a time, by NumPy
LISTS, PROBED = 1024, 8    # of the engine `ivf`: groups of codes, and how many are looked at
TRAIN = 64                 # codes that groups are found from, for each


class Index:
    """Codes that can be searched.

    Parameters
    ----------
    bits : int
        q, the length of the codes.
    engine : str
        One of ENGINES.
    lists, probed : int
        Of ``ivf``: into how many groups codes are put, and how many of them are looked
        at for a query. More lists are faster, more probed ones miss less.
    """

    def __init__(self, bits, engine="numpy", lists=LISTS, probed=PROBED):
        if not 1 <= bits <= codes_files.MAX_BITS:
            raise UserError(f"{bits} bits: codes have 1 to {codes_files.MAX_BITS} bits")
        if engine not in ENGINES:
            raise UserError(f"unknown engine '{engine}'; known ones: " + ", ".join(ENGINES))
        if not 1 <= probed <= lists:
            raise UserError(f"{probed} of {lists} lists are to be probed; probe at least 1, "
                            "and no more than there are")
        self.bits, self.engine, self.lists, self.probed = bits, engine, lists, probed
        self._codes = np.zeros((0, self.width), np.uint8)
        self._faiss = None

    @property
    def width(self):
        """Bytes of a code."""
        return -(-self.bits // 8)

    def __len__(self):
        return len(self._codes)

    def add(self, codes):
        """Add codes, uint8 of shape (n, ceil(q / 8)); their ids go on counting.

        Raises
        ------
        UserError
            If they are not of this length.
        """
        codes = self._checked(codes)
        self._codes = codes if not len(self) else np.concatenate([self._codes, codes])
        self._faiss = None

    def search(self, queries, top=10):
        """The nearest codes of each query.

        Parameters
        ----------
        queries : uint8 array of shape (m, ceil(q / 8))
        top : int
            How many; fewer where there are fewer.

        Returns
        -------
        (distances, ids) : int64 arrays of shape (m, min(top, n)), nearest first, equal
        distances in the order of their ids. By ``ivf`` some may be missed, and where too
        few are found the rest have distance and id -1.

        Raises
        ------
        UserError
            If the queries are not of this length, or nothing is asked for.
        """
        queries = self._checked(queries)
        if top < 1:
            raise UserError(f"the top {top} were asked for; ask for at least 1")
        top = min(top, len(self))
        if not top or not len(queries):
            return (np.zeros((len(queries), top), np.int64),) * 2
        if self.engine == "numpy":
            return self._nearest(queries, top)
        distances, ids = self._engine().search(self._padded(queries), top)
        distances = np.where(ids < 0, -1, distances).astype(np.int64)
        # Equal distances by id; what was not found comes last.
        order = np.lexsort((ids, np.where(ids < 0, 1 << 30, distances)))
        return tuple(np.take_along_axis(found, order, axis=1)
                     for found in (distances, ids.astype(np.int64)))

    def within(self, query, radius):
        """All codes within a radius of one query, exactly.

        Parameters
        ----------
        query : uint8 array of shape (ceil(q / 8),)
        radius : int

        Returns
        -------
        (distances, ids) : int64 arrays of shape (found,), ordered as by :meth:`search`
        """
        query = self._checked(np.atleast_2d(query))
        found = [self._distances(query, start)[0] for start in range(0, len(self), BLOCK)]
        distances = np.concatenate(found or [np.zeros(0, np.uint8)])
        ids = np.flatnonzero(distances <= radius)
        order = np.argsort(distances[ids], kind="stable")
        return distances[ids][order].astype(np.int64), ids[order]

    def save(self, path):
        """Write the codes and what is known of them; whole, or not at all."""
        with paths.hdf5_written_whole(path, self._codes.nbytes) as file:
            file["codes"] = self._codes
            for name in ("bits", "engine", "lists", "probed"):
                file.attrs[name] = getattr(self, name)

    @classmethod
    def load(cls, path, engine=None):
        """Read an index that :meth:`save` wrote; with another engine, if one is named.

        Raises
        ------
        UserError
            If there is none.
        """
        try:
            with h5py.File(path, "r") as file:
                index = cls(int(file.attrs["bits"]), engine or str(file.attrs["engine"]),
                            int(file.attrs["lists"]), int(file.attrs["probed"]))
                index.add(file["codes"][:])
        except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError,
                OverflowError, MemoryError) as error:
            raise UserError(f"{path} is not an index ({error}); make it again") from error
        return index

    def _checked(self, codes):
        codes = np.asarray(codes)
        if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != self.width:
            raise UserError(f"codes are {codes.dtype} of shape {codes.shape}; this index has "
                            f"{self.bits} bits: uint8 of shape (n, {self.width})")
        spare = 8 * self.width - self.bits
        if spare and (codes[:, -1] >> (8 - spare)).any():
            raise UserError(f"codes have ones beyond bit {self.bits}; they are of another "
                            "length, or not packed as dnnh.ranking packs them")
        return codes

    def _distances(self, queries, start):
        block = self._codes[start:start + BLOCK]
        return np.concatenate([part for _, part in ranking.distances(queries, block)])

    def _nearest(self, queries, top):
        best = np.zeros((len(queries), 0), np.int64)          # distance * 2^40 + id
        for start in range(0, len(self), BLOCK):
            distances = self._distances(queries, start).astype(np.int64)
            keys = (distances << 40) + np.arange(start, start + distances.shape[1])
            if keys.shape[1] > top:
                keys = np.partition(keys, top - 1, axis=1)[:, :top]
            best = np.sort(np.concatenate([best, keys], axis=1), axis=1)[:, :top]
        return best >> 40, best & ((1 << 40) - 1)

    def _padded(self, codes):
        """Codes of as many bytes as FAISS is fast with: 2, 4, or a multiple of 8."""
        width = next(width for width in (2, 4, 8 * -(-self.width // 8))
                     if width >= self.width)
        padded = np.zeros((len(codes), width), np.uint8)
        padded[:, :self.width] = codes
        return padded

    def _engine(self):
        if self._faiss is None:
            faiss = _import_faiss()
            padded = self._padded(self._codes)
            self._faiss = faiss.IndexBinaryFlat(8 * padded.shape[1])
            if self.engine == "ivf":
                lists = max(1, min(self.lists, len(self) // TRAIN))
                self._quantizer = self._faiss              # FAISS does not keep it alive
                self._faiss = faiss.IndexBinaryIVF(self._quantizer, 8 * padded.shape[1],
                                                   lists)
                self._faiss.nprobe = min(self.probed, lists)
                rng = np.random.default_rng(0)
                rows = rng.choice(len(self), min(len(self), TRAIN * lists), replace=False)
                self._faiss.train(padded[np.sort(rows)])
            self._faiss.add(padded)
        return self._faiss


def _import_faiss():
    try:
        import faiss
    except ImportError as error:
        raise UserError("the engines 'flat' and 'ivf' are FAISS, which is not here; install "
                        "it with '.venv/bin/pip install -e .[search]'") from error
    return faiss
