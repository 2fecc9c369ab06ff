"""One process at a time writes an index: it claims the folder beside it, where it is made."""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator

from dnnh import atomic_files, files
from dnnh.errors import UserError
from dnnh.files import StrPath
from dnnh.retrieval import index_files
from dnnh.retrieval.image_index import ImageIndex

CLAIM = "claim"  # a file in that folder, which is locked, with MARK
MARK = "what dnnh makes an index from\n"


def folder_of(path: StrPath) -> pathlib.Path:
    """Where lies what an index is made from."""
    path = files.resolved(path)
    return path.with_name(f"{path.name}.partial")


@contextlib.contextmanager
def claimed(path: StrPath) -> Iterator[None]:
    """Let no other process write an index meanwhile.

    Raises
    ------
    UserError
        If another one does, or the folder there is not of a writer.
    """
    folder = folder_of(path)
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not _is_of_a_writer(folder / CLAIM):
            raise UserError(
                f"{folder} would be written to, and has other files; move it away, or name another "
                "--output"
            )
        claim = (folder / CLAIM).open("ab", buffering=0)
    with claim:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process is writing to {folder}; wait for it, or name another --output"
            ) from error
        except OSError:
            pass  # a file system without locks
        if not atomic_files.is_at(claim.fileno(), folder / CLAIM):
            raise UserError(f"another process has just written to {folder}; run this again")
        try:
            with naming(folder):
                claim.truncate(0)
                claim.write(MARK.encode())
            yield
        finally:
            if [entry.name for entry in folder.glob("*")] == [CLAIM]:
                (folder / CLAIM).unlink()
                with contextlib.suppress(OSError):  # another one is about to claim it
                    folder.rmdir()


@contextlib.contextmanager
def claimed_index(path: StrPath) -> Iterator[ImageIndex]:
    """An index that exists, opened, which no other process writes meanwhile."""
    index_files.check_exists(path)  # before a folder is made beside it
    with claimed(path), contextlib.closing(index_files.load(path)) as index:
        yield index


def _is_of_a_writer(claim: pathlib.Path) -> bool:
    try:
        # It is empty where a process was killed before it wrote there.
        return files.read_regular_file(claim, len(MARK)).decode() in ("", MARK)
    except (OSError, UserError, UnicodeDecodeError):
        return False


def naming(folder: pathlib.Path) -> contextlib.AbstractContextManager[None]:
    """What is done stays, where writing fails."""
    remedy = "make room on the disk, and run the same command again to resume"
    return atomic_files.naming(folder, folder, remedy)
