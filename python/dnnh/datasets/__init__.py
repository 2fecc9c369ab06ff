"""Data sets: whatever form they arrive in, they become one HDF5 file each.

``data/<name>.h5`` holds ``images`` (uint8, (n, height, width, channels), RGB), or
``files`` (the bytes of a JPEG file each) with their ``shape`` as an attribute, and
``labels`` (int64, (n,), or uint8, (n, classes), 1 where an image has the label), with the
attributes ``classes`` (names), ``source`` (a sentence: what the images were read from) and
``train`` (how many images, the first ones, are the official training set; 0 where there
is no such thing); and, under ``features``, what is published beside the images. Every
later step reads this file and nothing else.
"""

import dataclasses
import hashlib
import json

import h5py
import numpy as np

from dnnh import paths
from dnnh.datasets.cifar10 import prepare_cifar10
from dnnh.datasets.dataset import Dataset, EncodedImages, ImageFiles
from dnnh.datasets.digits import prepare_digits
from dnnh.datasets.mnist import prepare_mnist
from dnnh.datasets.nuswide import prepare_nuswide
from dnnh.datasets.svhn import prepare_svhn
from dnnh.errors import UserError

# Each makes a Dataset of an archive or a folder.
PREPARERS = {"cifar10": prepare_cifar10, "digits": prepare_digits, "mnist": prepare_mnist,
             "nuswide": prepare_nuswide, "svhn": prepare_svhn}


def path_of(name):
    """The HDF5 file of a data set."""
    return paths.DATA / f"{name}.h5"


def checked_path(name):
    """The HDF5 file of a data set that there is, or could be.

    Raises
    ------
    UserError
        If there is no such data set.
    """
    if name not in PREPARERS and not (
            name.isalnum() and name.islower() and path_of(name).exists()):
        raise UserError(
            f"unknown data set '{name}'; known ones: " + ", ".join(sorted(PREPARERS))
            + "; and your own, once 'python tools/get_data.py folder' has prepared them")
    return path_of(name)


def side_of(name):
    """Height and width of a data set's images, without reading them.

    Raises
    ------
    UserError
        If there is no such data set, or its file is none.
    """
    path = checked_path(name)
    try:
        with h5py.File(path, "r") as file:
            shape = file.attrs["shape"] if "files" in file else file["images"].shape
            return int(shape[1])
    except (OSError, KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a data set file of ours ({error})") from error


def save(dataset, check=None):
    """Write ``data/<name>.h5``.

    Parameters
    ----------
    dataset : Dataset
    check : function, optional
        Called with the Dataset as it will be (of whose images only the number can be
        asked for), and what will be returned, before another one of that name is
        replaced, which an error prevents.

    Returns
    -------
    list of str : a sentence for each image that could not be read, and is left out.

    Raises
    ------
    UserError
        If no image could be read.
    """
    left_out = []
    with paths.hdf5_written_whole(path_of(dataset.name), dataset.images.nbytes) as file:
        kept = slice(None)
        if isinstance(dataset.images, ImageFiles):
            kept = _save_files(file, dataset, left_out)
        else:
            file["images"] = dataset.images
        dataset = dataclasses.replace(
            dataset, labels=dataset.labels[kept],
            features={name: values[kept] for name, values in dataset.features.items()})
        file["labels"] = dataset.labels
        for name, values in dataset.features.items():
            file[f"features/{name}"] = values
        file.attrs["classes"] = json.dumps(dataset.classes)
        file.attrs["source"] = dataset.source
        file.attrs["train"] = dataset.train
        if check:
            images = file["files" if "files" in file else "images"]
            check(dataclasses.replace(dataset, images=images), left_out)
    return left_out


def _save_files(file, dataset, left_out):
    """Write the images that can be read; returns their rows."""
    count = len(dataset.images)
    files = file.create_dataset("files", (count,), h5py.vlen_dtype(np.uint8),
                                maxshape=(count,), chunks=(min(count, 256),))
    kept, first_with = [], {}
    for row, data in dataset.images.read(left_out):
        # The same image twice could be a query and trained on.
        first = first_with.setdefault(hashlib.sha256(data).digest(), row)
        if first != row:
            other = "" if np.array_equal(dataset.labels[first], dataset.labels[row]) else (
                ", which has other labels")
            left_out.append(f"{dataset.images.paths[row]} is the same image as "
                            f"{dataset.images.paths[first]}{other}")
            continue
        files[len(kept)] = np.frombuffer(data, np.uint8)
        kept.append(row)
    files.resize(len(kept), axis=0)
    if not kept:
        raise UserError(f"none of {count:,} images can be read; the first: "
                        f"{left_out[0]}")
    file.attrs["shape"] = (len(kept), *dataset.images.shape[1:])
    return kept


def load(name):
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
        raise UserError(f"{path} is missing; make it with "
                        f"'python tools/get_data.py {name}'")
    try:
        with h5py.File(path, "r") as file:
            dataset = Dataset(
                name=name,
                images=(EncodedImages(path, file.attrs["shape"].tolist())
                        if "files" in file else _mapped(path, file["images"])),
                labels=file["labels"][:],
                classes=tuple(json.loads(file.attrs["classes"])),
                source=str(file.attrs["source"]),
                train=int(file.attrs["train"]),
                features={kind: values[:] for kind, values in file["features"].items()}
                if "features" in file else {})
        _check(dataset)
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError,
            OverflowError, MemoryError) as error:
        own = "" if name in PREPARERS else "folder --from PATH --name "
        raise UserError(f"{path} is not a data set file of ours ({error}); "
                        f"make it again with 'python tools/get_data.py {own}{name} --force'"
                        ) from error
    return dataset


def _mapped(path, stored):
    """The values of an HDF5 data set, left in the file until they are looked at."""
    offset = stored.id.get_offset()
    if offset is None:                         # in pieces, compressed, or never written
        if stored.chunks is None and stored.size:
            raise ValueError("its images were never written")
        return stored[:]
    return np.memmap(path, stored.dtype, "r", offset, stored.shape)


def _check(dataset):
    """Raise ValueError where images, labels and classes do not fit together."""
    images, labels, classes = dataset.images, dataset.labels, len(dataset.classes)
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"images is {images.dtype} of shape {images.shape}")
    if labels.dtype.kind not in "iu" or len(labels) != len(images) or not (
            labels.ndim == 1 and 0 <= labels.min() and labels.max() < classes
            or labels.ndim == 2 and labels.shape[1] == classes
            and 0 <= labels.min() and labels.max() <= 1):
        raise ValueError(f"labels is {labels.dtype} of shape {labels.shape} for "
                         f"{len(images)} images of {classes} classes")
    if not all(isinstance(name, str) for name in dataset.classes):
        raise ValueError(f"classes is {dataset.classes}, not names")
    for name, values in dataset.features.items():
        if values.ndim != 2 or len(values) != len(images) or values.dtype.kind not in "iuf":
            raise ValueError(f"features '{name}' is {values.dtype} of shape {values.shape} "
                             f"for {len(images)} images")
    if not 0 <= dataset.train <= len(images):
        raise ValueError(f"train is {dataset.train} of {len(images)} images")
