"""Features of images, for the shallow hashing methods.

``gist`` (dnnh.baselines.gist) and those of a pretrained network (dnnh.nets.pretrained), which are kept
under ``data/features/`` once computed; ``pixels``; ``bow`` (the bag of words that NUS-WIDE
publishes, each image's counts divided by their sum); or any array from a file: one row for each
image of the data set, in its order.
"""

import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import atomic_files, files, hdf5_files, paths
from dnnh.baselines import gist
from dnnh.data.dataset import Dataset, EncodedImages
from dnnh.errors import UserError
from dnnh.nets import pretrained

KINDS = ("gist", *pretrained.NETWORKS, "pixels", "bow")
NPY_MAGIC = b"\x93NUMPY"
MAX_PIXELS = 3072  # values of an image that can be features: 32x32 in color


def load(kind: str, dataset: Dataset) -> NDArray[np.float32]:
    """Features of all images of a data set.

    Parameters
    ----------
    kind : str
        One of KINDS, or the path of a .npy file or of an HDF5 file with one data set
        ``features``, of shape (n, d).
    dataset : Dataset

    Returns
    -------
    float32 array of shape (n, d)

    Raises
    ------
    UserError
        If there is no such kind, or the file does not have a finite row for each image.
    """
    if kind == "gist":
        return _kept(kind, dataset, "", lambda: gist.describe(dataset.images))
    if kind in pretrained.NETWORKS:
        path = pretrained.path_of(kind)
        model = files.sha256(path) if path.is_file() else ""  # features may be kept without it
        return _kept(kind, dataset, model, lambda: _pretrained(kind, dataset))
    if kind == "pixels":
        if np.prod(dataset.images.shape[1:]) > MAX_PIXELS:
            raise UserError(
                f"{dataset.name} has images of the shape "
                f"{dataset.images.shape[1:]}: too many pixels to be features; "
                "pass others with --features"
            )
        return dataset.images[:].reshape(len(dataset.images), -1).astype(np.float32) / 255
    if kind == "bow":
        if "bow" not in dataset.features:
            raise UserError(
                f"{dataset.name} ({dataset.source}) has no bag of words; NUS-WIDE "
                "has, if BoW_int.dat was there when it was prepared"
            )
        counts = check(dataset.features["bow"], len(dataset.images), dataset.name)
        totals = counts.sum(axis=1, keepdims=True)
        return np.asarray(counts / np.maximum(totals, 1), np.float32)
    path = pathlib.Path(kind)
    if not path.is_file():
        raise UserError(
            f"there are no features '{kind}'; known ones: {', '.join(KINDS)}, "
            "or the path of a .npy or HDF5 file"
        )
    return check(_read(path), len(dataset.images), path)


def check(features: NDArray, count: int, where: files.StrPath) -> NDArray[np.float32]:
    """``features`` as float32, if they are one finite row for each of ``count`` images.

    Raises
    ------
    UserError
        If they are not.
    """
    if features.ndim != 2 or len(features) != count or not features.shape[1]:
        raise UserError(
            f"{where} has an array of shape {features.shape}; {count} rows are "
            "needed, one for each image of the data set"
        )
    if features.dtype.kind not in "fiub":
        raise UserError(f"{where} has values of type {features.dtype}, not numbers")
    with np.errstate(over="ignore"):  # what float32 cannot hold is reported below
        features = features.astype(np.float32)
    broken = ~np.isfinite(features).all(axis=1)
    if broken.any():
        raise UserError(
            f"{where}: {broken.sum()} of {count} rows have values that are not "
            f"finite, the first is row {broken.argmax()}; replace them"
        )
    return features


def _read(path: pathlib.Path) -> NDArray:
    problem = "has no features that can be read"
    remedy = "give a .npy file, or an HDF5 file with a data set 'features'"
    if path.suffix == ".npy":
        try:
            with files.open_regular_file(path) as file:
                if file.read(len(NPY_MAGIC)) != NPY_MAGIC:
                    raise ValueError("it is not a .npy file")
            # Mapped, since NumPy would take the memory of any shape before it reads.
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # NumPy evaluates a Python expression, and raises many kinds
            raise UserError(f"{path} {problem} ({error}); {remedy}") from error
    with hdf5_files.read_hdf5(path, problem, remedy) as file:
        return hdf5_files.numbers(file["features"])


def _pretrained(name: str, dataset: Dataset) -> NDArray[np.float32]:
    """The features of a pretrained network."""
    if dataset.images.shape[3] != 3:
        raise UserError(f"{dataset.name} has grey images; {name} takes images in color")
    side = dataset.images.shape[1]
    size = pretrained.NETWORKS[name].size_for(side)
    network = pretrained.feature_encoder(name, size, side)
    rows = np.arange(len(dataset.images))
    return network.relaxed_codes(dataset.images, f"features of {name}", rows)


def _kept(
    kind: str, dataset: Dataset, model: str, compute: Callable[[], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Features that are kept once they are computed; ``model`` is the SHA-256 of the network."""
    path = paths.DATA / "features" / f"{dataset.name}_{kind}.h5"
    digest = _digest(dataset.images)
    cached = _cached(path, digest, model)
    if cached is not None:
        return check(cached, len(dataset.images), path)
    features = compute()
    with atomic_files.write_hdf5_atomically(path, features.nbytes) as file:
        file["features"] = features
        file.attrs["images"] = digest
        file.attrs["model"] = model
    return features


def _cached(path: pathlib.Path, digest: str, model: str) -> NDArray | None:
    """The features in the file; None if it does not exist, is damaged, or is of other images or
    another model."""
    try:
        with hdf5_files.read_hdf5(
            path, "is not a file of features", "they are computed again"
        ) as file:
            if file.attrs["images"] != digest or model not in ("", file.attrs.get("model")):
                return None
            return hdf5_files.numbers(file["features"])
    except UserError:
        return None


def _digest(images: Any) -> str:
    """The SHA-256 of the images."""
    if not isinstance(images, EncodedImages):
        pixels: Any = np.ascontiguousarray(images)
        return hashlib.sha256(pixels).hexdigest()
    digest = hashlib.sha256()
    for row in range(len(images)):
        digest.update(images.encoded(row))
    return digest.hexdigest()
