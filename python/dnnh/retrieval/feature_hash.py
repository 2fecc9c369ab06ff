"""Codes without training: features of a pretrained network, hashed by a shallow method that is
fitted to the images of the index themselves.

The fitted method lies in the index: a group ``hash`` with its parameters, and the attribute
``method``.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import hdf5_files, limits
from dnnh.baselines import METHODS
from dnnh.baselines.base import Hasher
from dnnh.errors import UserError
from dnnh.nets import pretrained
from dnnh.retrieval.image_groups import Group, Outputs

HASHES = tuple(name for name, method in METHODS.items() if method.learned)
GROUP, METHOD = "hash", "method"
MAX_FITTED = 50_000  # images that the method is fitted to
PASS = 10  # images that pass the network at once
SEED = 0
LARGEST = 1e100  # parameter, so that no square is beyond a float64


class HashedFeatures:
    """What an index keeps of each image while it is written: features, float32. At the end they
    are hashed.

    Parameters
    ----------
    hasher : Hasher
    features : int
        Of an image.
    is_fitted : bool
        Whether the method is one of another index, and not to be fitted to the images.
    """

    def __init__(self, hasher: Hasher, features: int, is_fitted: bool = False) -> None:
        self.hasher, self.is_fitted = hasher, is_fitted
        self._features, self.row_bytes = features, 4 * features

    def rows(self, group: Group, outputs: Outputs) -> NDArray[np.float32]:
        """The features of a group's images, (k, d)."""
        features = [np.zeros((0, self._features), np.float32)]
        for start in range(0, len(group.images), PASS):
            images = np.stack(group.images[start : start + PASS])
            features.append(outputs(images).astype(np.float32))
        return np.concatenate(features)

    def finish(
        self, file: Any, rows: NDArray[np.uint8], labels: Iterable[tuple[str, ...]]
    ) -> NDArray[np.uint8]:
        """Fit the method unless it is fitted, write it into an index, and return the packed codes.

        Parameters
        ----------
        file : h5py.File
        rows : uint8 array of shape (n, row_bytes), memory-mapped: the features
        labels : the labels of each image

        Raises
        ------
        UserError
            If the method cannot be fitted: there are too few images, or it learns from labels and
            there are none.
        """
        features = rows.view(np.float32)
        if not self.is_fitted:
            try:
                self._fit(features, labels)
            except UserError as error:
                raise UserError(
                    f"{error}. The features are kept: the same command with another --hash "
                    "encodes no image again"
                ) from error
        group = file.create_group(GROUP)
        group.attrs[METHOD] = self.hasher.name
        for name, array in self.hasher.parameters().items():
            group[name] = array
        return self.hasher.encode(features)

    def _fit(self, features: NDArray[np.float32], labels: Iterable[tuple[str, ...]]) -> None:
        if self.hasher.supervised:
            rows, multi_hot = _labelled(labels, self.hasher.name)
            self.hasher.fit(features[rows], multi_hot)
        else:
            self.hasher.fit(features[_sample(np.arange(len(features)))])


def _sample(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """As many of the rows as a method is fitted to, in their order."""
    if len(rows) <= MAX_FITTED:
        return rows
    return np.sort(np.random.default_rng(SEED).choice(rows, MAX_FITTED, replace=False))


def _labelled(
    labels: Iterable[tuple[str, ...]], name: str
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The rows that have labels, or a sample of them, and their labels as 0 and 1."""
    of_row = {row: of_image for row, of_image in enumerate(labels) if of_image}
    rows = _sample(np.array(list(of_row), np.int64))
    classes = sorted({label for row in rows.tolist() for label in of_row[row]})
    if len(classes) < 2:
        raise UserError(
            f"{name} learns from labels, and the images have {len(classes)} different ones; give a "
            "CSV file of paths and labels, or choose one of "
            + ", ".join(hash for hash in HASHES if not METHODS[hash].supervised)
        )
    if len(classes) > limits.CLASSES:
        raise UserError(
            f"the images have {len(classes):,} different labels; {name} learns from at most "
            f"{limits.CLASSES:,} classes"
        )
    column = {label: i for i, label in enumerate(classes)}
    multi_hot = np.zeros((len(rows), len(classes)), np.uint8)
    for of_image, row in zip(multi_hot, rows.tolist()):
        of_image[[column[label] for label in of_row[row]]] = 1
    return rows, multi_hot


def read(file: Any, bits: int, network: str) -> Hasher | None:
    """The fitted method of an index; None if it has none.

    Parameters
    ----------
    file : h5py.File
        As dnnh.hdf5_files.read_hdf5 opens it.
    bits : int
    network : str
        Whose features it hashes.

    Raises
    ------
    ValueError
        If it is not one.
    """
    if GROUP not in file:
        return None
    group = file[GROUP]
    name = group.attrs[METHOD]
    if name not in HASHES:
        raise ValueError(f"its hashing method is {name!r:.40}; known ones: " + ", ".join(HASHES))
    if sum(group[part].nbytes for part in group) > limits.HASH_BYTES:
        raise ValueError(f"its hashing method has more than {limits.HASH_BYTES:,} bytes")
    parameters = {part: hdf5_files.numbers(group[part]) for part in group}
    for part, array in parameters.items():
        if array.dtype not in (np.float64, np.int64) or not (np.abs(array) <= LARGEST).all():
            raise ValueError(f"its hashing method has {part} that are not numbers up to {LARGEST}")
    if network not in pretrained.NETWORKS:
        raise ValueError(
            f"it has features of '{network:.40}'; known: " + ", ".join(pretrained.NETWORKS)
        )
    mean, features = parameters.get("mean"), pretrained.NETWORKS[network].features
    if mean is None or mean.shape != (features,):
        raise ValueError(f"its hashing method is not one of {features:,} features")
    try:
        return METHODS[name].restored(bits, parameters)
    except UserError as error:
        raise ValueError(str(error)) from error


def are_the_same(one: Hasher | None, other: Hasher | None) -> bool:
    """Whether two indexes have the same method with the same parameters, or both have none."""
    if one is None or other is None:
        return one is other
    ours, theirs = one.parameters(), other.parameters()
    return ours.keys() == theirs.keys() and all(
        np.array_equal(ours[part], theirs[part]) for part in ours
    )
