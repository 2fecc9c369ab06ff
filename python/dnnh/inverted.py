"""Codes in lists around centroids, of which a search looks at some (an inverted file).

Sivic & Zisserman, "Video Google" (ICCV 2003); for binary codes as FAISS's IndexBinaryIVF,
whose parts find the centroids and compare codes here. FAISS keeps an id of eight bytes beside
each code and lets lists grow by doubling: 3.7 bytes for each byte of code. Here codes stand in
one array and ids in eleven or twelve bits each, where there are 512 lists: 1.2 bytes for each
byte of a code of eight.
"""

import numpy as np

from dnnh import knn

TRAIN = 64                 # codes that a centroid is found from
BLOCK = 1 << 20            # codes that are put into their lists at a time


class Lists:
    """Codes in lists, each list in the order of their ids.

    Parameters
    ----------
    blocks : list of uint8 arrays of shape (some, bytes)
        The codes; their ids count through all blocks. ``bytes`` as FAISS takes them.
    centroids : uint8 array of shape (lists, bytes)
    list_of : integer array of shape (up to n,)
        The lists of the first codes, if known; the others' are those of the nearest centroids.

    Attributes
    ----------
    codes : uint8 array of shape (n, bytes), list by list
    centroids : as given
    """

    def __init__(self, blocks, centroids, list_of=()):
        self.centroids = np.ascontiguousarray(centroids)
        size, lists = sum(map(len, blocks)), len(centroids)
        known, list_of = list_of, np.empty(size, np.min_scalar_type(lists))
        list_of[:len(known)] = known
        for first, codes in pieces(blocks, BLOCK):
            last = first + len(codes)
            first = max(first, len(known))
            if first < last:
                list_of[first:last] = self._nearest(codes[first - last:], 1)[:, 0]
        self._starts = np.cumsum([0, *sum(
            np.bincount(list_of[first:first + BLOCK], minlength=lists)
            for first in range(0, max(size, 1), BLOCK))])
        self.codes = np.empty((size, centroids.shape[1]), np.uint8)
        # List and id in one number, which rises along the array: list * period + id.
        self._period = max(size, 1)
        self._numbers = _Increasing(size, lists * self._period)
        free = self._starts[:-1].copy()
        for first, codes in pieces(blocks, BLOCK):
            lists_here = list_of[first:first + len(codes)].astype(np.int64)
            order = np.argsort(lists_here, kind="stable")
            counts = np.bincount(lists_here, minlength=lists)
            places = np.arange(len(codes)) + np.repeat(
                free - (np.cumsum(counts) - counts), counts)
            self.codes[places] = codes[order]
            self._numbers.put(places, lists_here[order] * self._period + first + order)
            free += counts
        self._numbers.close()

    def __len__(self):
        return len(self.codes)

    def search(self, queries, top, probed):
        """The nearest codes in the lists of the ``probed`` nearest centroids.

        Parameters
        ----------
        queries : uint8 array of shape (m, bytes)
        top, probed : int

        Returns
        -------
        (distances, ids) : int64 arrays of shape (m, some), in no order; where a list is
        shorter than others, distance and id are -1.
        """
        probed = min(probed, len(self.centroids))
        near = self._nearest(queries, probed)
        top = min(top, int(np.diff(self._starts)[near].max()))
        distances, places = np.full((2, len(queries), probed, top), -1, np.int64)
        # Queries that want the same list look at it together.
        order = np.argsort(near, axis=None, kind="stable")
        wanted, ends = np.unique(near.ravel()[order], return_index=True)
        jobs = list(zip(wanted, np.split(order, ends[1:])))

        def look(jobs):
            for number, pairs in jobs:
                start, end = map(int, self._starts[number:number + 2])
                if start < end:
                    rows, columns = np.divmod(pairs, probed)
                    found = knn.nearest(queries[rows], self.codes[start:end],
                                        min(top, end - start))
                    distances[rows, columns, :found[0].shape[1]] = found[0]
                    places[rows, columns, :found[0].shape[1]] = start + found[1]

        # One query is soonest done by one thread: to hand over Python's lock at each list
        # takes as long as to look at it.
        threads = min(knn.threads(), len(queries))
        knn.in_threads(look, [jobs[thread::threads] for thread in range(threads)])
        there = places >= 0
        places[there] = self.ids(places[there])
        return distances.reshape(len(queries), -1), places.reshape(len(queries), -1)

    def ids(self, places):
        """Ids of the codes at these places of :attr:`codes`, int64 arrays of shape (some,)."""
        parts = np.array_split(places, 1 + len(places) // 4096)
        return np.concatenate([self._numbers[part] for part in parts]) % self._period

    def in_order(self):
        """Codes (n, bytes) in the order of their ids, and the list of each, (n,)."""
        codes = np.empty_like(self.codes)
        list_of = np.empty(len(self), np.min_scalar_type(len(self.centroids)))
        for first, numbers in self._numbers.pieces():
            lists, ids = np.divmod(numbers, self._period)
            codes[ids] = self.codes[first:first + len(ids)]
            list_of[ids] = lists
        return codes, list_of

    def _nearest(self, codes, count):
        parts = np.array_split(codes, min(knn.threads(), 1 + len(codes) // 100))
        return np.concatenate(knn.in_threads(
            lambda part: knn.nearest(part, self.centroids, count)[1], parts))


class _Increasing:
    """Increasing integers, where count of them below ``bound`` take 9 + bound / count / 256
    bits each, and little more (Elias, "Efficient storage and retrieval by content and address
    of static files", 1974).

    The low byte of each stands as it is. The rest, h of the number at place i, is a one at
    h + i in a field of bits: the ones stand in the order of the places, and the zeros before
    one count h.
    """

    GROUP = 64             # bytes of the field whose ones are counted beforehand

    def __init__(self, count, bound):
        self._low = np.empty(count, np.uint8)
        self._field = np.zeros(
            (-(-((bound >> 8) + count + 1) // (8 * self.GROUP)), self.GROUP), np.uint8)

    def put(self, places, numbers):
        """Set the numbers at these places, int64 arrays; once for each place."""
        self._low[places] = numbers & 255
        at = (numbers >> 8) + places
        np.bitwise_or.at(self._field.reshape(-1), at >> 3, (1 << (at & 7)).astype(np.uint8))

    def close(self):
        """To be called when all are set."""
        counts = _ones(self._field)
        self._before = np.cumsum(counts) - counts      # ones before each group

    def __getitem__(self, places):
        groups = np.searchsorted(self._before, places, side="right") - 1
        groups, group_of = np.unique(groups, return_inverse=True)
        # Where the ones of these groups are, one group behind the other.
        field = self._field[groups]
        ones = np.flatnonzero(np.unpackbits(field, bitorder="little").view(bool))
        counts = _ones(field)
        one = (np.cumsum(counts) - counts - self._before[groups])[group_of] + places
        at = ones[one] + (groups - np.arange(len(groups)))[group_of] * 8 * self.GROUP
        return ((at - places) << 8) | self._low[places]

    def pieces(self, groups=1 << 14):
        """Yield (first place, numbers from there on), some at a time."""
        for first in range(0, len(self._field), groups):
            bits = np.unpackbits(self._field[first:first + groups], bitorder="little")
            at = np.flatnonzero(bits.view(bool)) + first * 8 * self.GROUP
            place = int(self._before[first])
            yield place, ((at - np.arange(place, place + len(at))) << 8) | (
                self._low[place:place + len(at)])


def _ones(field):
    """How many ones there are in each row of bytes, int64."""
    return np.bitwise_count(field.view(np.uint64)).sum(axis=1, dtype=np.int64)


def centroids_of(blocks, lists):
    """Centroids for the lists of codes, uint8 (lists, bytes): k-means of some, by FAISS.

    There are fewer where there are less than TRAIN codes for each.
    """
    faiss = knn.import_faiss()
    size, width = sum(map(len, blocks)), blocks[0].shape[1]
    lists = min(lists, size // TRAIN)
    if lists < 2:                          # nothing to choose among
        return blocks[0][:1].copy()
    quantizer = faiss.IndexBinaryFlat(8 * width)
    faiss.IndexBinaryIVF(quantizer, 8 * width, lists).train(_sample(blocks, TRAIN * lists))
    return faiss.vector_to_array(quantizer.xb).reshape(-1, width)


def pieces(blocks, size):
    """Yield (first id, codes), ``size`` codes of the blocks at most."""
    first = 0
    for block in blocks:
        for start in range(0, len(block), size):
            yield first + start, block[start:start + size]
        first += len(block)


def _sample(blocks, count):
    """``count`` codes of blocks at random, or all, in their order."""
    size = sum(map(len, blocks))
    rows = np.sort(np.random.default_rng(0).choice(size, min(size, count), replace=False))
    ends = np.cumsum([0, *map(len, blocks)])
    return np.concatenate([block[rows[(start <= rows) & (rows < end)] - start]
                           for block, start, end in zip(blocks, ends, ends[1:])])


EMPTY = Lists((), np.zeros((1, 1), np.uint8))
