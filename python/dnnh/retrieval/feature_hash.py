"""Codes without training: features of a pretrained network, hashed by a shallow method that is
fitted to the images of the index themselves.

The fitted method lies in the index: a group ``hash`` with its parameters, and the attribute
``method``.
"""

import json
import pathlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import limits, packed_codes
from dnnh.baselines import METHODS
from dnnh.baselines.base import Hasher
from dnnh.errors import UserError
from dnnh.nets import pretrained
from dnnh.retrieval.image_groups import Group, Outputs

HASHES = tuple(name for name, method in METHODS.items() if method.learned)
GROUP, METHOD = "hash", "method"
FITTED = 50_000  # images that the method is fitted to, at most
SEED = 0


class HashedFeatures:
    """What an index keeps of each image while it is written: features, float32. At the end the
    method is fitted to them, and they become codes.

    Parameters
    ----------
    method : Hasher
    """

    row_bytes = 4 * pretrained.FEATURES

    def __init__(self, method: Hasher) -> None:
        self.method = method

    def rows(self, group: Group, outputs: Outputs) -> NDArray[np.float32]:
        """The features of a group's images, (k, 1280)."""
        if not group.images:
            return np.zeros((0, pretrained.FEATURES), np.float32)
        return outputs(np.stack(group.images)).astype(np.float32)

    def write(self, file: Any, rows: NDArray[np.uint8], entries: pathlib.Path) -> None:
        """Fit the method, and write codes and method into an index.

        Parameters
        ----------
        file : h5py.File
        rows : uint8 array of shape (n, row_bytes), memory-mapped: the features
        entries : path of a file with a JSON list of name and labels a line

        Raises
        ------
        UserError
            If the method cannot be fitted: there are too few images, or it learns from labels and
            there are none.
        """
        features = rows.view(np.float32)
        fitted = np.arange(len(features))
        if len(fitted) > FITTED:
            fitted = np.sort(np.random.default_rng(SEED).choice(fitted, FITTED, replace=False))
        labels = None
        if self.method.supervised:
            with entries.open(encoding="utf-8") as lines:
                labels = _multi_hot([json.loads(line)[1] for line in lines], self.method.name)
            fitted = fitted[labels[fitted].any(axis=1)]
            labels = labels[fitted]
        self.method.fit(features[fitted], labels)
        file["codes"] = self.method.encode(features)
        group = file.create_group(GROUP)
        group.attrs[METHOD] = self.method.name
        for name, array in self.method.parameters().items():
            group[name] = array


def _multi_hot(labels: list[list[str]], name: str) -> NDArray[np.uint8]:
    classes = sorted({label for of_image in labels for label in of_image})
    if len(classes) < 2:
        raise UserError(
            f"{name} learns from labels, and the images have {len(classes)} different ones; give a "
            "CSV file of paths and labels, or choose one of "
            + ", ".join(hash for hash in HASHES if not METHODS[hash].supervised)
        )
    place = {label: i for i, label in enumerate(classes)}
    multi_hot = np.zeros((len(labels), len(classes)), np.uint8)
    for row, of_image in enumerate(labels):
        multi_hot[row, [place[label] for label in of_image]] = 1
    return multi_hot


def read(file: Any, bits: int) -> Hasher | None:
    """The fitted method of an index; None if it has none.

    Parameters
    ----------
    file : h5py.File
        As dnnh.hdf5_files.read_hdf5 opens it.
    bits : int

    Raises
    ------
    ValueError, UserError
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
    parameters = {part: np.asarray(group[part][()]) for part in group}
    for part, array in parameters.items():
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise ValueError(f"its hashing method has {part} that are not finite numbers")
    return METHODS[name].restored(bits, parameters)


def as_relaxed_codes(method: Hasher, outputs: Outputs) -> Outputs:
    """A function of images whose values are 1 or 0: bits of a fitted method."""

    def codes(images: NDArray[np.uint8]) -> NDArray[np.floating]:
        return packed_codes.unpack(method.encode(outputs(images)), method.bits).astype(np.float32)

    return codes


def pixels_of(schedule: str) -> int:
    """The side of the images that a network saw, from its index's ``schedule``: 225 pixels."""
    side, _, unit = schedule.partition(" ")
    if unit != "pixels" or not (side.isascii() and side.isdigit() and len(side) < 5):
        raise UserError(f"'{schedule:.40}' is not a size, as '225 pixels'")
    return int(side)
