"""Features of images, for the methods that hash vectors.

``gist`` (dnnh.gist, kept under ``data/features/`` once computed), ``pixels``, ``bow`` (the
bag of words that NUS-WIDE publishes, each image's counts divided by their sum), or any
array from a file: one row for each image of the data set, in its order.
"""

import hashlib
import pathlib

import h5py
import numpy as np

from dnnh import gist, paths
from dnnh.datasets.dataset import EncodedImages
from dnnh.errors import UserError

KINDS = ("gist", "pixels", "bow")
MOST_PIXELS = 3072         # of an image, that are features: 32x32 in colour


def load(kind, dataset):
    """Features of all images of a data set.

    Parameters
    ----------
    kind : str
        One of KINDS, or the path of a .npy file or of an HDF5 file with one data set
        ``features``, of shape (n, d).
    dataset : dnnh.datasets.Dataset

    Returns
    -------
    float32 array of shape (n, d)

    Raises
    ------
    UserError
        If there is no such kind, or the file has no finite number for each image.
    """
    if kind == "gist":
        return _gist(dataset)
    if kind == "pixels":
        if np.prod(dataset.images.shape[1:]) > MOST_PIXELS:
            raise UserError(f"{dataset.name} has images of the shape "
                            f"{dataset.images.shape[1:]}: too many pixels to be features; "
                            "take others with --features")
        return dataset.images[:].reshape(len(dataset.images), -1).astype(np.float32) / 255
    if kind == "bow":
        if "bow" not in dataset.features:
            raise UserError(f"{dataset.name} ({dataset.source}) has no bag of words; NUS-WIDE "
                            "has, if BoW_int.dat was there when it was prepared")
        counts = check(dataset.features["bow"], len(dataset.images), dataset.name)
        return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    path = pathlib.Path(kind)
    if not path.is_file():
        raise UserError(f"there are no features '{kind}'; known ones: {', '.join(KINDS)}, "
                        "or the path of a .npy or HDF5 file")
    return check(_read(path), len(dataset.images), path)


def check(features, count, where):
    """``features`` as float32, if they are one finite row for each of ``count`` images.

    Raises
    ------
    UserError
        If they are not.
    """
    if features.ndim != 2 or len(features) != count or not features.shape[1]:
        raise UserError(f"{where} has an array of shape {features.shape}; {count} rows, one "
                        "for each image of the data set, are needed")
    if features.dtype.kind not in "fiub":
        raise UserError(f"{where} has values of type {features.dtype}, not numbers")
    features = features.astype(np.float32)
    broken = ~np.isfinite(features).all(axis=1)
    if broken.any():
        raise UserError(f"{where}: {broken.sum()} of {count} rows have values that are no "
                        f"numbers, the first is row {broken.argmax()}; leave none")
    return features


def _read(path):
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        with h5py.File(path, "r") as file:
            return file["features"][:]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError,
            RuntimeError, MemoryError) as error:
        raise UserError(f"{path} has no features that can be read ({error}); give a .npy "
                        "file, or an HDF5 file with a data set 'features'") from error


def _gist(dataset):
    path = paths.DATA / "features" / f"{dataset.name}_gist.h5"
    digest = _digest(dataset.images)
    try:
        with h5py.File(path, "r") as file:
            if file.attrs["images"] == digest:
                return check(file["features"][:], len(dataset.images), path)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError):
        pass                                   # not there, or not whole: computed anew
    features = gist.describe(dataset.images)
    with paths.hdf5_written_whole(path) as file:
        file["features"] = features
        file.attrs["images"] = digest
    return features


def _digest(images):
    """Which images these are, sha256."""
    if not isinstance(images, EncodedImages):
        return hashlib.sha256(np.ascontiguousarray(images)).hexdigest()
    digest = hashlib.sha256()
    for row in range(len(images)):
        digest.update(images.encoded(row))
    return digest.hexdigest()
