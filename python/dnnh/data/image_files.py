"""Image files, decoded. All of them are hostile until checked."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from dnnh import files
from dnnh.errors import UserError

# Images this large are never a small-image data set, but may be an attack.
MAX_IMAGE_PIXELS = 50_000_000
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, which only warns
# No format for which Pillow starts another program, as for PostScript.
Image.init()
FORMATS = [
    name
    for name in ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "TGA")
    if name in Image.OPEN
]
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".webp"}


def decode_image(data: bytes, where: files.StrPath) -> NDArray[np.uint8]:
    """Decode an image file to RGB.

    It is rotated as its EXIF data says. Transparent pixels become white, 16-bit values 8-bit.

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
        If it cannot be decoded, or claims to have more than MAX_IMAGE_PIXELS.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_IMAGE_PIXELS:
                raise UserError(
                    f"{where} claims {image.width}x{image.height} "
                    f"pixels, over the limit of {MAX_IMAGE_PIXELS:,}"
                )
            return np.asarray(_in_rgb(ImageOps.exif_transpose(image)))
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f"{where} is not a readable image: it is none of " + ", ".join(FORMATS)
        ) from error
    except Exception as error:  # Pillow's decoders raise many kinds
        raise UserError(f"{where} is not a readable image: {error}") from error


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, or 32 that hold 16
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65_535:
            raise ValueError(f"its values go from {values.min()} to {values.max()}")
        image = Image.fromarray((values // 257 if values.max() > 255 else values).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("its values are fractions")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
