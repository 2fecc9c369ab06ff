"""What all data sets are, once read."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Dataset:
    """Images with labels.

    Attributes
    ----------
    images : uint8 array of shape (n, height, width, channels)
    labels : int64 array of shape (n,), index into ``classes``; or uint8 array
        of shape (n, classes), 1 where an image has the label
    classes : tuple of str
    source : str
        What the images were read from; stands beside every number.
    train : int
        The first ``train`` images are the official training set, 0 if none.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple
    source: str
    train: int = 0
