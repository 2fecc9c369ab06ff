"""GIST: responses of an image to Gabor filters, averaged over 4 x 4 blocks.

Oliva and Torralba, "Modeling the shape of the scene: a holistic representation of
the spatial envelope", IJCV 2001. Low frequencies are removed from each image and local
contrast is normalized; it is filtered by Gabor functions of 4 scales and 8
orientations, and the magnitudes are averaged over 4 x 4 blocks: 512 numbers. The
constants are those of the authors' published descriptor.
"""

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from tqdm import tqdm

from dnnh.errors import UserError

SCALES, ORIENTATIONS, BLOCKS = 4, 8, 4
FEATURES = SCALES * ORIENTATIONS * BLOCKS * BLOCKS

PREFILTER_CYCLES = 4  # per image: lower frequencies are removed
PREFILTER_PAD = 5
PIXELS = 200 * 32 * 32  # at a time: some 100 MB

# Frequencies where a filter is below this share of its peak are skipped.
NEGLIGIBLE = 1e-6

Floats = NDArray[np.floating[Any]]  # float32, unless a comment says otherwise


def describe(images: Any) -> NDArray[np.float32]:
    """The GIST descriptors of images.

    Parameters
    ----------
    images : uint8 array of shape (n, height, width, channels), or
        dnnh.data.dataset.EncodedImages; square, the side a multiple of 4

    Returns
    -------
    float32 array of shape (n, 512): scale by scale from the finest, orientation by
    orientation, the 4 x 4 blocks row by row.

    Raises
    ------
    UserError
        If the images are not square, or their side is not a multiple of 4.
    """
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[1] % BLOCKS:
        raise UserError(
            f"GIST is of square images whose side is a multiple of {BLOCKS}; "
            f"these have the shape {images.shape[1:]} (height, width, "
            "channels)"
        )
    side = images.shape[1]
    filters = _filters(side)
    features = np.empty((len(images), FEATURES), np.float32)
    batch = max(1, PIXELS // side**2)
    with tqdm(total=len(images), unit=" images", desc="GIST") as progress:
        for start in range(0, len(images), batch):
            grey = images[start : start + batch].mean(axis=3, dtype=np.float32)
            features[start : start + batch] = _filtered(_prefiltered(_stretched(grey)), filters)
            progress.update(len(grey))
    return features


def _stretched(grey: Floats) -> Floats:
    """Brightness stretched to 0..255 in each image; a uniform image becomes 0."""
    low = grey.min(axis=(1, 2), keepdims=True)
    high = grey.max(axis=(1, 2), keepdims=True)
    return 255 * (grey - low) / np.maximum(high - low, 1e-6)


def _prefiltered(grey: Floats) -> Floats:
    """Low frequencies removed, then divided by the contrast around each pixel."""
    pad = PREFILTER_PAD
    logs = np.pad(np.log1p(grey), ((0, 0), (pad, pad), (pad, pad)), "symmetric")
    size = logs.shape[1]
    cycles = scipy.fft.fftfreq(size, 1 / size)
    cutoff = PREFILTER_CYCLES / np.sqrt(np.log(2))
    slow = np.exp(-(cycles[:, None] ** 2 + cycles**2) / cutoff**2).astype(np.float32)
    slow = slow[:, : size // 2 + 1]  # of a real transform

    def smoothed(values: Floats) -> Floats:
        spectrum: Any = scipy.fft.rfft2(values)
        return np.asarray(scipy.fft.irfft2(spectrum * slow, s=(size, size)))

    fast = logs - smoothed(logs)
    contrast = np.sqrt(np.abs(smoothed(fast**2)))
    return (fast / (0.2 + contrast))[:, pad:-pad, pad:-pad]


class _Filter:
    """One Gabor function, cropped to the frequencies where it is not negligible.

    ``response`` (rows, columns) is its transfer function there; ``to_rows``
    (side, rows) and ``to_columns`` (columns, side) are the inverse Fourier transform
    from those frequencies to the pixels of the unpadded image.
    """

    def __init__(self, transfer: NDArray[np.float64], side: int) -> None:
        size = len(transfer)
        kept = transfer > NEGLIGIBLE * transfer.max()
        self.rows, self.columns = np.flatnonzero(kept.any(1)), np.flatnonzero(kept.any(0))
        self.response = transfer[np.ix_(self.rows, self.columns)].astype(np.float32)
        pixels = side + np.arange(side)
        self.to_rows = _inverse(pixels, self.rows, size)
        self.to_columns = _inverse(pixels, self.columns, size).T.copy()

    def magnitude(self, spectra: NDArray[np.complexfloating]) -> Floats:
        """|response| of each pixel: (n, side, side), of spectra (n, size, size)."""
        part = spectra[:, self.rows[:, None], self.columns] * self.response
        return np.abs(self.to_rows @ (part @ self.to_columns))


def _inverse(
    pixels: NDArray[np.int64], frequencies: NDArray[np.int64], size: int
) -> NDArray[np.complex64]:
    """The inverse discrete Fourier transform, (pixels, frequencies)."""
    return (np.exp(2j * np.pi / size * np.outer(pixels, frequencies)) / size).astype(np.complex64)


def _filters(side: int) -> list[_Filter]:
    """The 32 filters for images that are padded by their own side on all sides."""
    size = 3 * side
    frequency = scipy.fft.fftfreq(size)  # cycles a pixel
    radius = np.hypot(frequency[:, None], frequency)
    angle = np.arctan2(frequency[:, None], frequency[None, :])
    filters = []
    for scale in range(SCALES):
        centre = 0.3 / 1.85**scale
        for orientation in range(ORIENTATIONS):
            turned = angle + np.pi / ORIENTATIONS * orientation
            turned -= 2 * np.pi * np.round(turned / (2 * np.pi))
            sharpness = 16 * ORIENTATIONS**2 / 32**2
            transfer = np.exp(-3.5 * (radius / centre - 1) ** 2 - 2 * np.pi * sharpness * turned**2)
            filters.append(_Filter(transfer, side))
    return filters


def _filtered(images: Floats, filters: list[_Filter]) -> Floats:
    """Means of the magnitudes over blocks: (n, 512)."""
    count, side, _ = images.shape
    # Mirrored on all sides, so that filters see no edge at the image's border.
    padded = np.pad(images, ((0, 0), (side, side), (side, side)), "symmetric")
    spectra: Any = scipy.fft.fft2(padded)
    block = side // BLOCKS
    means = [
        f.magnitude(spectra).reshape(count, BLOCKS, block, BLOCKS, block).mean((2, 4))
        for f in filters
    ]
    return np.stack(means, axis=1).reshape(count, FEATURES)
