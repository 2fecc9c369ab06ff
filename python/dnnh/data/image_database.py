"""The LMDBs that `caffe train` reads.

An image database has each image once, with its label. The layer TripletData draws triplets from
it while a net trains (online), or follows the list in the file ``triplets.h5`` of its folder
(listed). A triplet database has whole triplets (materialized), for Caffe's own Data layer. Keys
count from 0000000000.

``layout.json`` in the folder says what a record is, with the split, the seed
and the counts. (It cannot be a record: the layers would read it as an image.)
"""

import io
import json
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import lmdb
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from dnnh import atomic_files, files
from dnnh.data import datums
from dnnh.data.dataset import EncodedImages, Images
from dnnh.data.triplets import MEMBERS
from dnnh.errors import UserError

PAGE = 4096  # bytes, LMDB's unit; a large value takes whole pages
RECORDS_PER_TRANSACTION = 1000
LAYOUT = "layout.json"
TRIPLET_LIST = "triplets.h5"

# How an image is stored, and what Pillow is told for it.
ENCODINGS: dict[str, dict[str, Any] | None] = {
    "raw": None,
    "png": {"format": "PNG"},
    "jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
}


def write_images(
    path: pathlib.Path,
    images: Images,
    labels: NDArray[np.integer],
    about: dict[str, Any],
    encoding: str | None = None,
    triplets: NDArray[np.integer] | None = None,
    rows: NDArray[np.integer] | None = None,
) -> None:
    """Write images with their labels, atomically.

    Parameters
    ----------
    path : path of the folder to write; an earlier database is replaced
    images : uint8 array of shape (n, height, width, channels), 1 or 3 (RGB)
        channels; or EncodedImages
    labels : int64 array of shape (n,), or uint8 multi-hot of shape (n, classes)
    about : dict
        Goes into ``layout.json`` with the layout itself.
    encoding : "raw" (bytes, plane by plane), "png", or "jpeg" (lossy); by
        default encoded images stay as they are, and others are raw
    triplets : int64 array of shape (count, 3), optional
        Indices into ``labels``: the list goes into the same folder.
    rows : int64 array of shape (n,), optional
        Which of the images, in the order of the labels; all by default.

    Raises
    ------
    UserError
        If the disk has no room, ``path`` is something else than a database, or
        images and labels do not fit.
    """
    rows = np.arange(len(images)) if rows is None else rows
    _check_images(images, labels, len(rows))
    count, (height, width, channels) = len(rows), images.shape[1:]
    is_multi_hot = labels.ndim == 2
    layout = {
        "record": [
            f"image, {channels} x {height} x {width} {_stored_as(images, encoding)}",
            "labels, 0 or 1 for each class" if is_multi_hot else "label",
        ],
        "images": count,
        **about,
    }
    if triplets is not None:
        layout["listed_triplets"] = len(triplets)

    def record(index: int) -> bytes:
        datum = datums.datum(channels=channels, height=height, width=width)
        if is_multi_hot:
            datum.float_data.extend(labels[index].tolist())
        else:
            datum.label = int(labels[index])
        datum.data, datum.encoded = _encode(images, rows[index], encoding)
        return datum.SerializeToString()

    def write_list(folder: pathlib.Path) -> None:
        if triplets is not None:
            with atomic_files.write_hdf5_atomically(folder / TRIPLET_LIST) as file:
                file["triplets"] = triplets.astype(np.int32)
                file.attrs["images"] = count

    # An encoded image is rarely larger than its bytes, and then by little.
    size = height * width * channels + 1024 + (5 * labels.shape[1] if is_multi_hot else 0)
    _write(path, count, size, record, layout, "image", write_list)


def _stored_as(images: Images, encoding: str | None) -> str:
    if encoding is None and isinstance(images, EncodedImages):
        return "as the data set keeps it"
    return "bytes" if encoding in (None, "raw") else f"as {encoding.upper()}"


def _encode(images: Images, row: int, encoding: str | None) -> tuple[bytes, bool]:
    """The data of an image's Datum, and whether it is an image file."""
    if encoding is None and isinstance(images, EncodedImages):
        return images.encoded(row), True
    image = images[row]
    options = ENCODINGS[encoding or "raw"]
    if options is None:
        return image.transpose(2, 0, 1).tobytes(), False
    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(file, **options)
    return file.getvalue(), True


def _check_images(images: Images, labels: NDArray, count: int) -> None:
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or not count
        or 0 in images.shape
        or images.shape[3] not in (1, 3)
    ):
        raise UserError(
            f"images is {images.dtype} of shape {images.shape}; images are "
            "uint8 of shape (n, height, width, channels), 1 or 3 channels"
        )
    if not _labels_fit(labels, count):
        raise UserError(
            f"labels is {labels.dtype} of shape {labels.shape} for "
            f"{count} images; labels are int64 (n,) of at most 2^24, or "
            "uint8 multi-hot (n, classes) of 0 and 1"
        )


