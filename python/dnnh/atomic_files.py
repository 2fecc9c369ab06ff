"""Files and folders that are written atomically: the old content or the new one, never a part.

Holds after a kill at any moment, a full disk and an error while writing. What a killed process
leaves is hidden, and removed or completed by the next one.
"""

import contextlib
import ctypes
import errno
import fcntl
import io
import os
import pathlib
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator

import h5py

from dnnh.errors import UserError
from dnnh.files import StrPath, resolved, size_text

# HDF5 files up to this size are assembled in memory before they are written.
MAX_IN_MEMORY = 500_000_000

# Folders that are being filled, and those whose files are to be moved.
PARTIAL, COMMITTED = ".dnnh-partial-", ".dnnh-commit-"
CLAIM = ".claim"  # a file in them that is locked
OLD = ".dnnh-old"  # ends the name of what is being replaced in two steps

_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextlib.contextmanager
def write_atomically(path: StrPath) -> Iterator[pathlib.Path]:
    """Yield a path beside ``path`` to write to; it takes its place when the block succeeds.

    Works for files and for folders. If the block raises, or the process is killed, ``path`` is
    left as it was; leftovers of processes that were killed are removed at the start. Two
    processes at once do not mix what they write: the last one to finish wins. A folder
    is never replaced by a file.

    Raises
    ------
    UserError
        If it cannot be written.
    """
    path = resolved(path)
    if not path.name:
        raise UserError(f"{path} is not a place to write to; give a name in it")
    with naming(path, path.parent / PARTIAL):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise UserError(f"{path} is a device or a pipe; name a file to write")
        _remove_leftovers(path.parent)
        with _partial_in(path.parent) as folder:
            partial = folder / path.name
            yield partial
            if path.is_dir() and not partial.is_dir():
                raise UserError(f"{path} is a folder; name a file to write")
            _sync(partial)
            _put_in_place(partial, path)


def write_text(path: StrPath, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: StrPath, content: bytes | memoryview) -> None:
    """Write a file atomically."""
    with write_atomically(path) as partial:
        partial.write_bytes(content)


@contextlib.contextmanager
def naming(
    path: pathlib.Path,
    partial: pathlib.Path,
    remedy: str = "nothing of it is left. Make room on the disk, or name another place",
) -> Iterator[None]:
    """Name a file in errors of the system that name none, or a path that begins with ``partial``.

    They become a UserError. Errors of other files pass unchanged.
    """
    try:
        yield
    except (ConnectionError, BlockingIOError, ChildProcessError):  # not of a file
        raise
    except OSError as error:
        named = error.filename
        if named is not None and not str(named).startswith((str(partial), str(path))):
            raise
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = "it may not be written to; name another place"
        raise UserError(
            f"{path} could not be written ({error.strerror or error}); {remedy}"
        ) from error


def _remove_leftovers(folder: pathlib.Path) -> None:
    """Remove what killed processes left in a folder."""
    for leftover in _ours(folder, PARTIAL):
        with _claimed(leftover) as is_free, contextlib.suppress(OSError):  # others remove it, too
            if is_free is not False:
                _restore_old(leftover)
            if is_free:
                _remove_claimed(leftover)


def _restore_old(partial: pathlib.Path) -> None:
    """Bring back what was to be replaced, if its writer was killed between the two renames below."""
    for old in partial.glob(f"*{OLD}"):
        path = partial.with_name(old.name.removesuffix(OLD))
        if not path.exists():
            os.replace(old, path)


def _remove_claimed(folder: pathlib.Path) -> None:
    """Remove a folder that is claimed; the claim last, or others would take it meanwhile."""
    for path in _files_in(folder):
        remove(path)
    (folder / CLAIM).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # others remove it, too; NFS keeps an open file in it
        folder.rmdir()


def _ours(folder: pathlib.Path, prefix: str) -> Iterator[pathlib.Path]:
    """The folders of this user with such names; no links."""
    for path in sorted(folder.glob(f"{prefix}*")):
        with contextlib.suppress(FileNotFoundError):  # gone meanwhile
            about = path.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid():
                yield path


def _put_in_place(partial: pathlib.Path, path: pathlib.Path) -> None:
    """Rename, over a file or a folder that may be there, or may come there meanwhile."""
    for _ in range(100):  # concurrent writers are rare
        try:
            if not path.is_dir():  # a folder cannot be renamed over a full one
                if path.is_file():  # who may read it stays
                    os.chmod(partial, stat.S_IMODE(path.stat().st_mode))
                os.replace(partial, path)
            elif not _exchange(partial, path):
                _replace_in_two_steps(partial, path)
            return
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            if not partial.exists():
                raise
    raise UserError(f"{path} is being written by others all the time; stop them and try again")


def _exchange(partial: pathlib.Path, path: pathlib.Path) -> bool:
    """Let two paths change places, at once; False where the file system cannot."""
    names = os.fsencode(partial), os.fsencode(path)
    renameat2 = getattr(_libc, "renameat2", None)  # of Linux
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(partial), None, str(path))


