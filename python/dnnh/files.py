"""Files that are read within the limits of dnnh.limits, and their hashes.

Only regular files are read: a pipe or a device in place of one could give bytes for ever.
"""

import errno
import hashlib
import io
import json
import os
import pathlib
import stat
from typing import IO, Any

from dnnh import limits
from dnnh.errors import UserError

DIGEST_BYTES = 1 << 20  # that are read at a time
NAME_BYTES = 150  # of a text in the name of a file, which has at most 255

StrPath = str | os.PathLike[str]


def resolved(path: StrPath) -> pathlib.Path:
    """An absolute path without links.

    Raises
    ------
    UserError
        If its links go in a circle.
    """
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UserError(
                f"{path} is a link that leads back to itself; name another path"
            ) from error
    return pathlib.Path(path).resolve()


def open_regular_file(path: StrPath) -> io.BufferedReader:
    """Open a regular file to read.

    Raises
    ------
    OSError
        If it cannot be opened, or is a folder, a pipe or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(f"{path} is a pipe or a device")
    return os.fdopen(descriptor, "rb")


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
    except OSError as error:
        reason = error.strerror or "it is a pipe or a device"
        raise UserError(f"{path} cannot be read ({reason})") from error
    except ValueError as error:
        raise UserError(f"{path} cannot be read (no file can have that name)") from error


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
    return UserError(f"{where} is larger than {most:,} bytes, the limit for such files")


def as_name(text: str) -> str:
    """A text as a part of a file's name: other characters than letters and digits are _, and what is
    too long for a name is cut and has a hash at its end."""
    name = "".join(c if c.isalnum() else "_" for c in text)
    if len(name.encode()) <= NAME_BYTES:
        return name
    start = name.encode()[: NAME_BYTES - 9].decode(errors="ignore")
    return f"{start}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def is_newer(path: pathlib.Path, other: pathlib.Path) -> bool:
    """Whether a file is there and not older than another one."""
    return path.is_file() and path.stat().st_mtime_ns >= other.stat().st_mtime_ns


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


def size_text(count: int) -> str:
    """So many bytes, for people: exact where they are few."""
    return f"{count:,} bytes" if count < 1_000_000 else f"{count / 1e6:,.2f} MB"


def sha256(path: StrPath) -> str:
    """The SHA-256 of a regular file, in hexadecimal."""
    return _digest(path, "sha256")


def md5(path: StrPath) -> str:
    """The MD5 of a regular file, in hexadecimal, as data sets publish it."""
    return _digest(path, "md5")


def sha1(path: StrPath) -> str:
    """The SHA-1 of a regular file, in hexadecimal, as Caffe's Model Zoo publishes it."""
    return _digest(path, "sha1")


def _digest(path: StrPath, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    with open_regular_file(path) as file:
        while chunk := file.read(DIGEST_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