def _labels_fit(labels: NDArray, count: int) -> bool:
    if len(labels) != count or labels.dtype.kind not in "iu":
        return False
    if labels.ndim == 1:
        # Caffe passes labels on as floats, which tell no more integers apart.
        return bool(np.abs(labels.astype(np.int64)).max() <= 1 << 24)
    return bool(labels.ndim == 2 and labels.shape[1] and labels.min() >= 0 and labels.max() <= 1)


def write_materialized_triplets(
    path: pathlib.Path,
    images: NDArray[np.uint8],
    triplets: NDArray[np.integer],
    about: dict[str, Any],
) -> None:
    """Write whole triplets, atomically.

    A record is a Datum of 3 C channels: the C planes of the query, then
    those of the positive, then those of the negative, bytes 0..255.

    Parameters
    ----------
    path, about : as in `write_images`
    images : uint8 array of shape (n, height, width, channels)
    triplets : int64 array of shape (count, 3), indices into ``images``

    Raises
    ------
    UserError
        As `write_images` does.
    """
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))  # (n, C, H, W)
    _, channels, height, width = planes.shape
    datum = datums.datum(channels=3 * channels, height=height, width=width)
    layout = {
        "record": [f"{member} image, {channels} x {height} x {width} bytes" for member in MEMBERS],
        "triplets": len(triplets),
        **about,
    }

    def record(index: int) -> bytes:
        datum.data = planes[triplets[index]].tobytes()
        return datum.SerializeToString()

    _write(path, len(triplets), planes[0].nbytes * 3 + 32, record, layout, "triplet")


def _write(
    path: pathlib.Path,
    count: int,
    size: int,
    record: Callable[[int], bytes],
    layout: dict[str, Any],
    unit: str,
    write_more: Callable[[pathlib.Path], None] = lambda folder: None,
) -> None:
    """Write ``record(0)`` to ``record(count - 1)``, of at most ``size`` bytes."""
    needed = _database_size(count, size)
    try:
        path = files.resolved(path)
        if path.exists() and not _holds_only_a_database(path):
            raise UserError(
                f"{path} exists and is not a database that tools/make_triplets.py has written; it "
                "is not touched. Give --output the name of a new folder"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_files.check_room(path, needed, path.parent)
        with atomic_files.write_atomically(path) as partial:
            partial.mkdir()
            with lmdb.open(str(partial), map_size=2 * needed, sync=False, lock=False) as database:
                with tqdm(
                    total=count, unit=unit, unit_scale=True, desc=f"writing {path.name}"
                ) as progress:
                    for start in range(0, count, RECORDS_PER_TRANSACTION):
                        end = min(start + RECORDS_PER_TRANSACTION, count)
                        _append(database, start, map(record, range(start, end)))
                        progress.update(end - start)
                database.sync(True)
            write_more(partial)
            (partial / LAYOUT).write_text(json.dumps(layout, indent=1) + "\n", encoding="utf-8")
    except (lmdb.Error, OSError) as error:
        raise UserError(
            f"{path} could not be written ({error}); nothing is left of "
            "it. Is the disk full, or the folder not yours?"
        ) from error


def _database_size(count: int, size: int) -> int:
    """An upper bound of the bytes of an LMDB of so many records of at most ``size`` bytes."""
    size += 64  # with key and node
    if size < PAGE // 2:  # several share a page
        records_per_page = PAGE // size
        pages = -(-count // records_per_page)
    else:
        pages = count * -(-size // PAGE)
    needed = pages * PAGE
    return needed + needed // 16 + (1 << 20)  # with the tree above them


def _holds_only_a_database(path: pathlib.Path) -> bool:
    """Whether a folder holds one of our databases and nothing else."""
    if not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    required = {"data.mdb", LAYOUT}
    return required <= names <= required | {"lock.mdb", TRIPLET_LIST}


def _append(database: lmdb.Environment, start: int, values: Iterable[bytes]) -> None:
    """Append records, numbered from ``start``."""
    records = [(b"%010d" % i, value) for i, value in enumerate(values, start)]
    with database.begin(write=True) as transaction:
        _, added = transaction.cursor().putmulti(records, append=True)
    if added != len(records):
        raise lmdb.Error(f"{added} of {len(records)} records were taken")


def read_layout(path: pathlib.Path) -> dict[str, Any]:
    """The content of a database's ``layout.json``.

    Raises
    ------
    UserError
        If it is not a database that this module wrote.
    """
    try:
        layout = files.read_json(path / LAYOUT)
        if not isinstance(layout, dict):
            raise ValueError("it is no JSON object")
        return layout
    except (UserError, ValueError) as error:
        raise UserError(
            f"{path} is not a database of images and labels ({error}); write it with "
            "'python tools/make_triplets.py'"
        ) from error
