"""Dataset, and the two forms its images can have besides an array."""

import dataclasses
import io
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from tqdm import tqdm

from dnnh import files, hdf5_files, limits, prefetch
from dnnh.data import image_files
from dnnh.errors import UserError

JPEG_QUALITY = 95
AHEAD = 64  # images that are read before they are needed


class EncodedImages:
    """Images kept as image files in an HDF5 data set, decoded when they are indexed.

    Behaves as an array of shape (n, height, width, channels) in what is defined here.

    Parameters
    ----------
    path : path of the HDF5 file, which has the bytes of each image in ``files``
    shape : (n, height, width, channels)

    Raises
    ------
    ValueError
        If the file does not hold so many image files.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, path: files.StrPath, shape: ArrayLike) -> None:
        self.path = path
        sides = np.asarray(shape)
        if sides.ndim != 1 or sides.dtype.kind not in "iu":
            raise ValueError(f"images are said to have the shape {shape!s:.100}")
        self.shape: tuple[int, ...] = tuple(sides.tolist())
        self._files: Any = h5py.File(path, "r")["files"]
        is_bytes = h5py.check_vlen_dtype(self._files.dtype) == np.uint8
        if not is_bytes or self._files.shape != self.shape[:1]:
            raise ValueError(
                f"files is {self._files.dtype} of shape {self._files.shape}, images {self.shape}"
            )
        if len(self.shape) != 4 or min(self.shape) < 1 or max(self.shape[1:]) > limits.IMAGE_SIDE:
            raise ValueError(f"images are said to have the shape {self.shape}")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(
        self, rows: int | slice | Sequence[int] | NDArray[np.integer]
    ) -> NDArray[np.uint8]:
        """The image of a row, or the images of a slice or an array of rows."""
        chosen = np.arange(len(self))[rows]
        if chosen.ndim == 0:
            return self._decoded(int(chosen))
        images = np.empty((0, *self.shape[1:]), np.uint8)
        for place, row in enumerate(chosen.tolist()):
            image = self._decoded(row)
            if not place:  # one image has the shape that the file claims
                images = np.empty((len(chosen), *self.shape[1:]), np.uint8)
            images[place] = image
        return images

    def encoded(self, row: int) -> bytes:
        """The image file of a row.

        Raises
        ------
        UserError
            If the HDF5 file is damaged there.
        """
        try:
            return self._files[row].tobytes()
        except hdf5_files.HDF5_ERRORS as error:
            raise UserError(
                f"{self.path}: image {row} cannot be read ({error}); prepare the data set again"
            ) from error

    def _decoded(self, row: int) -> NDArray[np.uint8]:
        image = image_files.decode_image(self.encoded(row), f"{self.path}: image {row}")
        if image.shape != self.shape[1:]:
            raise UserError(
                f"{self.path}: image {row} has the shape {image.shape}, the data "
                f"set {self.shape[1:]}; prepare the data set again"
            )
        return image


class ImageFiles:
    """Images that are still files: read and resized while they are saved.

    Parameters
    ----------
    paths : list of path
    side : int
        Height and width that they get; the aspect ratio is not kept, as in Caffe's
        convert_imageset.
    """

    def __init__(self, paths: list[files.StrPath], side: int) -> None:
        self.paths = paths
        self.side = side
        self.shape = (len(paths), side, side, 3)
        # An upper bound of what such JPEG files take; most take a tenth.
        self.nbytes = len(paths) * (3 * side * side + 1024)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, skipped: list[str]) -> Iterator[tuple[int, bytes]]:
        """Yield (row, bytes of a JPEG file) of each image that can be read.

        ``skipped`` gets a sentence for each other one.
        """
        jpegs = prefetch.in_order(self._read, self.paths, AHEAD)
        with tqdm(total=len(self), unit=" images", desc="reading images") as progress:
            for row, jpeg in enumerate(jpegs):
                if isinstance(jpeg, UserError):
                    skipped.append(str(jpeg))
                else:
                    yield row, jpeg
                progress.update()

    def _read(self, path: files.StrPath) -> bytes | UserError:
        try:
            data = files.read_regular_file(path, limits.IMAGE_BYTES)
            image = image_files.decode_image(data, path)
        except UserError as error:
            return error
        resized = Image.fromarray(image).resize((self.side, self.side), Image.Resampling.BICUBIC)
        jpeg = io.BytesIO()
        resized.save(jpeg, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return jpeg.getvalue()


# Images whose pixels can be indexed.
Images: TypeAlias = NDArray[np.uint8] | EncodedImages

AnyImages = TypeVar("AnyImages")


@dataclasses.dataclass
class Dataset(Generic[AnyImages]):
    """Images with labels.

    Attributes
    ----------
    name : str
    images : uint8 array of shape (n, height, width, channels), or EncodedImages; ImageFiles
        before they are saved
    labels : int64 array of shape (n,), index into ``classes``; or uint8 array
        of shape (n, classes), 1 where an image has the label
    classes : tuple of str
    source : str
        What the images were read from. Printed beside every result.
    origin : str
        The path of that, of a user's own images; "" for others.
    train : int
        The first ``train`` images are the official training set, 0 if there is none.
    features : dict of name to array of shape (n, d)
        What the data set publishes besides its images.
    images_sha256 : str
        Of the images in their order: of their files where these were decoded, else of their pixels.
        "" in files of earlier versions.
    """

    name: str
    images: AnyImages
    labels: NDArray[np.integer]
    classes: tuple[str, ...]
    source: str
    train: int = 0
    features: dict[str, NDArray] = dataclasses.field(default_factory=dict)
    origin: str = ""
    images_sha256: str = ""
