"""Where things lie in the repository, and files that appear whole or not at all."""

import contextlib
import glob
import hashlib
import io
import os
import pathlib
import shutil
import tempfile

import h5py

from dnnh.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
MODELS = ROOT / "models"
PROTOTXT = ROOT / "prototxt"
RESULTS = ROOT / "results"


@contextlib.contextmanager
def written_whole(path):
    """Yield a path beside ``path`` to write to; rename it when all went well.

    Works for files and for folders. If the block raises, or the process is
    killed, ``path`` is left as it was (a folder may then lie beside it for once,
    and the next call brings it back); leftovers of processes that were killed
    are removed at the start. Two processes at once do not mix what they write:
    the last one to finish has its way. A folder is never replaced by a file.
    """
    path = pathlib.Path(path).resolve()
    if not path.name:
        raise UserError(f"{path} is no place to write to; give a name in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is a device or a pipe; name a file to write")
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.dnnh-partial*"):
        name = leftover.name.removesuffix(".old")
        if not name.endswith(".dnnh-partial") or _is_running(name.split(".")[-2]):
            continue
        if name != leftover.name and not path.exists():
            os.replace(leftover, path)     # killed between the two renames below
        else:
            remove(leftover)
    partial = path.with_name(f".{path.name}.{os.getpid()}.dnnh-partial")
    remove(partial)
    try:
        yield partial
        if path.is_dir():   # a folder cannot be renamed over a full one
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


def _is_running(process):
    try:
        os.kill(int(process), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:      # somebody else's
        pass
    return True


# A file with more is not put together in memory.
IN_MEMORY = 500_000_000


@contextlib.contextmanager
def hdf5_written_whole(path, size=0):
    """Yield an h5py.File to fill; ``path`` appears when all went well.

    HDF5's own writing ends in a crash, not an error, when the disk is full. So what is
    small is put together in memory; for what is large, ``size`` bytes, there must be
    room on the disk before it begins.

    Raises
    ------
    UserError
        If there is no room.
    """
    if size <= IN_MEMORY:
        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            yield file
        with written_whole(path) as partial:
            partial.write_bytes(content.getbuffer())
        return
    with written_whole(path) as partial:
        free = shutil.disk_usage(partial.parent).free
        if free < 1.01 * size:
            raise UserError(f"{path} needs {size / 1e9:.1f} GB and the disk has "
                            f"{free / 1e9:.1f} GB free; make room")
        with h5py.File(partial, "w") as file:
            yield file


@contextlib.contextmanager
def files_written_whole(folder):
    """Yield a folder to fill with files; they move to ``folder`` if all went well.

    What else lies in ``folder`` stays.
    """
    folder = pathlib.Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".dnnh-partial-*-*"):
        if not _is_running(leftover.name.split("-")[2]):
            remove(leftover)
    with tempfile.TemporaryDirectory(
            dir=folder, prefix=f".dnnh-partial-{os.getpid()}-") as partial:
        partial = pathlib.Path(partial)
        yield partial
        for path in sorted(partial.iterdir()):
            if (folder / path.name).is_dir():
                raise UserError(f"{folder / path.name} is a folder; name another place")
        for path in sorted(partial.iterdir()):
            os.replace(path, folder / path.name)


def check_apart(outputs, inputs):
    """Raise UserError where writing one of the outputs would destroy one of the inputs.

    Both are paths, or None for what is not asked for.
    """
    read = {pathlib.Path(path).resolve() for path in inputs if path}
    for path in outputs:
        if path and pathlib.Path(path).resolve() in read:
            raise UserError(f"{path} would be written over what is read; name another file")


def digest(path):
    """sha256 of a file, in hexadecimal."""
    with pathlib.Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove(path):
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
