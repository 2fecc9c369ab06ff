"""Images one after the other, from wherever a user keeps them; however many there are.

A folder, a CSV file (each row a path and labels, if any), or an LMDB of Caffe's Datums.
"""

import dataclasses
import functools
import os
import pathlib
import threading

import lmdb
import numpy as np
from PIL import Image

from dnnh.datasets import trees
from dnnh.errors import UserError


HEXADECIMAL = "0x"         # names of keys that are no text begin so


@dataclasses.dataclass(frozen=True)
class Item:
    """An image that has not been looked at yet.

    ``name`` is its path from the folder (or the CSV file's folder) on, or its key;
    ``labels`` a tuple of text; ``read()`` gives uint8 (height, width, 3) and raises
    UserError where there is no image.
    """

    name: str
    labels: tuple
    read: object


def items(source):
    """Yield an Item for each image of a source, always in the same order.

    Parameters
    ----------
    source : path
        A folder, whose images are labelled with the one of its folders that they lie
        in, however deep; a CSV file; or the folder of an LMDB, with encoded images or
        with planes of red, green and blue, as ours have them (those that Caffe's
        convert_imageset writes without --encoded are the other way round, and their
        codes would be of images with red and blue exchanged). Names
        that begin with a dot are passed over; whatever else is no file (a link to a
        folder, or to nothing, a pipe) is yielded as an image that cannot be read.

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
    raise UserError(f"{source} is no folder, CSV file or LMDB; name where the images are")


def item(source, name, labels):
    """The Item that :func:`items` yields under that name; for whoever was told the name."""
    source = pathlib.Path(source)
    if (source / "data.mdb").is_file():
        where = f"{source}: image '{name}'"
        return Item(name, labels, lambda: _pixels(_datum(_record(source, name)), where))
    root = source if source.is_dir() else source.parent
    return _file(root / name, name, labels)


def fitted(image, recipe):
    """An image as the data set of a net has them: its proportions are given up.

    Parameters
    ----------
    image : uint8 array of shape (height, width, 3)
    recipe : dnnh.recipes.Recipe

    Returns
    -------
    uint8 array of shape (recipe.stored, recipe.stored, recipe.channels)
    """
    side = recipe.stored
    if image.shape[:2] != (side, side):
        image = np.asarray(Image.fromarray(image).resize((side, side),
                                                         Image.Resampling.BICUBIC))
    if recipe.channels == 1:
        image = np.asarray(Image.fromarray(image).convert("L"))[..., np.newaxis]
    return image


def _file(path, name, labels):
    def read():
        if shown != name:
            raise UserError(f"{path.parent} has a name that is no text: '{shown}'; rename it")
        return trees.decode_image(trees.read_file(path), path)
    shown = name.encode("utf-8", "backslashreplace").decode()
    return Item(shown, labels, read)


def _of_folder(root, folder=None):
    folder = folder or root
    # A folder at a time: a whole tree of names would not be of constant size.
    with os.scandir(folder) as found:
        entries = sorted((entry for entry in found if not entry.name.startswith(".")),
                         key=lambda entry: entry.name)
    for entry in entries:
        path = pathlib.Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _of_folder(root, path)
        else:
            name = path.relative_to(root)
            yield _file(path, name.as_posix(), name.parts[:-1][:1])


def _of_table(table):
    for _, name, labels in trees.table_rows(table):
        yield _file(table.parent / name, name, labels)


def _of_lmdb(folder):
    try:
        with _opened(folder) as database, database.begin() as transaction:
            for key, value in transaction.cursor():
                name, datum = _name(key), _datum(value)
                yield Item(name, _labels(datum), functools.partial(
                    _pixels, datum, f"{folder}: image '{name}'"))
    except lmdb.Error as error:
        raise UserError(f"{folder} is no LMDB that can be read ({error})") from error


def _opened(folder):
    database = lmdb.open(str(folder), readonly=True, lock=False, create=False)
    whole = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
    there = os.path.getsize(pathlib.Path(folder, "data.mdb"))
    if there < whole:              # to look at what is missing would end the process
        raise UserError(f"{folder} is cut off: data.mdb has {there:,} bytes of {whole:,}; "
                        "copy it again")
    return database


def _name(key):
    """A key as text: in hexadecimal if it is none, as a number in four bytes is none."""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        text = ""
    return text if text.isprintable() and text else HEXADECIMAL + key.hex()


def _reader(folder):
    """A process may open an LMDB only once; the cache alone lets two threads do so."""
    with _OPENING:
        return _opened_once(folder)


_OPENING = threading.Lock()
_opened_once = functools.cache(_opened)


def _record(folder, name):
    try:
        with _reader(folder).begin() as transaction:
            value = transaction.get(name.encode())
            if value is None and name.startswith(HEXADECIMAL):
                value = transaction.get(bytes.fromhex(name.removeprefix(HEXADECIMAL)))
            return value or b""
    except (lmdb.Error, ValueError) as error:
        raise UserError(f"{folder} has no image '{name}' ({error})") from error


def _datum(value):
    from caffe.proto.caffe_pb2 import Datum
    from google.protobuf.message import DecodeError
    datum = Datum()
    try:
        datum.ParseFromString(value)
    except DecodeError:
        datum = Datum()                       # which has no pixels, and is refused below
    return datum


def _labels(datum):
    if datum.float_data:
        return tuple(str(i) for i, hot in enumerate(datum.float_data) if hot)
    return (str(datum.label),) if datum.HasField("label") else ()


def _pixels(datum, where):
    if datum.encoded:
        return trees.decode_image(datum.data, where)
    shape = (datum.channels, datum.height, datum.width)
    if datum.channels not in (1, 3) or len(datum.data) != np.prod(shape, dtype=object) or (
            not datum.data):
        raise UserError(f"{where} is not a readable image: {len(datum.data)} bytes for "
                        f"{shape[0]} x {shape[1]} x {shape[2]} values")
    planes = np.frombuffer(datum.data, np.uint8).reshape(shape)
    return np.broadcast_to(planes.transpose(1, 2, 0), (*shape[1:], 3))
