"""A user's images in groups of those that are encoded at once; threads read the next."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnnh import packed_codes, prefetch
from dnnh.data import sources
from dnnh.errors import UserError

GROUP = 100  # images that are encoded at once

# Of images, uint8 (k, height, width, channels), the relaxed codes (k, q).
Outputs = Callable[[NDArray[np.uint8]], NDArray[np.floating]]


@dataclass(frozen=True)
class Group:
    """Images that are encoded at once.

    Attributes
    ----------
    items : list of dnnh.data.sources.Item
    stamps : list of str
        Of the items, from before each was read.
    images : list of uint8 arrays of shape (height, width, channels)
        Those that can be read, as large as a net's.
    reasons : list with None for each of these, and why it is skipped for each of the others
    """

    items: list[sources.Item]
    stamps: list[str]
    images: list[NDArray[np.uint8]]
    reasons: list[str | None]

    def encode(self, outputs: Outputs) -> NDArray[np.uint8]:
        """The packed codes of the images: uint8 (k, bytes); (0, 0) if none can be read."""
        if not self.images:
            return np.zeros((0, 0), np.uint8)
        return packed_codes.pack(outputs(np.stack(self.images)) > 0.5)


def read_groups(
    items: Iterable[sources.Item], net_input: sources.InputSize, stamp: str = sources.STAMPS[0]
) -> Iterator[Group]:
    """Yield groups of GROUP images, the last may be smaller; the next is read meanwhile.

    Parameters
    ----------
    items : iterable of dnnh.data.sources.Item
    net_input : InputSize
        How large the net's images are.
    stamp : str
        One of dnnh.data.sources.STAMPS.
    """

    def read(item: sources.Item) -> tuple[sources.Item, str, NDArray[np.uint8] | None, str | None]:
        # The stamp first: if the file is written to now, the next update sees that.
        try:
            stamped = item.stamp(stamp)
            return item, stamped, sources.fitted(item.read(), net_input), None
        except UserError as error:
            return item, "", None, " ".join(str(error).split())

    readings = prefetch.in_order(read, items, 2 * GROUP)
    while group := list(itertools.islice(readings, GROUP)):
        yield Group(
            [item for item, _, _, _ in group],
            [stamped for _, stamped, _, _ in group],
            [image for _, _, image, _ in group if image is not None],
            [reason for _, _, _, reason in group],
        )
