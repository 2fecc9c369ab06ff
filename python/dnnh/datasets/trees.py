"""Folders and archives, read alike; and the image files in them.

All of it is hostile until checked.
"""

import hashlib
import io
import lzma
import pathlib
import tarfile
import zipfile
import zlib

import numpy as np
from PIL import Image, ImageOps

from dnnh.errors import UserError

# Images this large are never a small-image data set, but may be an attack.
MAX_IMAGE_PIXELS = 50_000_000
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp"}


class _Tree:
    """The files of a folder, tar or zip archive, read without unpacking.

    Nothing is written to disk, so a member's name (``../../x``, a link) can
    reach nowhere.
    """

    def __init__(self, path, members, read, close):
        self.path, self.members = path, members
        self.read, self._close = read, close

    def read_all(self, members):
        """Yield (member, bytes) for the given members, in the tree's order."""
        for member in self.members:
            if member in members:
                yield member, self.read(member)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._close()


# What the readers of archives raise on damaged or unusual ones.
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError,
           OSError, ValueError, RuntimeError, NotImplementedError)
# A member of any archive we read is at most a batch of CIFAR-10, 31 MB.
MAX_MEMBER_BYTES = 64_000_000


def bounded(where, stream):
    """All bytes of a stream, if they are no more than any data set has in one piece.

    Raises UserError if they are.
    """
    data = stream.read(MAX_MEMBER_BYTES + 1)
    if len(data) > MAX_MEMBER_BYTES:
        raise UserError(f"{where} is larger than {MAX_MEMBER_BYTES:,} bytes, "
                        "larger than anything in a data set")
    return data


def open_tree(path):
    """Open a folder or an archive for reading; see _Tree."""
    path = pathlib.Path(path)
    if path.is_dir():
        files = {p.relative_to(path).as_posix(): p
                 for p in sorted(path.rglob("*")) if p.is_file()}

        def read(member):
            with files[member].open("rb") as stream:
                return bounded(files[member], stream)
        return _Tree(path, list(files), read, lambda: None)
    if not path.exists():
        raise UserError(f"{path} does not exist")
    if not path.is_file():
        raise UserError(f"{path} is a device or a pipe; name a folder or an archive")
    try:
        if zipfile.is_zipfile(path):
            archive = zipfile.ZipFile(path)
            names = [i.filename for i in archive.infolist() if not i.is_dir()]

            def read(member):
                with _reading(path), archive.open(member) as stream:
                    return bounded(f"{path}: {member}", stream)
            return _Tree(path, names, read, archive.close)
        archive = tarfile.open(path)
        members = {m.name: m for m in archive if m.isfile()}
    except DAMAGED as error:
        raise UserError(f"{path} is neither a folder nor a whole tar or zip "
                        f"archive: {error}") from error

    def read(member):
        with _reading(path), archive.extractfile(members[member]) as stream:
            return bounded(f"{path}: {member}", stream)
    return _Tree(path, list(members), read, archive.close)


class _reading:
    """Turns what a truncated archive raises into a sentence."""

    def __init__(self, path):
        self._path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, DAMAGED) and not isinstance(error, UserError):
            raise UserError(f"{self._path} is damaged ({error}); fetch it again"
                            ) from error


def md5_of(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def decode_image(data, where):
    """Decode an image file's bytes to RGB, uint8 of shape (height, width, 3).

    It is turned as its EXIF data says, if they do. Raises UserError where it cannot be
    decoded, or claims to be huge.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise UserError(f"{where} claims {image.width}x{image.height} "
                                f"pixels, over the limit of {MAX_IMAGE_PIXELS:,}")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except UserError:
        raise
    except Exception as error:       # Pillow's decoders raise many kinds
        raise UserError(f"{where} is not a readable image: {error}") from error
