"""Decodes image files within limits; files are untrusted.

Broken or very large metadata is ignored.
"""

import ctypes
import io
import logging
import re
import struct
import warnings
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from dnnh import files, limits
from dnnh.errors import UserError

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, which only warns; see dnnh.limits
# No format for which Pillow starts another program, as for PostScript.
Image.init()
FORMATS = [
    name
    for name in ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "TGA")
    if name in Image.OPEN
]
# Of files in these formats.
SUFFIXES = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}

# Pillow warns of metadata that it cannot read; it is ignored here.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


def _silence_libtiff() -> None:
    """Have libtiff, which Pillow loads, print nothing: it reports each damage on stderr."""
    library = ctypes.CDLL(Image.core.__file__)  # type: ignore[attr-defined]
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        if hasattr(library, name):  # Pillow may be built without it
            getattr(library, name)(ctypes.c_void_p(None))


_silence_libtiff()

JPEG_SCAN, JPEG_END = b"\xff\xda", b"\xff\xd9"
# A marker with a length behind it, or the end.
JPEG_SEGMENT = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}  # chunks that make the pixels

# What restores an image, by its EXIF orientation.
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(data: bytes, where: files.StrPath) -> NDArray[np.uint8]:
    """Decode an image file to RGB.

    It is rotated as its EXIF data says. Transparent pixels become white, 16-bit values 8-bit;
    color profiles are ignored.

    Parameters
    ----------
    data : bytes of the file
    where : str or path
        What messages call it.

    Returns
    -------
    uint8 array of shape (height, width, 3)

    Raises
    ------
    UserError
        If it cannot be decoded, has a side of more than limits.IMAGE_SIDE, or has more than
        limits.IMAGE_PIXELS (a JPEG file that is not progressive: limits.JPEG_PIXELS).
    """
    try:
        with Image.open(io.BytesIO(_without_metadata(data)), formats=FORMATS) as image:
            if image.format in ("JPEG", "MPO"):
                if _is_truncated_jpeg(data):
                    raise ValueError("it is a truncated JPEG")
                if (scans := _jpeg_scans(data)) > limits.JPEG_SCANS:
                    raise UserError(f"{where} has {scans:,} scans; at most {limits.JPEG_SCANS}")
            _reduce(image)
            if image.width * image.height > limits.IMAGE_PIXELS:
                raise UserError(
                    f"{where} claims {image.width}x{image.height} "
                    f"pixels, over the limit of {limits.IMAGE_PIXELS:,}"
                )
            if max(image.size) > limits.IMAGE_SIDE:
                raise UserError(
                    f"{where} claims {image.width}x{image.height} pixels; a side has at most "
                    f"{limits.IMAGE_SIDE:,}"
                )
            return np.asarray(_in_rgb(_upright(image), image.format))
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f"{where} is not a readable image: it is none of " + ", ".join(FORMATS)
        ) from error
    except Exception as error:  # Pillow's decoders raise many kinds
        raise UserError(f"{where} is not a readable image: {error}") from error


def _without_metadata(data: bytes) -> bytes:
    """A PNG file without the chunks that pixels do not need; other files as they are.

    Pillow refuses a file for a wrong checksum in a comment, or for a large color profile, but
    not for a wrong checksum of pixels.
    """
    if not data.startswith(PNG_SIGNATURE):
        return data
    kept, start = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while len(header := data[start : start + 8]) == 8:
        length, kind = struct.unpack(">I4s", header)
        end = start + 12 + length
        is_whole = _is_whole(data[start:end])
        if kind in PNG_PIXELS and not is_whole:
            raise ValueError(f"its chunk {kind.decode()} is truncated or has a wrong checksum")
        if is_whole and kind in PNG_PIXELS | {b"eXIf"}:  # which has the orientation
            kept.append(data[start:end])
        start = end
    return b"".join(kept)


def _is_whole(chunk: bytes) -> bool:
    """Whether a chunk of a PNG file has the checksum of its content."""
    return chunk[-4:] == struct.pack(">I", zlib.crc32(chunk[4:-4]))


def _is_truncated_jpeg(data: bytes) -> bool:
    """Whether no end marker follows the scan: libjpeg pads such a file and reports no error.

    As layers/data/image_database.cpp does.
    """
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        is_fill = data[at + 1] == 0xFF
        at += 1 if is_fill else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return b"\xff\xd9" not in data[at:]


def _jpeg_scans(data: bytes) -> int:
    """How many scans the picture has. What follows it (a video, a second picture) may have such
    bytes, too, and so may what segments hold."""
    count, at = 0, 2
    while (marker := JPEG_SEGMENT.search(data, at)) and marker[0] != JPEG_END:
        count += marker[0] == JPEG_SCAN
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return count


def _reduce(image: Image.Image) -> None:
    """Have a large JPEG file decoded at a reduced size, which libjpeg does by itself."""
    width, height = image.size
    if image.format not in ("JPEG", "MPO") or image.info.get("progressive"):
        return
    if not limits.IMAGE_PIXELS < width * height <= limits.JPEG_PIXELS:
        return
    factor = 2
    while (width // factor) * (height // factor) > limits.IMAGE_PIXELS and factor < 8:
        factor *= 2
    image.draft(None, (width // factor, height // factor))  # once: a second call fails


def _upright(image: Image.Image) -> Image.Image:
    """An image, rotated and flipped as its EXIF data says, if that can be read."""
    image.load()  # Pillow rotates a TIFF file by itself
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow's parser raises many kinds
        return image
    way = TRANSPOSITIONS.get(orientation) if isinstance(orientation, int) else None
    return image if way is None else image.transpose(way)


def _in_rgb(image: Image.Image, file_format: str | None) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits; of TIFF also 32, which hold 16 or 8
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65_535:
            raise ValueError(f"its values go from {values.min()} to {values.max()}")
        holds_8_bits = (file_format, image.mode) == ("TIFF", "I") and values.max() <= 255
        image = Image.fromarray((values if holds_8_bits else values // 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("its values are fractions")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")
