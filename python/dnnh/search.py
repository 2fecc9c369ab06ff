"""Nearest codes by Hamming distance.

    index = search.Index(bits=48)
    index.add(codes)                                   # packed, uint8 (n, 6)
    distances, ids = index.search(queries, top=10)
    index.save("index.h5"); search.Index.load("index.h5")

Three engines: ``numpy``, exact; ``flat``, exact, and ``ivf``, which looks at a part of the
codes only (:mod:`dnnh.inverted`), by FAISS, for large collections.
"""

import threading

import h5py
import numpy as np

from dnnh import codes as codes_files
from dnnh import inverted, knn, paths, ranking
from dnnh.errors import UserError

ENGINES = ("numpy", "flat", "ivf")
BLOCK, TOGETHER = 1 << 20, 16      # codes, and queries, that NumPy compares at a time
LISTS, PROBED = 512, 24    # of the engine `ivf`: groups of codes, and how many are looked at
MOST_LISTS = 1 << 16
ADDED = 8                  # codes in lists, for each that may have been added since
HITS = 1 << 22             # of all queries and lists, that `ivf` holds at a time


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
        at for a query. More lists are faster, but 256 more take a bit more for each code;
        more probed ones miss less. ``probed`` is an attribute that may be changed at any time.

    Notes
    -----
    ``ivf`` puts codes into lists when it is first asked. Those that are added later are all
    looked at, until they are an eighth of the others: then the next search puts them into
    lists, too, and finds new lists once there are twice as many codes. That takes a minute
    for 100 million codes, which are there three times meanwhile.

    Any number of threads may search, one may add.
    """

    def __init__(self, bits, engine="numpy", lists=LISTS, probed=PROBED):
        if not 1 <= bits <= codes_files.MAX_BITS:
            raise UserError(f"{bits} bits: codes have 1 to {codes_files.MAX_BITS} bits")
        if engine not in ENGINES:
            raise UserError(f"unknown engine '{engine}'; known ones: " + ", ".join(ENGINES))
        if not 1 <= lists <= MOST_LISTS:
            raise UserError(f"{lists} lists: codes are put into 1 to {MOST_LISTS:,}")
        self.bits, self.engine, self.lists, self.probed = bits, engine, lists, probed
        self._alone = threading.Lock()         # while what is held is replaced
        # For FAISS codes have as many bytes as it is fast with: 2, 4, or a multiple of 8.
        self._width = self.width if engine == "numpy" else next(
            width for width in (2, 4, 8 * -(-self.width // 8)) if width >= self.width)
        # Codes in lists, once `ivf` is asked, and blocks of those behind them, in the order of
        # their ids. Always replaced together: whoever reads takes both at once.
        self._held = inverted.EMPTY, ()

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
        lists, blocks = self._held
        return len(lists) + sum(map(len, blocks))

    def add(self, codes):
        """Add codes, uint8 of shape (n, ceil(q / 8)); their ids go on counting.

        They may be kept as they are, without a copy: do not change them afterwards.

        Raises
        ------
        UserError
            If they are not of this length.
        """
        codes = self._padded(checked(codes, self.bits))
        if not len(codes):
            return
        with self._alone:
            lists, blocks = self._held
            if blocks and len(blocks[-1]) + len(codes) <= BLOCK:
                *blocks, last = blocks
                codes = np.concatenate([last, codes])
            self._held = lists, (*blocks, codes)

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
        lists, blocks = self._in_lists() if self.engine == "ivf" else self._held
        together = max(1, HITS // (self.probed * top)) if len(lists) else len(queries)
        return tuple(map(np.concatenate, zip(*(
            self._found(lists, blocks, queries[start:start + together], top)
            for start in range(0, len(queries), together)))))

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
        lists, blocks = self._held
        found = [(np.zeros(0, np.uint8), np.zeros(0, np.int64))]
        for first, codes in inverted.pieces((lists.codes, *blocks), BLOCK):
            (_, (distances,)), = ranking.distances(query, codes)
            near = np.flatnonzero(distances <= radius)
            ids = first + near
            found.append((distances[near], lists.ids(ids) if first < len(lists) else ids))
        distances, ids = map(np.concatenate, zip(*found))
        order = np.lexsort((ids, distances))
        return distances[order].astype(np.int64), ids[order]

    def save(self, path):
        """Write the codes and what is known of them; whole, or not at all."""
        lists, blocks = self._held
        size = len(lists) + sum(map(len, blocks))
        with paths.hdf5_written_whole(path, size * (self.width + 2)) as file:
            for name in ("bits", "engine", "lists", "probed"):
                file.attrs[name] = getattr(self, name)
            if len(lists):
                codes, file["list_of"] = lists.in_order()
                file["centroids"], blocks = lists.centroids, (codes, *blocks)
            stored = file.create_dataset("codes", (size, self.width), np.uint8)
            for first, codes in inverted.pieces(blocks, BLOCK):
                stored[first:first + len(codes)] = codes[:, :self.width]

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
                    list_of, centroids = file["list_of"][:], file["centroids"][:]
                    _check_lists(list_of, centroids, len(codes), index._width)
                    index._held = inverted.Lists(
                        [index._padded(codes[:len(list_of)])], centroids, list_of), ()
                    codes = codes[len(list_of):]
                index.add(codes)
        except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError,
                OverflowError, MemoryError, UserError) as error:
            raise UserError(f"{path} is not an index ({error}); make it again") from error
        return index

    def _padded(self, codes):
        return ranking.padded(codes, self._width)

    def _nearest(self, queries, top):
        best = np.zeros((len(queries), 0), np.int64)          # distance * 2^40 + id
        for first, codes in inverted.pieces(self._held[1], BLOCK):
            distances = np.concatenate([part for _, part in ranking.distances(queries, codes)])
            keys = (distances.astype(np.int64) << 40) + np.arange(
                first, first + distances.shape[1])
            if keys.shape[1] > top:
                keys = np.partition(keys, top - 1, axis=1)[:, :top]
            best = np.sort(np.concatenate([best, keys], axis=1), axis=1)[:, :top]
        return best >> 40, best & ((1 << 40) - 1)

    def _found(self, lists, blocks, queries, top):
        """The nearest in lists and blocks, by FAISS: (distances, ids)."""
        # Where less is found than was asked for.
        found = [(np.full((len(queries), top), -1),) * 2] if len(lists) else []
        if blocks:
            found.append(_flat(blocks, queries, top, len(lists)))
        if len(lists):
            found.append(lists.search(queries, top, self.probed))
        distances, ids = (np.concatenate(parts, axis=1) for parts in zip(*found))
        # Equal distances by id; what was not found comes last.
        order = np.lexsort((ids, np.where(ids < 0, 1 << 30, distances)))[:, :top]
        return tuple(np.take_along_axis(part, order, axis=1) for part in (distances, ids))

    def _in_lists(self):
        """What is held, with the codes in lists but for few that were added since."""
        with self._alone:
            lists, blocks = self._held
            added = sum(map(len, blocks))
            if added > len(lists):
                codes = (lists.in_order()[0],) * bool(len(lists)) + blocks
                lists = inverted.Lists(codes, inverted.centroids_of(codes, self.lists))
            elif ADDED * added > len(lists):
                codes, list_of = lists.in_order()
                lists = inverted.Lists((codes, *blocks), lists.centroids, list_of)
            else:
                return self._held
            self._held = lists, ()
            return self._held


def _flat(blocks, queries, top, start):
    """The nearest of each piece of the blocks, whose ids begin with ``start``: (distances, ids).

    Pieces are for threads. FAISS's IndexBinaryFlat would hold a second copy of the codes.
    """
    def nearest(piece):
        first, codes = piece
        distances, places = knn.nearest(queries, codes, min(top, len(codes)))
        return distances, start + first + places

    share = -(-sum(map(len, blocks)) // knn.threads())
    found = knn.in_threads(nearest, inverted.pieces(blocks, share))
    return tuple(np.concatenate(parts, axis=1) for parts in zip(*found))


def _check_lists(list_of, centroids, size, width):
    if centroids.dtype != np.uint8 or centroids.ndim != 2 or centroids.shape[1] != width:
        raise ValueError(f"its centroids are {centroids.dtype} of shape {centroids.shape}")
    if list_of.dtype.kind not in "iu" or list_of.ndim != 1 or len(list_of) > size or (
            not ((0 <= list_of) & (list_of < len(centroids))).all()):
        raise ValueError(f"its lists are {list_of.dtype} of shape {list_of.shape}")


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
