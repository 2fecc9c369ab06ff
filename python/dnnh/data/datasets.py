"""Data sets: whatever form they arrive in, they become one HDF5 file each.

``data/<name>.h5`` holds ``images`` (uint8, (n, height, width, channels), RGB), or
``files`` (the bytes of a JPEG file each) with their ``shape`` as an attribute, and
``labels`` (int64, (n,), or uint8, (n, classes), 1 where an image has the label), with the
attributes ``classes`` (names), ``source`` (a sentence: what the images were read from),
``images_sha256`` (of the images in their order) and ``train`` (how many images, the first
ones, are the official training set; 0 if there is none); and, under ``features``, what is published besides the images. Every later step reads
this file and nothing else.
"""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable

import h5py
import numpy as np
from numpy.typing import NDArray

from dnnh import atomic_files, hdf5_files, paths
from dnnh.data.cifar10 import prepare_cifar10
from dnnh.data.dataset import Dataset, EncodedImages, ImageFiles, Images
from dnnh.data.digits import prepare_digits
from dnnh.data.mnist import prepare_mnist
from dnnh.data.nuswide import prepare_nuswide
from dnnh.data.svhn import prepare_svhn
from dnnh.errors import UserError, printable

# Each makes a Dataset of an archive or a folder.
PREPARERS: dict[str, Callable[..., Dataset]] = {
    "cifar10": prepare_cifar10,
    "digits": prepare_digits,
    "mnist": prepare_mnist,
    "nuswide": prepare_nuswide,
    "svhn": prepare_svhn,
}

NOT_A_DATASET = "is not a data set file that tools/get_data.py has written"


def path_of(name: str) -> pathlib.Path:
    """The HDF5 file of a data set."""
    return paths.DATA / f"{name}.h5"


def checked_path(name: str) -> pathlib.Path:
    """The HDF5 file of a data set that exists, or that can be prepared.

    Raises
    ------
    UserError
        If there is no such data set.
    """
    is_ones_own = name.isalnum() and name.islower() and path_of(name).exists()
    if name not in PREPARERS and not is_ones_own:
        raise UserError(
            f"unknown data set '{name}'; known ones: "
            + ", ".join(sorted(PREPARERS))
            + "; and your own, once 'python tools/get_data.py folder' has prepared them"
        )
    return path_of(name)


def image_side(name: str) -> int:
    """Height and width of a data set's images, without reading them.

    Raises
    ------
    UserError
        If there is no such data set, or its file is none.
    """
    path = checked_path(name)
    with hdf5_files.read_hdf5(path, NOT_A_DATASET, _prepare_again(name)) as file:
        shape = file.attrs["shape"] if "files" in file else file["images"].shape
        return hdf5_files.whole_number("shape", shape[1])


def save(dataset: Dataset, check: Callable[[Dataset, list[str]], None] | None = None) -> list[str]:
    """Write ``data/<name>.h5``.

    Parameters
    ----------
    dataset : Dataset
    check : function, optional
        Called with the Dataset as it will be (of its images only the number can be asked
        for), and what will be returned, before an earlier data set of that name is
        replaced. If it raises, nothing is replaced.

    Returns
    -------
    list of str : a sentence for each image that could not be read, and is skipped.

    Raises
    ------
    UserError
        If no image could be read.
    """
    skipped: list[str] = []
    with atomic_files.write_hdf5_atomically(path_of(dataset.name), dataset.images.nbytes) as file:
        kept = slice(None)
        if isinstance(dataset.images, ImageFiles):
            kept, sha256 = _save_files(file, dataset, skipped)
        else:
            file["images"] = dataset.images
            sha256 = dataset.images_sha256 or _sha256_of_pixels(dataset.images)
        dataset = dataclasses.replace(
            dataset,
            images_sha256=sha256,
            labels=dataset.labels[kept],
            features={name: values[kept] for name, values in dataset.features.items()},
        )
        file["labels"] = dataset.labels
        for name, values in dataset.features.items():
            file[f"features/{name}"] = values
        file.attrs["classes"] = json.dumps(dataset.classes)
        file.attrs["source"] = dataset.source
        file.attrs["images_sha256"] = dataset.images_sha256
        file.attrs["train"] = dataset.train
        if dataset.origin:
            file.attrs["origin"] = dataset.origin
        if check:
            stored = file["files" if "files" in file else "images"]
            check(dataclasses.replace(dataset, images=stored), skipped)
    return skipped


def _sha256_of_pixels(images: Images) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(images), 1000):
        digest.update(images[start : start + 1000].tobytes())
    return digest.hexdigest()


