"""Folders, tar and zip archives, read alike. All are untrusted.

Nothing is written to disk, so the name of a member (``../../x``, a link) can reach nowhere.
Compressed archives can grow a thousandfold: members, a tar's headers and all of an archive have
limits, which are checked before anything larger is decompressed.
"""

import abc
import bz2
import contextlib
import gzip
import io
import lzma
import os
import pathlib
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Container, Iterator

from dnnh import files, limits
from dnnh.data.image_folders import is_hidden
from dnnh.errors import UserError

# What the readers of archives raise on damaged or unusual ones.
DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

ZIP_END_BYTES = 1 << 17  # at the end of a zip archive, which have the size of its directory

# Compressed tars, by their first bytes.
_DECOMPRESSORS = (
    (b"\x1f\x8b", gzip.GzipFile),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
)


class Archive(abc.ABC):
    """The files of a folder, or of a tar or zip archive, read without unpacking.

    A context manager, closed at its end.

    Attributes
    ----------
    path : pathlib.Path
    members : list of str
        Names of the files, in the archive's own order. Of two files with one name the last
        one counts.
    """

    path: pathlib.Path
    members: list[str]
    _bytes_read: int = 0

    def read(self, member: str) -> bytes:
        """Read a member.

        Raises
        ------
        UserError
            If the archive is damaged there, the member is larger than limits.FILE_BYTES, or
            what was read is larger than limits.ARCHIVE_BYTES.
        """
        data = self._read(member)
        self._bytes_read += len(data)
        if self._bytes_read > limits.ARCHIVE_BYTES:
            raise files.too_large(self.path, limits.ARCHIVE_BYTES)
        return data

    @abc.abstractmethod
    def _read(self, member: str) -> bytes:
        """Read a member of at most limits.FILE_BYTES."""

    def read_all(self, members: Container[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (member, bytes) for the given members, in the archive's own order."""
        for member in self.members:
            if member in members:
                yield member, self.read(member)

    def close(self) -> None:  # noqa: B027 (a folder has nothing to close)
        """Close the archive's files, if any are open."""

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_archive(path: files.StrPath) -> Archive:
    """Open a folder, a tar (gz, bz2, xz) or a zip archive for reading.

    Raises
    ------
    UserError
        If it is none of them, is damaged, or claims to be larger than any data set.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise UserError(f"{path} does not exist")
    if not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is a device or a pipe; name a folder or an archive")
    try:
        if path.is_dir():
            return _Folder(path)
        return _Zip(path) if zipfile.is_zipfile(path) else _Tar(path)
    except DAMAGED as error:
        raise UserError(
            f"{path} is neither a folder nor a whole tar or zip archive: {error}"
        ) from error


@contextlib.contextmanager
def refuse_damaged(path: files.StrPath) -> Iterator[None]:
    """Turn what a damaged archive raises inside the block into one sentence."""
    try:
        yield
    except DAMAGED as error:
        raise UserError(f"{path} is damaged ({error}); fetch it again") from error


class _Folder(Archive):
    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._files = {
            file.relative_to(path).as_posix(): file
            for file in sorted(path.rglob("*"))
            if file.is_file() and not _is_shadow(file.relative_to(path).as_posix())
        }
        self.members = list(self._files)

    def _read(self, member: str) -> bytes:
        return files.read_regular_file(self._files[member])


class _Zip(Archive):
    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        if _directory_bytes(path) > limits.TAR_HEADERS_BYTES:
            raise files.too_large(f"{path}: its directory", limits.TAR_HEADERS_BYTES)
        self._zip = zipfile.ZipFile(path)
        names = [
            info.filename
            for info in self._zip.infolist()
            if info.filename and not info.is_dir() and not _is_shadow(info.filename)
        ]
        self.members = list(dict.fromkeys(names))  # each once; ZipFile.open takes the last one

    def _read(self, member: str) -> bytes:
        with refuse_damaged(self.path), self._zip.open(member) as stream:
            return files.read_bounded(f"{self.path}: {member}", stream)

    def close(self) -> None:
        self._zip.close()


class _Tar(Archive):
    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._stream = _TarStream(path)
        try:
            self._tar = tarfile.open(fileobj=self._stream, mode="r:")  # noqa: SIM115
            self._members: dict[str, tarfile.TarInfo] = {}
            for member in self._tar:
                _check_size(path, member)
                self._stream.begin_header()
                if member.isfile() and not _is_shadow(member.name):
                    self._members[member.name] = member
            self._stream.check_end()
        except BaseException:
            self._stream.close()
            raise
        self._stream.is_listing = False
        self.members = list(self._members)

    def _read(self, member: str) -> bytes:
        with refuse_damaged(self.path):
            stream = self._tar.extractfile(self._members[member])
            assert stream is not None  # as for all regular files
            with stream:
                return files.read_bounded(f"{self.path}: {member}", stream)

    def close(self) -> None:
        self._stream.close()


def _directory_bytes(path: pathlib.Path) -> int:
    """How large the directory of a zip archive says that it is; 0 where it cannot be found."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - ZIP_END_BYTES))
        end = file.read()
    at = end.rfind(b"PK\x05\x06", 0, max(0, len(end) - 18))  # the record has 22 bytes
    if at < 0:
        return 0
    (size,) = struct.unpack_from("<L", end, at + 12)
    sizes = [size] if size != 0xFFFFFFFF else []
    if (large := end.rfind(b"PK\x06\x06", 0, at)) >= 0:  # of ZIP64
        sizes += struct.unpack_from("<Q", end.ljust(large + 48, b"\0"), large + 40)
    return max(sizes, default=0)


def _is_shadow(member: str) -> bool:
    """Whether it is what macOS and others add to an archive, hidden from its user."""
    return any(is_hidden(part) for part in member.split("/") if part not in (".", ".."))


def _check_size(path: pathlib.Path, member: tarfile.TarInfo) -> None:
    """Refuse a size at once: what follows the member is reached only by unpacking it."""
    if member.size < 0:
        raise tarfile.ReadError(f"{member.name} has the size {member.size}")
    if member.size > limits.FILE_BYTES:
        raise files.too_large(f"{path}: {member.name}", limits.FILE_BYTES)


def _check_total(size: int) -> None:
    if size > limits.ARCHIVE_BYTES:
        raise tarfile.ReadError(f"it has more than {limits.ARCHIVE_BYTES:,} bytes")


def _open_decompressed(path: pathlib.Path) -> io.BufferedIOBase:
    with path.open("rb") as file:
        start = file.read(6)
    for magic, open_compressed in _DECOMPRESSORS:
        if start.startswith(magic):
            return open_compressed(path, "rb")
    return path.open("rb")


class _TarStream(io.RawIOBase):
    """A tar file, decompressed; while its members are listed, reads and seeks have limits.

    tarfile itself believes every size in a header. It reads a long name at once, however
    large, and goes back to where it was if a size is negative, for ever; or, in newer versions of
    Python, it takes that header for the end, as it does all headers that are damaged.
    """

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self._stream = _open_decompressed(path)
        self.is_listing = True
        self._header_bytes = 0  # of the member that is being listed
        self._headers_bytes = 0  # of all members
        self._last = b""  # what was read last

    def begin_header(self) -> None:
        """Another member is listed from here on."""
        self._header_bytes = 0

    def read(self, size: int = -1) -> bytes:
        if self.is_listing:
            self._count(size)
            self._last = self._stream.read(size)
            return self._last
        return self._stream.read(size)

    def check_end(self) -> None:
        """Refuse an archive whose listing ended at something else than zeros or its end.

        What follows is read, too: gzip's checksum stands behind it.
        """
        if self._last.strip(b"\0"):
            raise tarfile.ReadError("a header is damaged, or has a negative size")
        while self._stream.read(1 << 20):
            _check_total(self.tell())

    def _count(self, size: int) -> None:
        if size < 0:
            raise tarfile.ReadError("a header has a negative size")
        self._header_bytes += size
        self._headers_bytes += size
        if self._header_bytes > limits.TAR_HEADER_BYTES:
            raise tarfile.ReadError(f"a member has a header of {self._header_bytes:,} bytes")
        if self._headers_bytes > limits.TAR_HEADERS_BYTES:
            raise tarfile.ReadError(
                f"its headers have more than {limits.TAR_HEADERS_BYTES:,} bytes, more members than "
                "any data set has"
            )

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if self.is_listing:
            if not 0 <= offset - self.tell() <= limits.FILE_BYTES + tarfile.BLOCKSIZE:
                raise tarfile.ReadError("a header has an impossible size")
            _check_total(offset)
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()
        super().close()
