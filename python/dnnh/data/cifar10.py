"""CIFAR-10, from any of the forms it comes in."""

import hashlib
import pathlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dnnh import files
from dnnh.data import archives, image_files, pickled_arrays
from dnnh.data.dataset import Dataset
from dnnh.errors import UserError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

MD5 = (
    "c32a1d4ab5d03f1284b67883e8d87530",  # binary archive, as published
    "c58f30108f718f92721af3b95e74349a",  # Python archive
)
BATCH = 10_000  # images in one of its six files, five of them training
BATCH_NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def prepare_cifar10(source: files.StrPath) -> Dataset[NDArray[np.uint8]]:
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
    is_published = source.is_file() and files.md5(source) in MD5
    with archives.open_archive(source) as archive:
        members = {member.rsplit("/", 1)[-1]: member for member in archive.members}
        if "data_batch_1.bin" in members:
            dataset = _from_binary(archive, members)
        elif "data_batch_1" in members:
            dataset = _from_pickles(archive, members)
        else:
            dataset = _from_folders(archive)
    if dataset.source.endswith("official layout"):
        dataset.source += " (md5 as published)" if is_published else " (md5 not verified)"
    counts = np.bincount(dataset.labels, minlength=10)
    if (counts != 6 * BATCH // 10).any():
        raise UserError(
            f"{source}: CIFAR-10 has {6 * BATCH // 10:,} images of each class; "
            f"here are {counts.tolist()}"
        )
    return dataset


def _batches(
    archive: archives.Archive, members: dict[str, str], suffix: str
) -> Iterator[tuple[str, bytes]]:
    """Yield (what messages call it, bytes) of the six files, the test batch last."""
    for batch in BATCH_NAMES:
        name = batch + suffix
        if name not in members:
            raise UserError(f"{archive.path}: {name} is missing")
        yield f"{archive.path}: {name}", archive.read(members[name])


def _cifar10(
    images: NDArray[np.uint8], labels: NDArray[np.int64], source: str, images_sha256: str = ""
) -> Dataset[NDArray[np.uint8]]:
    return Dataset(
        name="cifar10",
        images=images,
        labels=labels,
        classes=CLASSES,
        source=source,
        train=5 * BATCH,
        images_sha256=images_sha256,
    )


def _images(planes: NDArray) -> NDArray[np.uint8]:
    """Images of shape (n, 32, 32, 3) from rows of a red, a green and a blue plane."""
    return planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _check_labels(where: str, labels: NDArray) -> None:
    if labels.shape != (BATCH,) or labels.dtype.kind not in "iu":
        raise UserError(
            f"{where}: {BATCH:,} whole numbers are expected as labels; here "
            f"are {labels.dtype} of shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() > 9:
        raise UserError(
            f"{where}: labels from 0 to 9 are expected; here are some from "
            f"{labels.min()} to {labels.max()}"
        )


def _from_binary(archive: archives.Archive, members: dict[str, str]) -> Dataset[NDArray[np.uint8]]:
    record = 1 + 3 * 32 * 32  # a label, then red, green and blue planes
    images, labels = [], []
    for where, data in _batches(archive, members, ".bin"):
        if len(data) != BATCH * record:
            raise UserError(
                f"{where} has {len(data):,} bytes, not {BATCH * record:,}; fetch it again"
            )
        records = np.frombuffer(data, np.uint8).reshape(BATCH, record)
        _check_labels(where, records[:, 0])
        images.append(_images(records[:, 1:]))
        labels.append(records[:, 0].astype(np.int64))
    return _cifar10(
        np.concatenate(images), np.concatenate(labels), "CIFAR-10, binary, official layout"
    )


def _from_pickles(archive: archives.Archive, members: dict[str, str]) -> Dataset[NDArray[np.uint8]]:
    images, labels = [], []
    for where, data in _batches(archive, members, ""):
        try:
            pixels, batch_labels = pickled_arrays.load(data)
        except Exception as error:  # a broken pickle can raise nearly anything
            raise UserError(f"{where} is not one of CIFAR-10's pickles: {error}") from error
        if pixels.dtype != np.uint8 or pixels.shape != (BATCH, 3072):
            raise UserError(f"{where}: 'data' is not an array of uint8 of shape ({BATCH}, 3072)")
        _check_labels(where, batch_labels)
        images.append(_images(pixels))
        labels.append(batch_labels.astype(np.int64))
    return _cifar10(
        np.concatenate(images), np.concatenate(labels), "CIFAR-10, Python, official layout"
    )


def _from_folders(archive: archives.Archive) -> Dataset[NDArray[np.uint8]]:
    label_of = {name: label for label, name in enumerate(CLASSES)}
    parts: dict[str, list[tuple[str, str, str]]] = {"train": [], "test": []}
    has_jpeg = False
    for member in archive.members:
        path = pathlib.PurePosixPath(member)
        if path.suffix.lower() not in image_files.SUFFIXES:
            continue
        if len(path.parts) < 3 or path.parts[-3] not in parts or path.parts[-2] not in label_of:
            raise UserError(
                f"{archive.path}: {member} lies in none of train/<class>/ "
                "and test/<class>/, the classes being " + ", ".join(CLASSES)
            )
        part, class_name, file_name = path.parts[-3:]
        parts[part].append((class_name, file_name, member))
        has_jpeg = has_jpeg or path.suffix.lower() in (".jpg", ".jpeg")
    in_order = sorted(parts["train"]) + sorted(parts["test"])
    if not in_order:
        raise UserError(
            f"{archive.path} holds none of CIFAR-10's forms: data_batch_1.bin ..., "
            "data_batch_1 ..., train/<class>/<image> and test/<class>/<image>"
        )
    training, test = len(parts["train"]), len(parts["test"])
    if (training, test) != (5 * BATCH, BATCH):
        raise UserError(
            f"{archive.path}: CIFAR-10 has {5 * BATCH:,} training and "
            f"{BATCH:,} test images; here are {training:,} and {test:,}"
        )
    images = np.empty((len(in_order), 32, 32, 3), np.uint8)
    labels = np.array([label_of[class_name] for class_name, _, _ in in_order], np.int64)
    # An archive is read in its own order: it cannot seek cheaply.
    rows = {member: row for row, (_, _, member) in enumerate(in_order)}
    digests = [b""] * len(in_order)
    progress = tqdm(
        archive.read_all(rows),
        total=len(rows),
        unit=" images",
        desc="reading CIFAR-10",
        mininterval=0.5,
    )
    for member, data in progress:
        image = image_files.decode_image(data, f"{archive.path}: {member}")
        if image.shape != (32, 32, 3):
            raise UserError(
                f"{archive.path}: {member} is {image.shape[1]}x{image.shape[0]}, not 32x32"
            )
        images[rows[member]] = image
        digests[rows[member]] = hashlib.sha256(data).digest()
    source = "CIFAR-10, JPEG copy" if has_jpeg else "CIFAR-10, class folders"
    return _cifar10(images, labels, source, hashlib.sha256(b"".join(digests)).hexdigest())
