"""Nearest codes by Hamming distance.

    index = search.Index(bits=48)
    index.add(codes)                                   # packed, uint8 (n, 6)
    distances, ids = index.search(queries, top=10)
    index.save("index.h5"); search.Index.load("index.h5")

Three engines: ``numpy``, exact; ``flat``, exact, and ``ivf``, which looks at a part of the
codes only, by FAISS (Douze et al., "The Faiss library", 2024), for large collections.
"""

import concurrent.futures
import threading

import h5py
import numpy as np

from dnnh import codes as codes_files
from dnnh import paths, ranking
from dnnh.errors import UserError

ENGINES = ("numpy", "flat", "ivf")
BLOCK, TOGETHER = 1 << 20, 16      # codes, and queries, that NumPy compares at a time
LISTS, PROBED = 1024, 32   # of the engine `ivf`: groups of codes, and how many are looked at
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
        at for a query. More lists are faster, more probed ones miss less. ``probed`` is
        an attribute that may be changed at any time.
    """

    def __init__(self, bits, engine="numpy", lists=LISTS, probed=PROBED):
        if not 1 <= bits <= codes_files.MAX_BITS:
            raise UserError(f"{bits} bits: codes have 1 to {codes_files.MAX_BITS} bits")
        if engine not in ENGINES:
            raise UserError(f"unknown engine '{engine}'; known ones: " + ", ".join(ENGINES))
        if lists < 1:
            raise UserError(f"{lists} lists: codes are put into at least 1")
        self.bits, self.engine, self.lists, self.probed = bits, engine, lists, probed
        self._alone = threading.Lock()         # while lists are filled
        # For FAISS codes have as many bytes as it is fast with: 2, 4, or a multiple of 8.
        self._width = self.width if engine == "numpy" else next(
            width for width in (2, 4, 8 * -(-self.width // 8)) if width >= self.width)
        self._blocks, self._size = [], 0       # the codes, in the order of their ids ...
        self._lists = None                     # ... or, once `ivf` is asked, all of them here

    @property
    def width(self):
        """Bytes of a code."""
        return -(-self.bits // 8)

    @property
    def probed(self):
        return self._probed

    @probed.setter
    def probed(self, probed):
        if not 1 <= probed <= self.lists:
            raise UserError(f"{probed} of {self.lists} lists are to be probed; probe at least "
                            "1, and no more than there are")
        self._probed = probed

    def __len__(self):
        return self._size

    def add(self, codes):
        """Add codes, uint8 of shape (n, ceil(q / 8)); their ids go on counting.

        They may be kept as they are, without a copy: do not change them afterwards.

        Raises
        ------
        UserError
            If they are not of this length.
        """
        codes = self._padded(checked(codes, self.bits))
        if self._lists:
            self._lists.add(codes)
        elif self._blocks and len(self._blocks[-1]) + len(codes) <= BLOCK:
            self._blocks[-1] = np.concatenate([self._blocks[-1], codes])
        else:
            self._blocks.append(codes)
        self._size += len(codes)

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
        queries, top = request(queries, top, self.bits, len(self))
        if not top or not len(queries):
            return nothing(queries, top)
        if self.engine == "numpy":
            parts = [self._nearest(queries[start:start + TOGETHER], top)
                     for start in range(0, len(queries), TOGETHER)]
            return tuple(map(np.concatenate, zip(*parts)))
        queries = self._padded(queries)
        distances, ids = (self._flat(queries, top) if self.engine == "flat"
                          else self._filled_lists().search(queries, top, self.probed))
        distances = np.where(ids < 0, -1, distances).astype(np.int64)
        # Equal distances by id; what was not found comes last.
        order = np.lexsort((ids, np.where(ids < 0, 1 << 30, distances)))[:, :top]
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

        Raises
        ------
        UserError
            If the query is not of this length.
        """
        query = self._padded(one(query, self.bits))
        if self._lists:
            distances, ids = self._lists.within(query, radius)
        else:
            distances = np.concatenate(
                [found[0] for _, found in self._distances(query)] or [np.zeros(0, np.uint8)])
            ids = np.flatnonzero(distances <= radius)
            distances = distances[ids]
        order = np.lexsort((ids, distances))
        return distances[order].astype(np.int64), ids[order]

    def save(self, path):
        """Write the codes and what is known of them; whole, or not at all."""
        with paths.hdf5_written_whole(path, self._size * (self.width + 8)) as file:
            for name in ("bits", "engine", "lists", "probed"):
                file.attrs[name] = getattr(self, name)
            blocks = self._blocks
            if self._lists:
                codes, file["list_of"], file["centroids"] = self._lists.parts()
                blocks = [codes]
            stored = file.create_dataset("codes", (self._size, self.width), np.uint8)
            start = 0
            for block in blocks:
                stored[start:start + len(block)] = block[:, :self.width]
                start += len(block)

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
                codes = checked(file["codes"][:], index.bits)
                if index.engine == "ivf" and "list_of" in file:
                    centroids = file["centroids"][:]
                    if centroids.dtype != np.uint8 or centroids.ndim != 2 or (
                            centroids.shape[1] != index._width):
                        raise ValueError(f"its centroids are {centroids.dtype} of shape "
                                         f"{centroids.shape}")
                    index._lists = _Lists(index._width, len(centroids), centroids)
                    index._lists.add(index._padded(codes), file["list_of"][:])
                    index._size = len(codes)
                else:
                    index.add(codes)
        except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError,
                OverflowError, MemoryError, UserError) as error:
            raise UserError(f"{path} is not an index ({error}); make it again") from error
        return index

    def _padded(self, codes):
        if self._width == codes.shape[1]:
            return np.ascontiguousarray(codes)
        padded = np.zeros((len(codes), self._width), np.uint8)
        padded[:, :codes.shape[1]] = codes
        return padded

    def _pieces(self, size):
        """Yield (first id, codes), ``size`` codes at most."""
        first = 0
        for block in self._blocks:
            for start in range(0, len(block), size):
                yield first + start, block[start:start + size]
            first += len(block)

    def _distances(self, queries):
        """Yield (first id, distances of all queries, uint8 (m, up to BLOCK))."""
        for first, codes in self._pieces(BLOCK):
            yield first, np.concatenate(
                [part for _, part in ranking.distances(queries, codes)])

    def _nearest(self, queries, top):
        best = np.zeros((len(queries), 0), np.int64)          # distance * 2^40 + id
        for first, distances in self._distances(queries):
            keys = (distances.astype(np.int64) << 40) + np.arange(
                first, first + distances.shape[1])
            if keys.shape[1] > top:
                keys = np.partition(keys, top - 1, axis=1)[:, :top]
            best = np.sort(np.concatenate([best, keys], axis=1), axis=1)[:, :top]
        return best >> 40, best & ((1 << 40) - 1)

    def _flat(self, queries, top):
        """The nearest of each piece, one after the other: (distances, ids).

        Pieces are for threads. FAISS itself shares out queries, and one alone would be
        searched by one thread; its own IndexBinaryFlat would also hold a second copy.
        """
        faiss = _import_faiss()
        threads = faiss.omp_get_max_threads()

        def nearest(piece):
            faiss.omp_set_num_threads(1)       # in this thread of Python's alone
            first, codes = piece
            distances, ids = faiss.knn_hamming(queries, codes, min(top, len(codes)))
            return distances, ids + first

        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(nearest, self._pieces(-(-len(self) // threads))))
        return tuple(np.concatenate(parts, axis=1) for parts in zip(*found))

    def _filled_lists(self):
        with self._alone:
            if not self._lists:
                lists = max(1, min(self.lists, len(self) // TRAIN))
                filled = _Lists(self._width, lists)
                filled.train(_sample(self._blocks, TRAIN * lists))
                for _, codes in self._pieces(BLOCK):
                    filled.add(codes)
                self._lists, self._blocks = filled, []
            return self._lists


class _Lists:
    """Codes in groups around centroids: FAISS's IndexBinaryIVF.

    Parameters
    ----------
    width : int
        Bytes of a code.
    lists : int
    centroids : uint8 array of shape (lists, width), optional
        Known before; else :meth:`train` finds them.
    """

    def __init__(self, width, lists, centroids=None):
        self._faiss = _import_faiss()
        self._quantizer = self._faiss.IndexBinaryFlat(8 * width)
        if centroids is not None:
            self._quantizer.add(np.ascontiguousarray(centroids))
        # FAISS does not keep the quantizer alive: it is an attribute here.
        self._index = self._faiss.IndexBinaryIVF(self._quantizer, 8 * width, lists)
        self._index.is_trained = centroids is not None
        self._alone = threading.Lock()         # how many lists are probed is the index's

    def train(self, codes):
        self._index.train(codes)

    def add(self, codes, list_of=None):
        """Add codes; to the lists of the nearest centroids, or of int64 array list_of."""
        if list_of is None:
            self._index.add(codes)
            return
        if list_of.dtype != np.int64 or list_of.shape != codes.shape[:1] or (
                not ((0 <= list_of) & (list_of < self._index.nlist)).all()):
            raise ValueError(f"its lists are {list_of.dtype} of shape {list_of.shape}")
        pointer = self._faiss.swig_ptr
        self._index.add_core(len(codes), pointer(codes), None, pointer(list_of))

    def search(self, queries, top, probed):
        with self._alone:
            self._index.nprobe = min(probed, self._index.nlist)
            return self._index.search(queries, top)

    def within(self, query, radius):
        """All codes within a radius of one query, (1, bytes): (distances, ids)."""
        with self._alone:
            self._index.nprobe = self._index.nlist
            _, distances, ids = self._index.range_search(query, int(radius) + 1)
        return distances.astype(np.int64), ids

    def parts(self):
        """Codes (n, bytes) in the order of ids, int64 (n,) their lists, and centroids."""
        index, view = self._index, self._faiss.rev_swig_ptr
        width = index.code_size
        codes = np.empty((index.ntotal, width), np.uint8)
        list_of = np.empty(index.ntotal, np.int64)
        for number in range(index.nlist):
            size = index.invlists.list_size(number)
            if size:
                ids = view(index.invlists.get_ids(number), size)
                codes[ids] = view(index.invlists.get_codes(number),
                                  size * width).reshape(size, width)
                list_of[ids] = number
        centroids = self._faiss.vector_to_array(self._quantizer.xb).reshape(-1, width)
        return codes, list_of, centroids


def _sample(blocks, count):
    """``count`` codes of blocks at random, or all, in their order."""
    size = sum(map(len, blocks))
    rows = np.sort(np.random.default_rng(0).choice(size, min(size, count), replace=False))
    ends = np.cumsum([0, *map(len, blocks)])
    return np.concatenate([block[rows[(start <= rows) & (rows < end)] - start]
                           for block, start, end in zip(blocks, ends, ends[1:])])


def request(queries, top, bits, size):
    """A search of ``size`` codes, if it can be: (queries, how many hits each can have).

    Raises
    ------
    UserError
        If the queries are not of this length, or nothing is asked for.
    """
    if top < 1:
        raise UserError(f"the top {top} were asked for; ask for at least 1")
    return checked(queries, bits), min(top, size)


def nothing(queries, top):
    """The answer where there is nothing to search for, or in."""
    return (np.zeros((len(queries), top), np.int64),) * 2


def one(query, bits):
    """One packed code, (ceil(q / 8),), checked, as an array of one: (1, ceil(q / 8))."""
    query = np.asarray(query)
    if query.ndim != 1:
        raise UserError(f"one query is asked for, and not codes of shape {query.shape}")
    return checked(query[np.newaxis], bits)


def checked(codes, bits):
    """Packed codes, if that is what they are.

    Raises
    ------
    UserError
        If they are not of this length.
    """
    codes, width = np.asarray(codes), -(-bits // 8)
    if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != width:
        raise UserError(f"codes are {codes.dtype} of shape {codes.shape}; this index has "
                        f"{bits} bits: uint8 of shape (n, {width})")
    spare = 8 * width - bits
    if spare and (codes[:, -1] >> (8 - spare)).any():
        raise UserError(f"codes have ones beyond bit {bits}; they are of another length, or "
                        "not packed as dnnh.ranking packs them")
    return codes


def _import_faiss():
    try:
        import faiss
    except ImportError as error:
        raise UserError("the engines 'flat' and 'ivf' are FAISS, which is not here; install "
                        "it with '.venv/bin/pip install -e .[search]'") from error
    return faiss
