"""Data sets: whatever form they arrive in, they become one HDF5 file each.

``data/<name>.h5`` holds ``images`` (uint8, (n, height, width, channels), RGB)
and ``labels`` (int64, (n,)), with the attributes ``classes`` (names), ``source``
(a sentence: what the images were read from) and ``train`` (how many images, the
first ones, are the official training set; 0 where there is no such thing).
Every later step reads this file and nothing else.
"""

import dataclasses
import io
import hashlib
import json
import lzma
import pathlib
import pickle
import tarfile
import zipfile
import zlib

import h5py
import numpy as np
from PIL import Image
from tqdm import tqdm

from dnnh import paths
from dnnh.errors import UserError

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer",
                   "dog", "frog", "horse", "ship", "truck")

CIFAR10_MD5 = ("c32a1d4ab5d03f1284b67883e8d87530",    # binary archive, as published
               "c58f30108f718f92721af3b95e74349a")    # Python archive
CIFAR10_BATCH = 10_000       # images in one of its six files, five of them training

# Images this large are never a small-image data set, but may be an attack.
MAX_IMAGE_PIXELS = 50_000_000
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp"}


@dataclasses.dataclass
class Dataset:
    """Images with labels.

    Attributes
    ----------
    images : uint8 array of shape (n, height, width, channels)
    labels : int64 array of shape (n,), index into ``classes``; or uint8 array
        of shape (n, classes), 1 where an image has the label
    classes : tuple of str
    source : str
        What the images were read from; stands beside every number.
    train : int
        The first ``train`` images are the official training set, 0 if none.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple
    source: str
    train: int = 0


# --- the HDF5 file ------------------------------------------------------------

def path_of(name):
    """The HDF5 file of a data set."""
    return paths.DATA / f"{name}.h5"


def save(dataset):
    """Write ``data/<name>.h5``."""
    with paths.hdf5_written_whole(path_of(dataset.name)) as file:
        file["images"] = dataset.images
        file["labels"] = dataset.labels
        file.attrs["classes"] = json.dumps(dataset.classes)
        file.attrs["source"] = dataset.source
        file.attrs["train"] = dataset.train


def load(name):
    """Read a data set that ``tools/get_data.py`` has prepared.

    Raises
    ------
    UserError
        If the data set is unknown, not there or not readable.
    """
    if name not in PREPARERS:
        raise UserError(f"unknown data set '{name}'; known ones: "
                        + ", ".join(sorted(PREPARERS)))
    path = path_of(name)
    if not path.exists() and name == "digits":
        save(prepare_digits())
    if not path.exists():
        raise UserError(f"{path} is missing; make it with "
                        f"'python tools/get_data.py {name}'")
    try:
        with h5py.File(path, "r") as file:
            dataset = Dataset(
                name=name,
                images=file["images"][:],
                labels=file["labels"][:],
                classes=tuple(json.loads(file.attrs["classes"])),
                source=str(file.attrs["source"]),
                train=int(file.attrs["train"]))
        _check(dataset)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, OverflowError,
            MemoryError) as error:
        raise UserError(f"{path} is not a data set file of ours ({error}); "
                        f"make it again with 'python tools/get_data.py {name} --force'"
                        ) from error
    return dataset


def _check(dataset):
    """Raise ValueError where images, labels and classes do not fit together."""
    images, labels, classes = dataset.images, dataset.labels, len(dataset.classes)
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"images is {images.dtype} of shape {images.shape}")
    if labels.dtype.kind not in "iu" or len(labels) != len(images) or not (
            labels.ndim == 1 and 0 <= labels.min() and labels.max() < classes
            or labels.ndim == 2 and labels.shape[1] == classes):
        raise ValueError(f"labels is {labels.dtype} of shape {labels.shape} for "
                         f"{len(images)} images of {classes} classes")
    if not all(isinstance(name, str) for name in dataset.classes):
        raise ValueError(f"classes is {dataset.classes}, not names")
    if not 0 <= dataset.train <= len(images):
        raise ValueError(f"train is {dataset.train} of {len(images)} images")


# --- digits --------------------------------------------------------------------

def prepare_digits(source=None):
    """scikit-learn's 1,797 handwritten digits: 8x8 scans, 16 grey levels."""
    if source is not None:
        raise UserError("the digits come with scikit-learn; leave --from out")
    from sklearn.datasets import load_digits
    digits = load_digits()
    # Levels 0..16 become 0..255.
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return Dataset(
        name="digits",
        images=images[..., np.newaxis],                   # (1797, 8, 8, 1)
        labels=digits.target.astype(np.int64),
        classes=tuple("0123456789"),
        source="scikit-learn's handwritten digits")


