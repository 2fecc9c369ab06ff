"""Files that are read within the limits of dnnh.limits, and their hashes.

Only regular files are read: a pipe or a device in place of one could give bytes for ever.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import IO, Any

import h5py
import numpy as np

from dnnh import limits
from dnnh.errors import UserError

StrPath = str | os.PathLike[str]

# What h5py raises on files that are damaged or were made to be hostile.
HDF5_ERRORS = (
    OSError,
    KeyError,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
)


def resolved(path: StrPath) -> pathlib.Path:
    """An absolute path without links.

    Raises
    ------
    UserError
        If its links go in a circle.
    """
    try:
        return pathlib.Path(path).resolve()
    except (RuntimeError, OSError) as error:  # Python up to 3.12 raises the first for a circle
        raise UserError(f"{path} is a link that leads back to itself; name another path") from error


def open_regular_file(path: StrPath) -> io.BufferedReader:
    """Open a regular file to read.

    Raises
    ------
    OSError
        If it cannot be opened, or is a folder, a pipe or a device.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(f"{path} is a pipe or a device")
    return file


def is_file(path: pathlib.Path) -> bool:
    """Whether there is such a file; not if no file can have that name."""
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def read_regular_file(path: StrPath, most: int | None = None) -> bytes:
    """Read all bytes of a regular file; pipes and devices are refused, not waited for.

    Raises
    ------
    UserError
        If it cannot be read, is not a regular file, or has more bytes than ``most``
        (limits.FILE_BYTES).
    """
    try:
        with open_regular_file(path) as stream:
            return read_bounded(path, stream, most)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is a folder, a pipe or a device"
        raise UserError(f"{path} cannot be read ({reason})") from error


def read_bounded(
    where: StrPath, stream: IO[bytes] | io.BufferedIOBase, most: int | None = None
) -> bytes:
    """Read all bytes of a stream; ``where`` names it in messages.

    Raises
    ------
    UserError
        If it has more than ``most`` (limits.FILE_BYTES).
    """
    most = limits.FILE_BYTES if most is None else most
    data = stream.read(most + 1)
    if len(data) > most:
        raise too_large(where, most)
    return data


def too_large(where: StrPath, most: int) -> UserError:
    """The error for what has more bytes than ``most``."""
    return UserError(f"{where} is larger than {most:,} bytes, larger than any file of its kind")


def read_json(path: StrPath) -> Any:
    """The content of a JSON file.

    Raises
    ------
    UserError
        If it cannot be read or has more than limits.JSON_BYTES.
    ValueError
        If it is not JSON.
    """
    data = read_regular_file(path, limits.JSON_BYTES)
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


@contextlib.contextmanager
def read_hdf5(path: StrPath, problem: str, remedy: str) -> Iterator[Any]:
    """Open an HDF5 file to read and check it; errors inside the block become one sentence.

    Yields an h5py.File; untyped, as h5py cannot tell what its members and attributes are. Its
    data sets are in the file itself, and may take no more memory than the file's size allows.

    Parameters
    ----------
    path : path of the file
    problem : str
        What it is not, e.g. "is not a split file".
    remedy : str
        What to do, e.g. "delete it to draw the split again".

    Raises
    ------
    UserError
        ``<path> <problem> (<reason>); <remedy>``, in place of what h5py or the block's own
        checks (ValueError, ...) raise. A UserError of the block passes unchanged.
    """
    try:
        open_regular_file(path).close()
        with h5py.File(path, "r") as file:
            _check_objects(file)
            yield file
    except UserError:
        raise
    except HDF5_ERRORS as error:
        raise UserError(f"{path} {problem} ({error}); {remedy}") from error


def whole_number(name: str, value: Any) -> int:
    """A whole number of an HDF5 file, for example an attribute.

    Raises
    ------
    ValueError
        If it is something else: text, a fraction, several numbers.
    """
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "iuf" or not float(number).is_integer():
        raise ValueError(f"{name} is {number.tolist()!r:.40}, not a whole number")
    return int(number)


def _check_objects(file: Any) -> None:
    """Raise ValueError if the file has links, or data sets that are not in it."""
    groups, count = [file], 0
    while groups:
        group = groups.pop()
        for name in group:
            count += 1
            if count > limits.HDF5_OBJECTS:
                raise ValueError(f"it has more than {limits.HDF5_OBJECTS:,} groups and data sets")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"its member {name!r:.60} is a link")
            member = group[name]
            if isinstance(member, h5py.Group):
                groups.append(member)
            elif isinstance(member, h5py.Dataset):
                _check_stored(member)


def _check_stored(dataset: h5py.Dataset) -> None:
    """Raise ValueError if a data set declares more values than the file can hold."""
    creation = dataset.id.get_create_plist()
    if dataset.is_virtual or creation.get_external_count():
        raise ValueError(f"its data set {dataset.name!r:.60} is kept in another file")
    stored, declared = dataset.id.get_storage_size(), dataset.nbytes
    is_compressed = creation.get_nfilters() > 0
    if declared > (limits.may_expand_to(stored) if is_compressed else stored):
        raise ValueError(
            f"its data set {dataset.name!r:.60} has {stored:,} bytes and says that it has "
            f"{declared:,}"
        )
    if dataset.chunks is not None and dataset.dtype.itemsize:
        chunk = dataset.dtype.itemsize
        for side in dataset.chunks:
            chunk *= side
        if chunk > declared + limits.EXPANDED_BYTES:
            raise ValueError(f"its data set {dataset.name!r:.60} has chunks of {chunk:,} bytes")


def size_text(count: int) -> str:
    """So many bytes, for people: exact where they are few."""
    return f"{count:,} bytes" if count < 1_000_000 else f"{count / 1e6:,.2f} MB"


def sha256(path: StrPath) -> str:
    """The SHA-256 of a regular file, in hexadecimal."""
    return _digest(path, "sha256")


def md5(path: StrPath) -> str:
    """The MD5 of a regular file, in hexadecimal, as data sets publish it."""
    return _digest(path, "md5")


def _digest(path: StrPath, algorithm: str) -> str:
    with open_regular_file(path) as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