def _replace_in_two_steps(partial: pathlib.Path, path: pathlib.Path) -> None:
    old = partial.with_name(f"{partial.name}{OLD}")
    os.replace(path, old)
    try:
        os.replace(partial, path)
    except OSError:
        if path.exists():  # another writer came between
            remove(old)
        else:
            os.replace(old, path)
        raise
    remove(old)


def _sync(path: pathlib.Path) -> None:
    """Wait until a file is on the disk: a rename could come there before its content."""
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())


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
        write_bytes(path, content.getbuffer())
        return
    with write_atomically(path) as partial:
        check_room(path, int(1.01 * size), partial.parent)
        with h5py.File(partial, "w") as file:
            yield file


def check_room(path: StrPath, needed: int, folder: pathlib.Path) -> None:
    """Raise UserError if the disk of a folder has no room for so many bytes, for ``path``."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{path} needs about {size_text(needed)} and the disk has {size_text(free)} free; make "
            "room, ask for less, or name another place"
        )


@contextlib.contextmanager
def write_files_atomically(folder: StrPath, obsolete: Iterable[str] = ()) -> Iterator[pathlib.Path]:
    """Yield a folder to fill with files; they move to ``folder`` when the block succeeds.

    All of them, also where the process is killed while they move: see :func:`complete`. Files
    of the names in ``obsolete`` that are not written are removed with that. Other files in
    ``folder`` stay.

    Raises
    ------
    UserError
        If they cannot be written.
    """
    folder = resolved(folder)
    with naming(folder, folder):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        with _partial_in(folder) as partial:
            yield partial
            for path in _files_in(partial):
                if (folder / path.name).is_dir():
                    raise UserError(f"{folder / path.name} is a folder; name another place")
                _sync(path)
            for obsolete_name in obsolete:  # an empty folder stands for a file that goes
                if not (partial / obsolete_name).exists():
                    (partial / obsolete_name).mkdir()
            with _moving(folder):
                _complete(folder)  # older files must not come after these
                committed = folder / partial.name.replace(PARTIAL, COMMITTED)
                partial.rename(committed)  # from here on the new files count
                _move_files(committed, folder)


def complete(folder: pathlib.Path) -> None:
    """Complete the moves that a process began here before it was killed."""
    if any(_ours(folder, COMMITTED)):
        with _moving(folder):
            _complete(folder)


@contextlib.contextmanager
def _moving(folder: pathlib.Path) -> Iterator[None]:
    """Let one process at a time move files into a folder, where the file system has such locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _complete(folder: pathlib.Path) -> None:
    for committed in _ours(folder, COMMITTED):
        _move_files(committed, folder)


def complete_if_possible(folder: pathlib.Path) -> None:
    """The same for a reader, who may not be allowed to write."""
    with contextlib.suppress(OSError):
        complete(folder)


def _move_files(committed: pathlib.Path, folder: pathlib.Path) -> None:
    for path in _files_in(committed):
        with contextlib.suppress(FileNotFoundError):  # without locks others may move them, too
            if path.is_dir():
                if not (folder / path.name).is_dir():
                    (folder / path.name).unlink(missing_ok=True)
                path.rmdir()
            else:
                os.replace(path, folder / path.name)
    _remove_claimed(committed)


def _files_in(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.glob("*") if path.name != CLAIM)


@contextlib.contextmanager
def _partial_in(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """A new folder to fill, claimed. Another writer may take it for a leftover before that."""
    while True:
        partial = folder / f"{PARTIAL}{secrets.token_hex(4)}"
        partial.mkdir()
        try:
            with _claimed(partial, os.O_CREAT) as is_free:
                if is_free is not False:
                    yield partial
                    return
        finally:
            with contextlib.suppress(OSError):  # the next writer tries again
                _restore_old(partial)
                _remove_claimed(partial)


@contextlib.contextmanager
def _claimed(folder: pathlib.Path, create: int = 0) -> Iterator[bool | None]:
    """Claim a folder of ours while the block runs; O_CREAT where it is a new one.

    Yields False if another writer has it, and None where the file system has no locks. The claim
    ends with its process, however that ends. (A process number could be another's by then, or of
    another machine.)
    """
    try:
        descriptor = os.open(folder / CLAIM, os.O_RDWR | os.O_CLOEXEC | create, 0o600)
    except FileNotFoundError:  # gone meanwhile, or its maker was killed at once
        with contextlib.suppress(OSError):
            folder.rmdir()
        yield False
        return
    is_free: bool | None = True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        is_free = False if isinstance(error, BlockingIOError) else None
    try:
        if is_free and not is_at(descriptor, folder / CLAIM):
            is_free = False  # removed between the two calls, with its folder
        yield is_free
    finally:
        os.close(descriptor)


def is_at(descriptor: int, path: pathlib.Path) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def refuse_overwriting(outputs: Iterable[StrPath | None], inputs: Iterable[StrPath | None]) -> None:
    """Raise UserError where writing one of the outputs would destroy an input or another output.

    Both are paths, or None for an option that is not given.
    """
    read = {resolved(path) for path in inputs if path}
    written = set()
    for path in filter(None, outputs):
        if resolved(path) in read:
            raise UserError(f"{path} would be written over what is read; name another file")
        if resolved(path) in written:
            raise UserError(f"{path} is named for two outputs; name another file for one")
        written.add(resolved(path))


def remove(path: pathlib.Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