# --- CIFAR-10 ---------------------------------------------------------------

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
    verified = source.is_file() and md5_of(source) in CIFAR10_MD5
    with open_tree(source) as tree:
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
    if (counts != 6 * CIFAR10_BATCH // 10).any():
        raise UserError(
            f"{source}: CIFAR-10 has {6 * CIFAR10_BATCH // 10:,} images of each class; "
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
                   classes=CIFAR10_CLASSES, source=source, train=5 * CIFAR10_BATCH)


def _check_labels(where, labels):
    count = CIFAR10_BATCH
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
        if len(data) != CIFAR10_BATCH * record:
            raise UserError(f"{where} has {len(data):,} bytes, not "
                            f"{CIFAR10_BATCH * record:,}; fetch it again")
        records = np.frombuffer(data, np.uint8).reshape(CIFAR10_BATCH, record)
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
                or pixels.shape != (CIFAR10_BATCH, 3072)):
            raise UserError(f"{where}: 'data' is not an array of uint8 of shape "
                            f"({CIFAR10_BATCH}, 3072)")
        _check_labels(where, batch_labels)
        images.append(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.append(batch_labels.astype(np.int64))
    return _cifar10(np.concatenate(images), np.concatenate(labels),
                    "CIFAR-10, Python, official layout")


def _cifar10_folders(tree):
    class_of = {name: i for i, name in enumerate(CIFAR10_CLASSES)}
    found = {"train": [], "test": []}
    lossy = False
    for member in tree.members:
        parts = pathlib.PurePosixPath(member).parts
        if pathlib.PurePosixPath(member).suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if len(parts) < 3 or parts[-3] not in found or parts[-2] not in class_of:
            raise UserError(f"{tree.path}: {member} lies in none of train/<class>/ "
                            "and test/<class>/, the classes being "
                            + ", ".join(CIFAR10_CLASSES))
        lossy |= member.lower().endswith((".jpg", ".jpeg"))
        found[parts[-3]].append((parts[-2], parts[-1], member))
    members = sorted(found["train"]) + sorted(found["test"])
    if not members:
        raise UserError(
            f"{tree.path} holds none of CIFAR-10's forms: data_batch_1.bin ..., "
            "data_batch_1 ..., train/<class>/<image> and test/<class>/<image>")
    counts = len(found["train"]), len(found["test"])
    if counts != (5 * CIFAR10_BATCH, CIFAR10_BATCH):
        raise UserError(f"{tree.path}: CIFAR-10 has {5 * CIFAR10_BATCH:,} training and "
                        f"{CIFAR10_BATCH:,} test images; here are {counts[0]:,} and "
                        f"{counts[1]:,}")
    images = np.empty((len(members), 32, 32, 3), np.uint8)
    labels = np.empty(len(members), np.int64)
    # An archive is read in its own order: it cannot seek cheaply.
    row = {member: i for i, (_, _, member) in enumerate(members)}
    for member, data in tqdm(tree.read_all(row), total=len(row), unit="image",
                             desc="reading CIFAR-10", mininterval=0.5):
        image = decode_image(data, f"{tree.path}: {member}")
        if image.shape != (32, 32, 3):
            raise UserError(f"{tree.path}: {member} is {image.shape[1]}x"
                            f"{image.shape[0]}, not 32x32")
        images[row[member]] = image
        labels[row[member]] = class_of[pathlib.PurePosixPath(member).parts[-2]]
    return _cifar10(images, labels, "CIFAR-10, JPEG copy" if lossy
                    else "CIFAR-10, class folders")


def decode_image(data, where):
    """Decode an image file's bytes to RGB, uint8 of shape (height, width, 3)."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise UserError(f"{where} claims {image.width}x{image.height} "
                                f"pixels, over the limit of {MAX_IMAGE_PIXELS:,}")
            return np.asarray(image.convert("RGB"))
    except UserError:
        raise
    except Exception as error:       # Pillow's decoders raise many kinds
        raise UserError(f"{where} is not a readable image: {error}") from error


# --- folders and archives, read alike ----------------------------------------

class _Tree:
    """The files of a folder, tar or zip archive, read without unpacking.

    Nothing is written to disk, so a member's name (``../../x``, a link) can
    reach nowhere.
    """

    def __init__(self, path, members, read, close):
        self.path, self.members = path, members
        self.read, self._close = read, close

    def read_all(self, members):
        """Yield (member, bytes) for the given members, in the tree's order."""
        for member in self.members:
            if member in members:
                yield member, self.read(member)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._close()


# What the readers of archives raise on damaged or unusual ones.
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError,
           OSError, ValueError, RuntimeError, NotImplementedError)
# A member of any archive we read is at most a batch of CIFAR-10, 31 MB.
MAX_MEMBER_BYTES = 64_000_000


def _bounded(where, stream):
    data = stream.read(MAX_MEMBER_BYTES + 1)
    if len(data) > MAX_MEMBER_BYTES:
        raise UserError(f"{where} is larger than {MAX_MEMBER_BYTES:,} bytes, "
                        "larger than anything in this data set")
    return data


def open_tree(path):
    """Open a folder or an archive for reading; see _Tree."""
    path = pathlib.Path(path)
    if path.is_dir():
        files = {p.relative_to(path).as_posix(): p
                 for p in sorted(path.rglob("*")) if p.is_file()}

        def read(member):
            with files[member].open("rb") as stream:
                return _bounded(files[member], stream)
        return _Tree(path, list(files), read, lambda: None)
    if not path.exists():
        raise UserError(f"{path} does not exist")
    if not path.is_file():
        raise UserError(f"{path} is a device or a pipe; name a folder or an archive")
    try:
        if zipfile.is_zipfile(path):
            archive = zipfile.ZipFile(path)
            names = [i.filename for i in archive.infolist() if not i.is_dir()]

            def read(member):
                with _reading(path), archive.open(member) as stream:
                    return _bounded(f"{path}: {member}", stream)
            return _Tree(path, names, read, archive.close)
        archive = tarfile.open(path)
        members = {m.name: m for m in archive if m.isfile()}
    except DAMAGED as error:
        raise UserError(f"{path} is neither a folder nor a whole tar or zip "
                        f"archive: {error}") from error

    def read(member):
        with _reading(path), archive.extractfile(members[member]) as stream:
            return _bounded(f"{path}: {member}", stream)
    return _Tree(path, list(members), read, archive.close)


class _reading:
    """Turns what a truncated archive raises into a sentence."""

    def __init__(self, path):
        self._path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, DAMAGED) and not isinstance(error, UserError):
            raise UserError(f"{self._path} is damaged ({error}); fetch it again"
                            ) from error


def md5_of(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


PREPARERS = {"cifar10": prepare_cifar10, "digits": prepare_digits}
