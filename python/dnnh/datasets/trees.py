"""Folders and archives, read alike; and the image files in them.

All of it is hostile until checked.
"""

import csv
import hashlib
import io
import lzma
import os
import pathlib
import stat
import tarfile
import zipfile
import zlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dnnh.errors import UserError

# Images this large are never a small-image data set, but may be an attack.
MAX_IMAGE_PIXELS = 50_000_000
Image.MAX_IMAGE_PIXELS = None          # Pillow's own limit, of which it warns
# None of those for which Pillow starts another program, as for PostScript.
Image.init()
FORMATS = [name for name in ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "PPM",
                             "JPEG2000", "TGA") if name in Image.OPEN]
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
MAX_HEADER_BYTES = 1_000_000
# A member of any archive we read is at most a batch of CIFAR-10, 31 MB.
MAX_MEMBER_BYTES = 64_000_000
LONGEST_LINE = 1_000_000        # letters of a CSV file's line


def read_file(path):
    """All bytes of a regular file; no pipe or device is waited for.

    Raises
    ------
    UserError
        If it cannot be read, is no regular file, or is larger than any file in a data set.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UserError(f"{path} cannot be read (it is a folder, a pipe or a device)")
            return bounded(path, stream)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({reason})") from error


def table_rows(path):
    """Yield what the rows of a CSV file say: (number, path of an image, labels).

    Rows of empty cells are passed over; a label that is there twice counts once.

    Raises
    ------
    UserError
        If it is no such file, or a row has no path.
    """
    def lines(file):
        while line := file.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE:
                raise UserError(f"{path} has a line of {LONGEST_LINE:,} letters or more; it "
                                "is no table of paths and labels")
            yield line

    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for number, row in enumerate(csv.reader(lines(file), strict=True), 1):
                name, *labels = [cell.strip() for cell in row] or [""]
                if not any((name, *labels)):
                    continue
                if not name or "\0" in name:
                    raise UserError(f"{path}, row {number} has no path of an image, but "
                                    f"{row[:3]}")
                yield number, name, tuple(dict.fromkeys(filter(None, labels)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no CSV file that can be read ({error})") from error


def bounded(where, stream):
    """All bytes of a stream, if they are no more than any data set has in one piece.

    Raises UserError if they are.
    """
    data = stream.read(MAX_MEMBER_BYTES + 1)
    if len(data) > MAX_MEMBER_BYTES:
        raise _too_large(where)
    return data


def _too_large(where):
    return UserError(f"{where} is larger than {MAX_MEMBER_BYTES:,} bytes, "
                     "larger than anything in a data set")


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
            # Of two members with one name, the last counts: a tar's and a zip's alike.
            names = list(dict.fromkeys(
                i.filename for i in archive.infolist() if not i.is_dir()))

            def read(member):
                with _reading(path), archive.open(member) as stream:
                    return bounded(f"{path}: {member}", stream)
            return _Tree(path, names, read, archive.close)
        archive = tarfile.open(path, tarinfo=_Member)
        members = {m.name: m for m in archive if _is_bounded(m, path) and m.isfile()}
    except DAMAGED as error:
        raise UserError(f"{path} is neither a folder nor a whole tar or zip "
                        f"archive: {error}") from error

    def read(member):
        with _reading(path), archive.extractfile(members[member]) as stream:
            return bounded(f"{path}: {member}", stream)
    return _Tree(path, list(members), read, archive.close)


def _is_bounded(member, path):
    """True; a UserError at once if not, as what follows is found only by unpacking it."""
    if member.size > MAX_MEMBER_BYTES:
        raise _too_large(f"{path}: {member.name}")
    return True


class _Member(tarfile.TarInfo):
    """A member whose long names and other headers are no larger than any in earnest."""

    def _proc_gnulong(self, archive):
        return self._if_small(super()._proc_gnulong, archive)

    def _proc_pax(self, archive):
        return self._if_small(super()._proc_pax, archive)

    def _if_small(self, process, archive):
        if self.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes")
        return process(archive)


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

    It is turned as its EXIF data says, if they do; what is transparent becomes white, and
    16 bits become 8. Raises UserError where it cannot be decoded, or claims to be huge.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise UserError(f"{where} claims {image.width}x{image.height} "
                                f"pixels, over the limit of {MAX_IMAGE_PIXELS:,}")
            return np.asarray(_in_rgb(ImageOps.exif_transpose(image)))
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(f"{where} is not a readable image: it is none of "
                        + ", ".join(FORMATS)
                        ) from error
    except Exception as error:       # Pillow's decoders raise many kinds
        raise UserError(f"{where} is not a readable image: {error}") from error


def _in_rgb(image):
    if image.mode.startswith("I"):             # 16 bits, or 32 that hold 16
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65_535:
            raise ValueError(f"its values go from {values.min()} to {values.max()}")
        image = Image.fromarray((values // 257 if values.max() > 255 else values).astype(
            np.uint8))
    elif image.mode == "F":
        raise ValueError("its values are fractions")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
