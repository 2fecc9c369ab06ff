"""Files that are read within limits, and written atomically: all of one, or nothing."""

import contextlib
import glob
import hashlib
import io
import os
import pathlib
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

import h5py

from dnnh.errors import UserError

StrPath = str | os.PathLike[str]

# The largest file that is read as a whole, and the largest member of an archive. The
# largest that any data set has is a batch of CIFAR-10, 31 MB.
MAX_BYTES = 64_000_000

# HDF5 files up to this size are assembled in memory before they are written.
MAX_IN_MEMORY = 500_000_000

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


def read_regular_file(path: StrPath) -> bytes:
    """Read all bytes of a regular file; pipes and devices are refused, not waited for.

    Raises
    ------
    UserError
        If it cannot be read, is not a regular file, or is larger than MAX_BYTES.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UserError(f"{path} cannot be read (it is a folder, a pipe or a device)")
            return read_bounded(path, stream)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({reason})") from error


def read_bounded(where: StrPath, stream: IO[bytes] | io.BufferedIOBase) -> bytes:
    """Read all bytes of a stream; ``where`` names it in messages.

    Raises
    ------
    UserError
        If it has more than MAX_BYTES.
    """
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise too_large(where)
    return data


def too_large(where: StrPath) -> UserError:
    """The error for what is larger than MAX_BYTES."""
    return UserError(
        f"{where} is larger than {MAX_BYTES:,} bytes, larger than anything in a data set"
    )


@contextlib.contextmanager
def read_hdf5(path: StrPath, problem: str, remedy: str) -> Iterator[Any]:
    """Open an HDF5 file to read and check it; errors inside the block become one sentence.

    Yields an h5py.File; untyped, as h5py cannot tell what its members and attributes are.

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
        with h5py.File(path, "r") as file:
            yield file
    except UserError:
        raise
    except HDF5_ERRORS as error:
        raise UserError(f"{path} {problem} ({error}); {remedy}") from error


@contextlib.contextmanager
def write_atomically(path: StrPath) -> Iterator[pathlib.Path]:
    """Yield a path beside ``path`` to write to; rename it when the block succeeds.

    Works for files and for folders. If the block raises, or the process is
    killed, ``path`` is left as it was (a folder may then lie beside it for once,
    and the next call brings it back); leftovers of processes that were killed
    are removed at the start. Two processes at once do not mix what they write:
    the last one to finish has its way. A folder is never replaced by a file.
    """
    path = pathlib.Path(path).resolve()
    if not path.name:
        raise UserError(f"{path} is not a place to write to; give a name in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is a device or a pipe; name a file to write")
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.dnnh-partial*"):
        name = leftover.name.removesuffix(".old")
        if not name.endswith(".dnnh-partial") or _is_running(name.split(".")[-2]):
            continue
        if name != leftover.name and not path.exists():
            os.replace(leftover, path)  # killed between the two renames below
        else:
            remove(leftover)
    partial = path.with_name(f".{path.name}.{os.getpid()}.dnnh-partial")
    remove(partial)
    try:
        yield partial
        if path.is_dir():  # a folder cannot be renamed over a full one
            if not partial.is_dir():
                raise UserError(f"{path} is a folder; name a file to write")
            old = partial.with_name(f"{partial.name}.old")
            os.replace(path, old)
            try:
                os.replace(partial, path)
            except OSError:
                os.replace(old, path)
                raise
            remove(old)
        else:
            os.replace(partial, path)
    finally:
        remove(partial)


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:  # another user's
        pass
    return True


@contextlib.contextmanager
def write_hdf5_atomically(path: StrPath, size: int = 0) -> Iterator[h5py.File]:
    """Yield an h5py.File to fill; ``path`` appears when the block succeeds.

    HDF5's own writing ends in a crash, not an error, when the disk is full. So a small
    file is assembled in memory; for a large one, of ``size`` bytes, there must be room on
    the disk before it begins.

    Raises
    ------
    UserError
        If there is no room.
    """
    if size <= MAX_IN_MEMORY:
        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            yield file
        with write_atomically(path) as partial:
            partial.write_bytes(content.getbuffer())
        return
    with write_atomically(path) as partial:
        free = shutil.disk_usage(partial.parent).free
        if free < 1.01 * size:
            raise UserError(
                f"{path} needs {size / 1e6:,.2f} MB and the disk has {free / 1e6:,.2f} MB free; "
                "make room"
            )
        with h5py.File(partial, "w") as file:
            yield file


@contextlib.contextmanager
def write_files_atomically(folder: StrPath) -> Iterator[pathlib.Path]:
    """Yield a folder to fill with files; they move to ``folder`` when the block succeeds.

    Other files in ``folder`` stay.
    """
    folder = pathlib.Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".dnnh-partial-*-*"):
        if not _is_running(leftover.name.split("-")[2]):
            remove(leftover)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".dnnh-partial-{os.getpid()}-") as name:
        partial = pathlib.Path(name)
        yield partial
        for path in sorted(partial.iterdir()):
            if (folder / path.name).is_dir():
                raise UserError(f"{folder / path.name} is a folder; name another place")
        for path in sorted(partial.iterdir()):
            os.replace(path, folder / path.name)


def refuse_overwriting(outputs: Iterable[StrPath | None], inputs: Iterable[StrPath | None]) -> None:
    """Raise UserError where writing one of the outputs would destroy one of the inputs.

    Both are paths, or None for an option that is not given.
    """
    read = {pathlib.Path(path).resolve() for path in inputs if path}
    for path in outputs:
        if path and pathlib.Path(path).resolve() in read:
            raise UserError(f"{path} would be written over what is read; name another file")


def sha256(path: StrPath) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return _digest(path, "sha256")


def md5(path: StrPath) -> str:
    """The MD5 of a file, in hexadecimal, as data sets publish it."""
    return _digest(path, "md5")


def _digest(path: StrPath, algorithm: str) -> str:
    with pathlib.Path(path).open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def remove(path: pathlib.Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