def _save_files(
    file: h5py.File, dataset: Dataset[ImageFiles], skipped: list[str]
) -> tuple[list[int], str]:
    """Write the images that can be read, each once; returns their rows and SHA-256."""
    count = len(dataset.images)
    stored = file.create_dataset(
        "files", (count,), h5py.vlen_dtype(np.uint8), maxshape=(count,), chunks=(min(count, 256),)
    )
    kept: list[int] = []
    first_row: dict[bytes, int] = {}  # by the digest of an image file
    for row, jpeg in dataset.images.read(skipped):
        # The same image twice could be a query and trained on.
        first = first_row.setdefault(hashlib.sha256(jpeg).digest(), row)
        if first != row:
            sentence = (
                f"{dataset.images.paths[row]} is the same image as {dataset.images.paths[first]}"
            )
            if not np.array_equal(dataset.labels[first], dataset.labels[row]):
                sentence += ", which has other labels"
            skipped.append(sentence)
            continue
        stored[len(kept)] = np.frombuffer(jpeg, np.uint8)
        kept.append(row)
    stored.resize(len(kept), axis=0)
    if not kept:
        raise UserError(f"none of {count:,} images can be read; the first: {skipped[0]}")
    file.attrs["shape"] = (len(kept), *dataset.images.shape[1:])
    return kept, hashlib.sha256(b"".join(first_row)).hexdigest()


def load(name: str) -> Dataset[Images]:
    """Read a data set that ``tools/get_data.py`` has prepared.

    Raises
    ------
    UserError
        If the data set is unknown, not there or not readable.
    """
    path = checked_path(name)
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is a folder, a pipe or a device, and no data set")
    if not path.exists() and name == "digits":
        save(prepare_digits())
    if not path.exists():
        raise UserError(f"{path} is missing; make it with 'python tools/get_data.py {name}'")
    with hdf5_files.read_hdf5(path, NOT_A_DATASET, _prepare_again(name)) as file:
        images: Images
        if "files" in file:
            images = EncodedImages(path, file.attrs["shape"])
        else:
            images = _mapped(path, file["images"])
        features = {}
        if "features" in file:
            features = {
                kind: hdf5_files.numbers(values) for kind, values in file["features"].items()
            }
        dataset = Dataset(
            name=name,
            images=images,
            labels=hdf5_files.numbers(file["labels"]),
            classes=tuple(json.loads(file.attrs["classes"])),
            source=str(file.attrs["source"]),
            train=hdf5_files.whole_number("train", file.attrs["train"]),
            features=features,
            origin=str(file.attrs.get("origin", "")),
            images_sha256=str(file.attrs.get("images_sha256", "")),
        )
        _check(dataset)
    return dataset


def _prepare_again(name: str) -> str:
    arguments = name if name in PREPARERS else f"folder --from PATH --name {name}"
    return f"make it again with 'python tools/get_data.py {arguments} --force'"


def _mapped(path: pathlib.Path, stored: h5py.Dataset) -> NDArray[np.uint8]:
    """The values of an HDF5 data set, left in the file until they are indexed."""
    offset = stored.id.get_offset()
    if offset is None:  # chunked, compressed, or never written
        if stored.chunks is None and stored.size:
            raise ValueError("its images were never written")
        return hdf5_files.numbers(stored)
    return np.memmap(path, stored.dtype, "r", offset, stored.shape)


def _check(dataset: Dataset[Images]) -> None:
    """Raise ValueError where images, labels and classes do not fit together."""
    images = dataset.images
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"images is {images.dtype} of shape {images.shape}")
    if not _labels_fit(dataset.labels, len(images), len(dataset.classes)):
        raise ValueError(
            f"labels is {dataset.labels.dtype} of shape {dataset.labels.shape} for "
            f"{len(images)} images of {len(dataset.classes)} classes"
        )
    for name in dataset.classes:
        if not isinstance(name, str) or printable(name) != name:
            raise ValueError(f"a class is {name!r:.60}, no name that can be written")
    for name, values in dataset.features.items():
        if values.ndim != 2 or len(values) != len(images) or values.dtype.kind not in "iuf":
            raise ValueError(
                f"features '{name}' is {values.dtype} of shape {values.shape} "
                f"for {len(images)} images"
            )
    if not 0 <= dataset.train <= len(images):
        raise ValueError(f"train is {dataset.train} of {len(images)} images")


def _labels_fit(labels: NDArray, images: int, classes: int) -> bool:
    if labels.dtype.kind not in "iu" or len(labels) != images:
        return False
    if labels.ndim == 1:
        return labels.min() >= 0 and labels.max() < classes
    return (
        labels.ndim == 2 and labels.shape[1] == classes and labels.min() >= 0 and labels.max() <= 1
    )
