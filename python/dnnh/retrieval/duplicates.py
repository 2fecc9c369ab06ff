"""Groups of images whose codes are nearly the same.

Two codes within Hamming radius r agree in at least one of r + 1 parts of their bits (Norouzi,
Punjani, Fleet, CVPR 2012). Only codes that agree in a part are compared.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from dnnh import packed_codes
from dnnh.errors import UserError

MAX_PAIRS = 5_000_000  # in memory


def groups(codes: NDArray[np.uint8], bits: int, radius: int) -> list[NDArray[np.int64]]:
    """Groups of two images or more, of which each is within a radius of another one of its group.

    Parameters
    ----------
    codes : uint8 array of shape (n, ceil(bits / 8))
    bits : int
    radius : int
        Hamming distance, from 0 on.

    Returns
    -------
    list of int64 arrays of rows, each in their order; the largest group first

    Raises
    ------
    UserError
        If the radius is not from 0 to ``bits`` - 1.
    """
    if not 0 <= radius < bits:
        raise UserError(f"radius {radius}: codes of {bits} bits have radii from 0 to {bits - 1}")
    distinct, code_of = np.unique(codes, axis=0, return_inverse=True)
    group_of = _components(distinct, bits, radius)[code_of.ravel()]
    order = np.argsort(group_of, kind="stable")
    starts = np.flatnonzero(np.diff(group_of[order], prepend=-1))
    found = [rows for rows in np.split(order, starts[1:]) if len(rows) > 1]
    return sorted(found, key=lambda rows: (-len(rows), rows[0]))


def _components(codes: NDArray[np.uint8], bits: int, radius: int) -> NDArray[np.int64]:
    """The number of the group of each of some distinct codes."""
    labels = np.arange(len(codes))
    if not radius:
        return labels
    one, other, count = [labels], [labels], 0
    for part in tqdm(np.array_split(np.arange(bits), radius + 1), unit=" parts", desc="comparing"):
        keys = packed_codes.pack(packed_codes.unpack(codes, bits)[:, part])
        keys = np.unique(keys, axis=0, return_inverse=True)[1].ravel()
        order = np.argsort(keys, kind="stable")
        keys, ordered = keys[order], codes[order]
        # Each code with the next one, then with the one after that, as long as the part agrees.
        left, step = np.arange(len(codes)), 1
        while len(left):
            left = left[left + step < len(codes)]
            left = left[keys[left] == keys[left + step]]
            differing = np.bitwise_count(ordered[left] ^ ordered[left + step]).sum(axis=1)
            near = left[differing <= radius]
            one.append(order[near])
            other.append(order[near + step])
            count += len(near)
            step += 1
            if count > MAX_PAIRS:
                labels = _joined(one, other, len(codes))
                one, other, count = [np.arange(len(codes))], [_first_of_label(labels)], 0
    return _joined(one, other, len(codes))


def _joined(
    one: list[NDArray[np.int64]], other: list[NDArray[np.int64]], count: int
) -> NDArray[np.int64]:
    """The number of the connected component of each code, by pairs of codes."""
    rows, columns = np.concatenate(one), np.concatenate(other)
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _first_of_label(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    _, first, label = np.unique(labels, return_index=True, return_inverse=True)
    return first[label.ravel()]
