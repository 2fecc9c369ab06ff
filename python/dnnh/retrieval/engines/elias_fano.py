"""Increasing integers in a few bits each, any of which can be read alone (Elias-Fano).

A sequence of n increasing integers below a bound u could be an int64 array: 64 bits each. But
where neighbors differ by u / n on average, the sequence holds only about log2(u / n) bits of
information an integer, and Elias's encoding takes hardly more than that. It cuts each integer
in two:

- The *low bits* (here 8) stand in an array as they are.
- The *high bits* (the integer without its low bits) increase too, and most of them by 0 or 1.
  They become one long bit field: for the integer at place i with high bits h, bit h + i of
  the field is set. So the field has a 1 for each integer and, between two ones, as many zeros
  as the high bits grow by.

For example the integers 3, 260, 261, 700:

    place i            0     1     2     3
    integer            3   260   261   700
    low bits           3     4     5   188      (integer % 256)
    high bits h        0     1     1     2      (integer // 256)
    bit h + i          0     2     3     5

    bit field          1 0 1 1 0 1

To read place i, find where the one number i (from 0) of the field is: the operation is called
*select*. It is at bit h + i, so subtracting i gives h. Place 2: the one number 2 is bit 3, so
that h = 3 - 2 = 1 and the integer is 1 * 256 + 5 = 261.

To select without reading the field from its beginning, the field is divided into groups of 512
bits, and how many ones come before each group is stored: a binary search finds the group, and
only the group is read.

An integer takes 8 low bits, 1 bit that is set and u / n / 256 that are not; the counts add an
eighth to the latter two. The best number of low bits is near log2(u / n). 8 fit their use in
:mod:`.inverted_lists`, where u / n is the number of lists: 11.4 bits each for 512 lists.

Sources: Elias, "Efficient storage and retrieval by content and address of static files"
(Journal of the ACM, 1974); Fano, "On the number of bits required to implement an associative
memory" (MIT, 1971); Vigna, "Quasi-succinct indices" (WSDM 2013), for the words.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

LOW_BITS = 8  # one byte
LOW_MASK = (1 << LOW_BITS) - 1
GROUP_BYTES = 64  # of the bit field, whose ones are counted beforehand
GROUP_BITS = 8 * GROUP_BYTES
GROUPS = 1 << 14  # that are read at a time where all are


class IncreasingIntegers:
    """Increasing integers (equal neighbors are allowed), encoded by Elias-Fano.

    Set all of them, in any order, then call :meth:`finish`, then read.

    Parameters
    ----------
    count : int
        n, how many there are.
    bound : int
        u: all of them are below it.
    """

    def __init__(self, count: int, bound: int) -> None:
        self._low = np.empty(count, np.uint8)
        field_bits = (bound >> LOW_BITS) + count + 1
        groups = -(-field_bits // GROUP_BITS)
        self._field = np.zeros((groups, GROUP_BYTES), np.uint8)
        self._ones_before = np.zeros(groups, np.int64)  # each group

    def set(self, places: NDArray[np.int64], integers: NDArray[np.int64]) -> None:
        """Set the integers at these places; each place once."""
        self._low[places] = integers & LOW_MASK
        bits = (integers >> LOW_BITS) + places
        values = (1 << (bits & 7)).astype(np.uint8)
        np.bitwise_or.at(self._field.reshape(-1), bits >> 3, values)

    def finish(self) -> None:
        """Count the ones, for select. Call this once all integers are set."""
        ones = _count_ones(self._field)
        self._ones_before = np.cumsum(ones) - ones

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the integers take."""
        return self._low.nbytes + self._field.nbytes + self._ones_before.nbytes

    def __getitem__(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The integers at these places, an int64 array of any shape."""
        high = self._select(places) - places
        return (high << LOW_BITS) | self._low[places]

    def _select(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the ones of these numbers (0 for the first) are in the bit field."""
        group = np.searchsorted(self._ones_before, numbers, side="right") - 1
        number_in_group = numbers - self._ones_before[group]
        # Unpack each group that is needed once, one behind the other, and list all their ones.
        groups, row = np.unique(group, return_inverse=True)
        unpacked = np.unpackbits(self._field[groups], bitorder="little").view(bool)
        ones = np.flatnonzero(unpacked)
        ones_in_row = _count_ones(self._field[groups])
        first_of_row = np.cumsum(ones_in_row) - ones_in_row
        bit = ones[first_of_row[row] + number_in_group]
        # From a bit of the unpacked groups to the same bit of the field.
        return bit + (group - row) * GROUP_BITS

    def pieces(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield (first place, integers from there on), all of them, some at a time."""
        for first_group in range(0, len(self._field), GROUPS):
            groups = self._field[first_group : first_group + GROUPS]
            unpacked = np.unpackbits(groups, bitorder="little").view(bool)
            bits = np.flatnonzero(unpacked) + first_group * GROUP_BITS
            first = int(self._ones_before[first_group])
            places = np.arange(first, first + len(bits))
            yield first, ((bits - places) << LOW_BITS) | self._low[first : first + len(bits)]


def _count_ones(groups: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many ones there are in each row of bytes."""
    return np.bitwise_count(groups.view(np.uint64)).sum(axis=1, dtype=np.int64)
