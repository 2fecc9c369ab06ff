"""MNIST, from its IDX files (LeCun, Bottou, Bengio, Haffner, Proc. IEEE 1998)."""

import gzip
import hashlib
import io
import math
import re

import numpy as np
from numpy.typing import NDArray

from dnnh import files
from dnnh.data import archives
from dnnh.data.dataset import Dataset
from dnnh.errors import UserError

SIDE = 28
PARTS = {"train": 60_000, "t10k": 10_000}  # images in the two official parts
# Of the files as published, compressed.
MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}


def prepare_mnist(source: files.StrPath) -> Dataset[NDArray[np.uint8]]:
    """MNIST from its four files, compressed or not; or from the two of its test part.

    Parameters
    ----------
    source : path
        A folder or an archive that has ``train-images-idx3-ubyte`` and so on; with or
        without ``.gz``, a dot in place of the hyphen before ``idx``, and something before
        the name, as some programs have it. Where the training part is missing, the 10,000
        test images are a data set of their own, which says so.

    Raises
    ------
    UserError
        If a file of a part is missing, or is not an IDX file of the right size.
    """
    with archives.open_archive(source) as archive:
        members = _official_names(archive.members)
        parts = [part for part in PARTS if any(name.startswith(f"{part}-") for name in members)]
        if "t10k" not in parts:
            raise UserError(
                f"{source} has no t10k-images-idx3-ubyte, nor its like; MNIST "
                f"is {', '.join(MD5)}, each as it is or with .gz"
            )
        images, labels = [], []
        is_published = True
        for part in parts:
            arrays = []
            for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"):
                if name not in members:
                    raise UserError(f"{source}: {name} is missing")
                where = f"{archive.path}: {members[name]}"
                data = archive.read(members[name])
                is_published &= hashlib.md5(data).hexdigest() == MD5[name]
                arrays.append(_idx(_decompressed(data, where), where))
            part_images, part_labels = arrays
            _check(source, part, part_images, part_labels)
            images.append(part_images[..., np.newaxis])
            labels.append(part_labels.astype(np.int64))
    has_training = "train" in parts
    what = "MNIST" if has_training else "MNIST, its 10,000 test images alone"
    return Dataset(
        name="mnist",
        images=np.concatenate(images),
        labels=np.concatenate(labels),
        classes=tuple("0123456789"),
        train=PARTS["train"] if has_training else 0,
        source=f"{what} (md5 {'as published' if is_published else 'not verified'})",
    )


def _official_names(members: list[str]) -> dict[str, str]:
    """The members that are MNIST's files, by their official names."""
    official = {}
    for member in members:
        match = re.search(
            r"(train|t10k)-(images-idx3|labels-idx1)-ubyte$",
            member.removesuffix(".gz").replace(".idx", "-idx"),
        )
        if match:
            official[match[0]] = member
    return official


def _decompressed(data: bytes, where: str) -> bytes:
    if data[:2] != b"\x1f\x8b":
        return data
    with archives.refuse_damaged(where), gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        return files.read_bounded(where, stream)


def _idx(data: bytes, where: str) -> NDArray[np.uint8]:
    """The array of an IDX file of bytes: two zeros, type, axes; sizes; values."""
    axes = data[3] if len(data) > 3 else 0
    if data[:3] != b"\0\0\x08" or not 1 <= axes <= 3 or len(data) < 4 + 4 * axes:
        raise UserError(
            f"{where} is not an IDX file of bytes: it begins with "
            f"{data[:4].hex(' ') or 'nothing'}, not 00 00 08 and 1 to 3 axes"
        )
    shape = np.frombuffer(data, ">u4", axes, 4).tolist()
    values = len(data) - 4 - 4 * axes
    if values != math.prod(shape):  # of Python's numbers, which do not overflow
        raise UserError(
            f"{where} has {values:,} values for the shape {tuple(shape)}; fetch it again"
        )
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _check(
    source: files.StrPath, part: str, images: NDArray[np.uint8], labels: NDArray[np.uint8]
) -> None:
    count = PARTS[part]
    if images.shape != (count, SIDE, SIDE) or labels.shape != (count,):
        raise UserError(
            f"{source}: the part '{part}' has images of shape {images.shape} "
            f"and labels of shape {labels.shape}; {(count, SIDE, SIDE)} and "
            f"{(count,)} are expected"
        )
    if labels.max() > 9:
        raise UserError(
            f"{source}: the part '{part}' has a label {labels.max()}; digits are 0 to 9"
        )
