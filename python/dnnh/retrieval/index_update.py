"""What has changed in the source of an index since it was encoded, and which images are removed.

An image keeps its row for as long as the index is updated. New images get new rows, behind the
others. A row whose image is no longer in the source, or was removed by hand, stays, but no search
finds it.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from dnnh.data.sources import Item
from dnnh.errors import UserError, printable
from dnnh.retrieval.image_index import GONE, PRESENT, REMOVED, Entry, ImageIndex

ROWS = 100_000  # that are read at a time


class Update:
    """An index and the images of its source now: which of them are to be encoded.

    Parameters
    ----------
    index : ImageIndex
        With stamps.
    path : path of the index, for messages

    Attributes
    ----------
    index : ImageIndex
    states : uint8 array of shape (n,)
        Of the index's rows, once all of :meth:`to_encode` has been taken: GONE where an image is to
        be encoded again, until :meth:`merged` is told that it was.

    Raises
    ------
    UserError
        If the index has no stamps.
    """

    def __init__(self, index: ImageIndex, path: pathlib.Path) -> None:
        if index.stamps is None or index.states is None:
            raise UserError(
                f"{path} does not say when its images changed: an older version wrote it; "
                "encode the images again, with --force"
            )
        self.index, self.states, self._path = index, index.states.copy(), path
        self._first: dict[str, int] = {}
        self._further: dict[str, list[int]] = {}  # of names that several rows have
        for start in range(0, len(self.states), ROWS):
            for row, name in enumerate(index.names(slice(start, start + ROWS)), start):
                if self._first.setdefault(name, row) != row:
                    self._further.setdefault(name, []).append(row)

    def entries(self) -> Iterator[Entry]:
        """Name, labels and stamp of each row."""
        index = self.index
        assert index.stamps is not None
        for start in range(0, len(self.states), ROWS):
            part = slice(start, start + ROWS)
            yield from map(Entry, index.names(part), index.labels(part), index.stamps(part))

    def rows(self, name: str) -> list[int]:
        """The rows of a name; more than one where a table has it in several places."""
        if name not in self._first:
            return []
        return [self._first[name], *self._further.get(name, [])]

    def _rows_as_shown(self, shown: str) -> list[int]:
        """The rows of the one name that is printed like this, with escapes."""
        names = [name for name in self._first if printable(name) == shown]
        return self.rows(names[0]) if len(names) == 1 else []

    def _hashes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Hashes of each row's labels and stamp: 16 bytes an image, in whatever order they come."""
        index = self.index
        assert index.stamps is not None
        labels, stamps = np.empty((2, len(self.states)), np.int64)
        for start in range(0, len(self.states), ROWS):
            part = slice(start, start + ROWS)
            labels[part] = list(map(hash, index.labels(part)))
            stamps[part] = list(map(hash, index.stamps(part)))
        return labels, stamps

    def to_encode(self, items: Iterable[Item], stamp: str) -> Iterator[Item]:
        """Yield the images that are new or changed.

        An image that was removed by hand stays so until its file changes.

        Parameters
        ----------
        items : the images of the source
        stamp : str
            One of dnnh.data.sources.STAMPS.

        Raises
        ------
        UserError
            If there are none.
        """
        labels, stamps = self._hashes()
        seen = np.zeros(len(self.states), bool)
        item = None
        for item in items:
            row = next((row for row in self.rows(item.name) if not seen[row]), None)
            if row is None:
                yield item
                continue
            seen[row] = True
            state = self.states[row]
            is_same = stamps[row] == hash(item.stamp(stamp))
            if state != REMOVED:  # labels of an image that was removed may change
                is_same = is_same and labels[row] == hash(item.labels)
            if not is_same:
                if state == PRESENT:
                    self.states[row] = GONE  # until it has been encoded
                yield dataclasses.replace(item, row=row)
            elif state == GONE:
                self.states[row] = PRESENT
        if item is None:
            raise UserError(
                f"{self.index.source} has no images now; the index stays as it is. Is the folder "
                "there, and mounted?"
            )
        self.states[~seen & (self.states == PRESENT)] = GONE

    def remove(self, names: Iterable[str]) -> int:
        """Mark images as removed, those that are gone or removed already, too.

        Returns the number of images that are left.

        Raises
        ------
        UserError
            If the index has no such image, or none is left.
        """
        for name in names:
            rows = self.rows(name) or self._rows_as_shown(name)
            if not rows:
                raise UserError(
                    f"{self._path} has no image '{name}'; names are paths in "
                    f"{self.index.source}, as a search shows them"
                )
            self.states[rows] = REMOVED
        left = int((self.states == PRESENT).sum())
        if not left:
            raise UserError(f"these are all images of {self._path}; delete it instead")
        return left

    def merged(self, rows: NDArray[np.int64], count: int) -> NDArray[np.uint8]:
        """The states of all rows, of which some have been encoded."""
        states = np.full(count, PRESENT, np.uint8)
        states[: len(self.states)] = self.states
        states[rows] = PRESENT
        return states

    def summary(self, rows: NDArray[np.int64], count: int) -> str:
        """What becomes of the index; arguments as of :meth:`merged`."""
        assert self.index.states is not None
        before = self.index.states
        was, states = before == PRESENT, self.merged(rows, count)
        now = states[: len(was)] == PRESENT
        known = rows[rows < len(was)]
        return (
            f"{(states == PRESENT).sum():,} images; {count - len(was):,} new, "
            f"{was[known].sum():,} changed, {(was & ~now).sum():,} gone, "
            f"{(now & ~was).sum():,} back"
        )
