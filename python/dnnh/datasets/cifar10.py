"""CIFAR-10, from any of the forms it comes in."""

import io
import pathlib
import pickle

import numpy as np
from tqdm import tqdm

from dnnh.datasets import trees
from dnnh.datasets.dataset import Dataset
from dnnh.errors import UserError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer",
           "dog", "frog", "horse", "ship", "truck")

MD5 = ("c32a1d4ab5d03f1284b67883e8d87530",    # binary archive, as published
       "c58f30108f718f92721af3b95e74349a")    # Python archive
BATCH = 10_000       # images in one of its six files, five of them training


def prepare_cifar10(source):
    """CIFAR-10 from any of the forms it comes in.

    Parameters
    ----------
    source : path
        The official binary archive or its folder (``data_batch_1.bin`` ...),
        the official Python archive or its folder (``data_batch_1`` ...), or
        an archive or folder of class folders (``train/<class>/*`` and
        ``test/<class>/*``). Archives are tar (gz, bz2, xz) or zip.

    Raises
    ------
    UserError
        If ``source`` is none of these, or not whole.
    """
    source = pathlib.Path(source)
    verified = source.is_file() and trees.md5_of(source) in MD5
    with trees.open_tree(source) as tree:
        by_name = {member.rsplit("/", 1)[-1]: member for member in tree.members}
        if "data_batch_1.bin" in by_name:
            dataset = _cifar10_binary(tree, by_name)
        elif "data_batch_1" in by_name:
            dataset = _cifar10_python(tree, by_name)
        else:
            dataset = _cifar10_folders(tree)
    if dataset.source.endswith("official layout"):
        dataset.source += " (md5 as published)" if verified else " (md5 not verified)"
    counts = np.bincount(dataset.labels, minlength=10)
    if (counts != 6 * BATCH // 10).any():
        raise UserError(
            f"{source}: CIFAR-10 has {6 * BATCH // 10:,} images of each class; "
            f"here are {counts.tolist()}")
    return dataset


def _batch_names(suffix):
    return [f"data_batch_{i}{suffix}" for i in range(1, 6)] + [f"test_batch{suffix}"]


def _batches(tree, by_name, suffix):
    for name in _batch_names(suffix):
        if name not in by_name:
            raise UserError(f"{tree.path}: {name} is missing")
        yield f"{tree.path}: {name}", tree.read(by_name[name])


def _cifar10(images, labels, source):
    return Dataset(name="cifar10", images=images, labels=labels,
                   classes=CLASSES, source=source, train=5 * BATCH)


def _check_labels(where, labels):
    count = BATCH
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise UserError(f"{where}: {count:,} whole numbers are expected as labels; here "
                        f"are {labels.dtype} of shape {labels.shape}")
    if labels.min() < 0 or labels.max() > 9:
        raise UserError(f"{where}: labels from 0 to 9 are expected; here are some from "
                        f"{labels.min()} to {labels.max()}")


def _cifar10_binary(tree, by_name):
    record = 1 + 3 * 32 * 32     # a label, then red, green and blue planes
    images, labels = [], []
    for where, data in _batches(tree, by_name, ".bin"):
        if len(data) != BATCH * record:
            raise UserError(f"{where} has {len(data):,} bytes, not "
                            f"{BATCH * record:,}; fetch it again")
        records = np.frombuffer(data, np.uint8).reshape(BATCH, record)
        _check_labels(where, records[:, 0])
        images.append(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.append(records[:, 0].astype(np.int64))
    return _cifar10(np.concatenate(images), np.concatenate(labels),
                    "CIFAR-10, binary, official layout")


class _ArraysOnly(pickle.Unpickler):
    """Admits what CIFAR-10's pickles hold, and no other callable.

    An unpickler calls whatever a pickle names. These pickles need the three
    below; a NumPy array cannot run code when it is put together.
    """

    _ADMITTED = {
        ("numpy", "dtype"): np.dtype,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
    }

    def find_class(self, module, name):
        try:
            return self._ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which an archive of arrays "
                "does not need") from None


def _cifar10_python(tree, by_name):
    images, labels = [], []
    for where, data in _batches(tree, by_name, ""):
        try:
            batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
            pixels = batch[b"data"]
            batch_labels = np.asarray(batch[b"labels"])
        except Exception as error:   # a broken pickle can raise nearly anything
            raise UserError(f"{where} is not one of CIFAR-10's pickles: {error}"
                            ) from error
        if (not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8
                or pixels.shape != (BATCH, 3072)):
            raise UserError(f"{where}: 'data' is not an array of uint8 of shape "
                            f"({BATCH}, 3072)")
        _check_labels(where, batch_labels)
        images.append(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.append(batch_labels.astype(np.int64))
    return _cifar10(np.concatenate(images), np.concatenate(labels),
                    "CIFAR-10, Python, official layout")


def _cifar10_folders(tree):
    class_of = {name: i for i, name in enumerate(CLASSES)}
    found = {"train": [], "test": []}
    lossy = False
    for member in tree.members:
        parts = pathlib.PurePosixPath(member).parts
        if pathlib.PurePosixPath(member).suffix.lower() not in trees.IMAGE_SUFFIXES:
            continue
        if len(parts) < 3 or parts[-3] not in found or parts[-2] not in class_of:
            raise UserError(f"{tree.path}: {member} lies in none of train/<class>/ "
                            "and test/<class>/, the classes being "
                            + ", ".join(CLASSES))
        lossy |= member.lower().endswith((".jpg", ".jpeg"))
        found[parts[-3]].append((parts[-2], parts[-1], member))
    members = sorted(found["train"]) + sorted(found["test"])
    if not members:
        raise UserError(
            f"{tree.path} holds none of CIFAR-10's forms: data_batch_1.bin ..., "
            "data_batch_1 ..., train/<class>/<image> and test/<class>/<image>")
    counts = len(found["train"]), len(found["test"])
    if counts != (5 * BATCH, BATCH):
        raise UserError(f"{tree.path}: CIFAR-10 has {5 * BATCH:,} training and "
                        f"{BATCH:,} test images; here are {counts[0]:,} and "
                        f"{counts[1]:,}")
    images = np.empty((len(members), 32, 32, 3), np.uint8)
    labels = np.empty(len(members), np.int64)
    # An archive is read in its own order: it cannot seek cheaply.
    row = {member: i for i, (_, _, member) in enumerate(members)}
    for member, data in tqdm(tree.read_all(row), total=len(row), unit="image",
                             desc="reading CIFAR-10", mininterval=0.5):
        image = trees.decode_image(data, f"{tree.path}: {member}")
        if image.shape != (32, 32, 3):
            raise UserError(f"{tree.path}: {member} is {image.shape[1]}x"
                            f"{image.shape[0]}, not 32x32")
        images[row[member]] = image
        labels[row[member]] = class_of[pathlib.PurePosixPath(member).parts[-2]]
    return _cifar10(images, labels, "CIFAR-10, JPEG copy" if lossy
                    else "CIFAR-10, class folders")
