"""What all data sets are, once read."""

import concurrent.futures
import dataclasses
import io
import itertools

import h5py
import numpy as np
from PIL import Image
from tqdm import tqdm

from dnnh.datasets import trees
from dnnh.errors import UserError

JPEG_QUALITY = 95
THREADS = 2                    # that read images; Pillow leaves Python's lock meanwhile
AHEAD = 64                     # images that are read before they are asked for


@dataclasses.dataclass
class Dataset:
    """Images with labels.

    Attributes
    ----------
    images : uint8 array of shape (n, height, width, channels), or EncodedImages; before
        they are saved, ImageFiles
    labels : int64 array of shape (n,), index into ``classes``; or uint8 array
        of shape (n, classes), 1 where an image has the label
    classes : tuple of str
    source : str
        What the images were read from; stands beside every number.
    train : int
        The first ``train`` images are the official training set, 0 if none.
    features : dict of name to array of shape (n, d)
        What the data set publishes beside its images.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple
    source: str
    train: int = 0
    features: dict = dataclasses.field(default_factory=dict)


class EncodedImages:
    """Images that are kept as files in an HDF5 data set, and decoded when looked at.

    In what it is asked for here, it is an array of shape (n, height, width, channels).

    Parameters
    ----------
    path : path of the HDF5 file, which has the bytes of each image in ``files``
    shape : (n, height, width, channels)
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, path, shape):
        self.path, self.shape = path, tuple(shape)
        self._files = h5py.File(path, "r")["files"]
        if h5py.check_vlen_dtype(self._files.dtype) != np.uint8 or (
                self._files.shape != self.shape[:1]):
            raise ValueError(f"files is {self._files.dtype} of shape {self._files.shape}, "
                             f"images {self.shape}")
        if len(self.shape) != 4 or min(self.shape) < 1:
            raise ValueError(f"images are said to have the shape {self.shape}")

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        """The images of a row, a slice of rows or an array of rows."""
        chosen = np.arange(len(self))[rows]
        if chosen.ndim == 0:
            return self._decoded(int(chosen))
        images = np.empty((len(chosen), *self.shape[1:]), np.uint8)
        for place, row in enumerate(chosen.tolist()):
            images[place] = self._decoded(row)
        return images

    def encoded(self, row):
        """The bytes of an image's file."""
        return self._files[row].tobytes()

    def _decoded(self, row):
        image = trees.decode_image(self.encoded(row), f"{self.path}: image {row}")
        if image.shape != self.shape[1:]:
            raise UserError(f"{self.path}: image {row} has the shape {image.shape}, the data "
                            f"set {self.shape[1:]}; prepare the data set again")
        return image


class ImageFiles:
    """Images that are still files of any size: read and resized while they are saved.

    Parameters
    ----------
    paths : list of path
    side : int
        Height and width that they get, their proportions given up, as Caffe's
        convert_imageset does it.
    """

    def __init__(self, paths, side):
        self.paths, self.side = paths, side
        self.shape = (len(paths), side, side, 3)
        # An upper bound of what such JPEG files take; most take a tenth.
        self.nbytes = len(paths) * (3 * side * side + 1024)

    def __len__(self):
        return len(self.paths)

    def read(self, left_out):
        """Yield (row, bytes of a JPEG file) of each image that can be read.

        ``left_out`` gets a sentence for each other one.
        """
        rows = iter(range(len(self)))
        with concurrent.futures.ThreadPoolExecutor(THREADS) as pool, tqdm(
                total=len(self), unit="image", desc="reading images") as progress:
            waiting = [(row, pool.submit(self._read, row))
                       for row in itertools.islice(rows, AHEAD)]
            while waiting:
                row, read = waiting.pop(0)
                waiting += [(more, pool.submit(self._read, more))
                            for more in itertools.islice(rows, 1)]
                try:
                    yield row, read.result()
                except UserError as error:
                    left_out.append(str(error))
                progress.update()

    def _read(self, row):
        path = self.paths[row]
        image = trees.decode_image(trees.read_file(path), path)
        file = io.BytesIO()
        Image.fromarray(image).resize(
            (self.side, self.side), Image.Resampling.BICUBIC).save(
            file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return file.getvalue()
