"""An index of encoded images: their codes, with names and labels, in the order of the images.

:mod:`dnnh.retrieval.index_files` reads it, :mod:`dnnh.retrieval.index_writer` and
:mod:`dnnh.retrieval.spark_encoding` write it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dnnh.baselines.base import Hasher
from dnnh.errors import UserError
from dnnh.nets.net_info import NetInfo

Rows = int | slice | Sequence[int] | NDArray[np.int64]
Labels = tuple[str, ...]

# What becomes of a row: a search finds it; its image is no longer in the source; it was removed
# by hand.
PRESENT, GONE, REMOVED = STATES = range(3)


class Entry(NamedTuple):
    """A row but for its code. The stamp changes with the image (dnnh.data.sources.Item); ``row`` is
    None where an update adds the image."""

    name: str
    labels: Labels
    stamp: str
    row: int | None = None


class IndexChanged(UserError):
    """The file of an index was replaced or written to; open it again."""


@dataclasses.dataclass
class ImageIndex:
    """An index of encoded images; names and labels are read when they are asked for.

    Attributes
    ----------
    net : NetInfo
        The net that encoded the images.
    source : str
        Path of the images, as dnnh.data.sources has it.
    codes : uint8 array of shape (n, ceil(q / 8)), or None where they are in Spark
    names : function of a row, a slice or an array of rows, returns a list of str
    labels : likewise, returns a list of tuples of str
    states : uint8 array of shape (n,), or None where they are in Spark
        One of STATES for each row.
    stamps : function as ``names``, or None where there are none
    stamp_kind : str, or None
        One of dnnh.data.sources.STAMPS.
    hasher : Hasher, or None
        The shallow method that hashes the net's outputs, where these are features of a pretrained
        network.
    close : function
        Closes the file that names and labels are read from.
    """

    net: NetInfo
    source: str
    codes: NDArray[np.uint8] | None
    names: Callable[[Rows], list[str]]
    labels: Callable[[Rows], list[Labels]]
    states: NDArray[np.uint8] | None = None
    stamps: Callable[[Rows], list[str]] | None = None
    stamp_kind: str | None = None
    hasher: Hasher | None = None
    close: Callable[[], None] = lambda: None

    def present(self) -> NDArray[np.int64] | None:
        """The rows that a search finds; None if it finds all, which may be very many."""
        if self.states is None or not self.states.any():
            return None
        return np.flatnonzero(self.states == PRESENT)
