"""The LMDBs that `caffe train` reads.

An image database has each image once, with its label; the layer TripletData
draws triplets from it while it trains, or follows the list in the file
``triplets.h5`` of its folder, if it is told to. A dense database has whole
triplets, for Caffe's own Data layer. Keys count from 0000000000.

``layout.json`` in the folder says what a record is, with the split, the seed
and the counts. (It cannot be a record: the layers would read it as an image.)
"""

import io
import json
import shutil

import lmdb
import numpy as np
from PIL import Image
from tqdm import tqdm

from dnnh import paths
from dnnh.datasets import EncodedImages
from dnnh.errors import UserError
from dnnh.triplets import MEMBERS

PAGE = 4096                 # LMDB's unit; a large value takes whole pages
RECORDS_AT_ONCE = 1000
TRIPLET_LIST = "triplets.h5"

# How an image is kept, and what Pillow is told for it.
ENCODINGS = {"raw": None,
             "png": {"format": "PNG"},
             "jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0}}


def write_images(path, images, labels, about, encoding=None, triplets=None, rows=None):
    """Write images with their labels, whole or not at all.

    Parameters
    ----------
    path : path of the folder to write; an earlier database is replaced
    images : uint8 array of shape (n, height, width, channels), 1 or 3 (RGB)
        channels; or dnnh.datasets.EncodedImages
    labels : int64 array of shape (n,), or uint8 multi-hot of shape (n, classes)
    about : dict
        Goes into ``layout.json`` with the layout itself.
    encoding : "raw" (bytes, plane by plane), "png", or "jpeg" (which loses some); by
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
    from caffe.proto.caffe_pb2 import Datum
    rows = np.arange(len(images)) if rows is None else rows
    _check_images(images, labels, len(rows))
    count, (height, width, channels) = len(rows), images.shape[1:]
    as_kept = encoding is None and isinstance(images, EncodedImages)
    encoding = encoding or "raw"
    multi_hot = np.ndim(labels) == 2
    shape = f"{channels} x {height} x {width}"
    layout = {
        "record": [f"image, {shape} " + (
            "as the data set keeps it" if as_kept else
            "bytes" if encoding == "raw" else f"as {encoding.upper()}"),
            "labels, 0 or 1 for each class" if multi_hot else "label"],
        "images": count, **about}
    if triplets is not None:
        layout["listed_triplets"] = len(triplets)

    def record(index):
        datum = Datum(channels=channels, height=height, width=width)
        if multi_hot:
            datum.float_data.extend(labels[index].tolist())
        else:
            datum.label = int(labels[index])
        datum.encoded = as_kept or encoding != "raw"
        if as_kept:
            datum.data = images.encoded(rows[index])
        elif encoding == "raw":
            datum.data = images[rows[index]].transpose(2, 0, 1).tobytes()
        else:
            file = io.BytesIO()
            image = images[rows[index]]
            Image.fromarray(image[..., 0] if channels == 1 else image).save(
                file, **ENCODINGS[encoding])
            datum.data = file.getvalue()
        return datum.SerializeToString()

    def write_list(folder):
        if triplets is not None:
            _write_list(folder / TRIPLET_LIST, triplets, count)

    # An encoded image is rarely larger than its bytes, and then by little.
    size = height * width * channels + 1024 + (5 * labels.shape[1] if multi_hot else 0)
    _write(path, count, size, record, layout, "image", write_list)


def _check_images(images, labels, count):
    if images.dtype != np.uint8 or images.ndim != 4 or not count or 0 in images.shape or (
            images.shape[3] not in (1, 3)):
        raise UserError(f"images is {images.dtype} of shape {images.shape}; images are "
                        "uint8 of shape (n, height, width, channels), 1 or 3 channels")
    labels = np.asarray(labels)
    if len(labels) != count or labels.dtype.kind not in "iu" or not (
            labels.ndim == 1 and np.abs(labels.astype(np.int64)).max() < 1 << 31
            or labels.ndim == 2 and labels.shape[1] and labels.min() >= 0
            and labels.max() <= 1):
        raise UserError(f"labels is {labels.dtype} of shape {labels.shape} for "
                        f"{count} images; labels are int64 (n,) below 2^31, or "
                        "uint8 multi-hot (n, classes) of 0 and 1")


def _write_list(path, triplets, images):
    with paths.hdf5_written_whole(path) as file:
        file["triplets"] = triplets.astype(np.int32)
        file.attrs["images"] = images


def write_dense(path, images, triplets, about):
    """Write whole triplets, whole or not at all.

    A record is a Datum of 3 C channels: the C planes of the query image, then
    those of the similar one, then those of the dissimilar one, bytes 0..255.

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
    from caffe.proto.caffe_pb2 import Datum
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))   # (n, C, H, W)
    _, channels, height, width = planes.shape
    datum = Datum(channels=3 * channels, height=height, width=width)
    layout = {
        "record": [f"{member} image, {channels} x {height} x {width} bytes"
                   for member in MEMBERS],
        "triplets": len(triplets), **about}

    def record(index):
        datum.data = planes[triplets[index]].tobytes()
        return datum.SerializeToString()

    _write(path, len(triplets), planes[0].nbytes * 3 + 32, record, layout, "triplet")


