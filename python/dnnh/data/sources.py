"""A user's images one by one, wherever they are kept, however many there are.

A folder, a CSV file (each row a path and labels, if any), or an LMDB of Caffe's Datums.
"""

import dataclasses
import functools
import hashlib
import itertools
import pathlib
import re
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import lmdb
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dnnh import files, limits
from dnnh.data import datums, image_files, image_folders, lmdb_pages, tables
from dnnh.errors import UserError

STAMPS = ("time", "content")
HEXADECIMAL = "0x"  # begins the names of keys that are not text
CONVERT_IMAGESET_KEY = re.compile(r"\d{8}_.")  # and the path of the image


@dataclasses.dataclass(frozen=True)
class Item:
    """An image that has not been read yet.

    Attributes
    ----------
    name : str
        Its path relative to the folder (or the CSV file's folder), or its key.
    labels : tuple of str
    read : function
        Returns the image, uint8 of shape (height, width, 3); raises UserError if there is none.
    stamp : function of one of STAMPS
        Returns text that changes with the image. By ``time``, it is the size and the time of a
        file, or the checksum of an LMDB's record; by ``content``, a SHA-256, for which the file is
        read. It is empty where there is no such file.
    row : int, or None
        Of an image that an index has already.
    """

    name: str
    labels: tuple[str, ...]
    read: Callable[[], NDArray[np.uint8]]
    stamp: Callable[[str], str] = lambda kind: ""
    row: int | None = None


class InputSize(Protocol):
    """What :func:`fitted` needs to know of a net's input."""

    @property
    def stored_size(self) -> int:
        """Height and width of the images of the net's data set."""
        ...

    @property
    def channels(self) -> int:
        """1 or 3."""
        ...


def items(source: files.StrPath) -> Iterator[Item]:
    """Yield an Item for each image of a source, always in the same order.

    Parameters
    ----------
    source : path
        A folder, whose images are labelled with the one of its folders that they lie
        in, see dnnh.data.image_folders; a CSV file or a list, see dnnh.data.tables; or the
        folder of an LMDB, with encoded images or with planes of red, green and blue.
        Planes under a key of Caffe's convert_imageset are blue, green and red. Links to
        folders are followed directly in the folder. Whatever else is not a file (a deeper
        link to a folder, a link to nothing, a pipe) is yielded as an image that cannot be
        read.

    Raises
    ------
    UserError
        If it is none of these.
    """
    source = pathlib.Path(source)
    if (source / "data.mdb").is_file():
        return _of_lmdb(source)
    if source.is_dir():
        return _of_folder(source)
    if source.is_file():
        return _of_table(source)
    raise UserError(f"{source} is not a folder, CSV file or LMDB; name where the images are")


def item(source: files.StrPath, name: str, labels: tuple[str, ...]) -> Item:
    """The Item that :func:`items` yields under that name, without going through the others."""
    source = pathlib.Path(source)
    if (source / "data.mdb").is_file():
        where = f"{source}: image '{name}'"
        return Item(
            name,
            labels,
            lambda: _pixels(datums.parse(_record(source, name)), name, where),
            lambda kind: _record_stamp(_record(source, name), kind),
        )
    root = source if source.is_dir() else source.parent
    return _file_item(root / name, name, labels)


def fitted(image: NDArray[np.uint8], net_input: InputSize) -> NDArray[np.uint8]:
    """An image as the data set of a net has them; its aspect ratio is not kept.

    Parameters
    ----------
    image : uint8 array of shape (height, width, 3)
    net_input : InputSize, as the InputConfig of a net is one

    Returns
    -------
    uint8 array of shape (stored_size, stored_size, channels)
    """
    side = net_input.stored_size
    if image.shape[:2] != (side, side):
        image = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
    if net_input.channels == 1:
        image = np.asarray(Image.fromarray(image).convert("L"))[..., np.newaxis]
    return image


def _file_item(path: pathlib.Path, name: str, labels: tuple[str, ...]) -> Item:
    text = as_text(name)

    def read() -> NDArray[np.uint8]:
        if text != name:
            raise UserError(f"{path.parent} has a name that is not text: '{text}'; rename it")
        return image_files.decode_image(files.read_regular_file(path, limits.IMAGE_BYTES), path)

    def stamp(kind: str) -> str:
        try:
            if kind == "content":
                return files.sha256(path)
            status = path.stat()
        except OSError:
            return ""
        return f"{status.st_size} {status.st_mtime_ns}"

    return Item(text, tuple(map(as_text, labels)), read, stamp)


def as_text(name: str) -> str:
    """A name in which bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "backslashreplace").decode()


def _of_folder(root: pathlib.Path) -> Iterator[Item]:
    depth = image_folders.label_depth(root)
    for path in image_folders.walk(root):
        relative = path.relative_to(root)
        yield _file_item(path, relative.as_posix(), image_folders.labels_of(relative, depth))


def _of_table(table: pathlib.Path) -> Iterator[Item]:
    # Rows of one image, in a table with a row for each label, usually lie together.
    for name, rows in itertools.groupby(tables.table_rows(table), lambda row: row.name):
        labels = dict.fromkeys(label for row in rows for label in row.labels)
        yield _file_item(table.parent / name, name, tuple(labels))


def _of_lmdb(folder: pathlib.Path) -> Iterator[Item]:
    try:
        with _open(folder).begin() as transaction:
            for key, record in transaction.cursor():
                name, datum = _key_name(key), datums.parse(record)
                read = functools.partial(_pixels, datum, name, f"{folder}: image '{name}'")
                stamp = functools.partial(_record_stamp, record)
                yield Item(name, datums.labels_of(datum), read, stamp)
    except lmdb.Error as error:
        raise UserError(f"{folder} is no LMDB that can be read ({error})") from error


def _pixels(datum: Any, name: str, where: str) -> NDArray[np.uint8]:
    image = datums.pixels(datum, where)
    # convert_imageset stores what OpenCV decodes, in OpenCV's order.
    is_blue_first = not datum.encoded and CONVERT_IMAGESET_KEY.match(name)
    return image[:, :, ::-1] if is_blue_first else image


def _record_stamp(record: bytes, kind: str) -> str:
    if kind == "content":
        return hashlib.sha256(record).hexdigest()
    return str(zlib.crc32(record))


def _key_name(key: bytes) -> str:
    """A key as text; in hexadecimal if it is not text, as a number in four bytes is not."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        text = ""
    return text if text.isprintable() and text else HEXADECIMAL + key.hex()


_opening = threading.Lock()
_opened: dict[pathlib.Path, tuple[tuple[int, int, int], lmdb.Environment]] = {}


def _open(folder: pathlib.Path) -> lmdb.Environment:
    """The LMDB of a folder: opened once, and again when another has been written there."""
    folder = folder.resolve()
    with _opening:  # a process may open an LMDB only once
        status = (folder / "data.mdb").stat()
        version = status.st_dev, status.st_ino, status.st_mtime_ns
        opened = _opened.pop(folder, None)  # the old one is closed when nobody reads it any more
        if opened is None or opened[0] != version:
            opened = version, lmdb_pages.open_checked(folder)
        _opened[folder] = opened
        return opened[1]


def _record(folder: pathlib.Path, name: str) -> bytes:
    """The record of a name; empty if there is none."""
    try:
        with _open(folder).begin() as transaction:
            record = transaction.get(name.encode())
            if record is None and name.startswith(HEXADECIMAL):
                record = transaction.get(bytes.fromhex(name.removeprefix(HEXADECIMAL)))
            return record or b""
    except (lmdb.Error, ValueError) as error:
        raise UserError(f"{folder} has no image '{name}' ({error})") from error