def _write(path, count, size, record, layout, unit, write_more=lambda folder: None):
    """Write ``record(0)`` to ``record(count - 1)``, of at most ``size`` bytes."""
    size += 64                                        # with key and node
    if size < PAGE // 2:                              # several share a page
        needed = -(-count // (PAGE // size)) * PAGE
    else:
        needed = count * -(-size // PAGE) * PAGE
    needed += needed // 16 + (1 << 20)                # the tree above them
    try:
        path = path.resolve()
        if path.exists() and not _is_ours(path):
            raise UserError(f"{path} is there and no database of ours; it is left "
                            "alone. Give --output the name of a new folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_room(path, needed)
        with paths.written_whole(path) as partial:
            partial.mkdir()
            with lmdb.open(str(partial), map_size=2 * needed, sync=False,
                           lock=False) as database:
                with tqdm(total=count, unit=unit, unit_scale=True,
                          desc=f"writing {path.name}") as progress:
                    for start in range(0, count, RECORDS_AT_ONCE):
                        end = min(start + RECORDS_AT_ONCE, count)
                        _append(database, start, map(record, range(start, end)))
                        progress.update(end - start)
                database.sync(True)
            write_more(partial)
            (partial / "layout.json").write_text(json.dumps(layout, indent=1) + "\n")
    except (lmdb.Error, OSError) as error:
        raise UserError(f"{path} could not be written ({error}); nothing is left of "
                        "it. Is the disk full, or the folder not yours?") from error


def _is_ours(path):
    """Whether a folder holds one of our databases and nothing else."""
    return path.is_dir() and {"data.mdb", "layout.json"} <= {
        entry.name for entry in path.iterdir()} <= {
            "data.mdb", "lock.mdb", "layout.json", TRIPLET_LIST}


def _check_room(path, needed):
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise UserError(f"{path} needs about {needed / 1e9:.1f} GB and the disk has "
                        f"{free / 1e9:.1f} GB free; ask for less or write elsewhere "
                        "with --output")


def _append(database, start, values):
    """Append records, numbered from ``start``."""
    records = [(b"%010d" % i, value) for i, value in enumerate(values, start)]
    with database.begin(write=True) as transaction:
        _, added = transaction.cursor().putmulti(records, append=True)
    if added != len(records):
        raise lmdb.Error(f"{added} of {len(records)} records were taken")


def read_layout(path):
    """What ``layout.json`` of a database says, as a dict."""
    try:
        return json.loads((path / "layout.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a database of ours ({error}); write it with "
                        "'python tools/make_triplets.py'") from error
