"""Pseudo-labels: classes of unlabelled images, by the codes of a trained net.

Lee, "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural
Networks", ICML Workshops 2013.
"""

import numpy as np
from numpy.typing import NDArray


def nearest_classes(
    codes: NDArray[np.float32],
    labelled: NDArray[np.float32],
    labels: NDArray[np.integer],
    num_classes: int,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The class of each image whose mean code is the nearest.

    Parameters
    ----------
    codes : float32 array of shape (n, q), relaxed codes of unlabelled images
    labelled : float32 array of shape (m, q), those of labelled images
    labels : int64 array of shape (m,), the classes of those, 0 to C - 1, each at least once
    num_classes : int
        C, at least 2.

    Returns
    -------
    (classes, confidence) : int64 array of shape (n,), and float64 array of shape (n,): how much
        farther the second-nearest class is, in squared L2 distance
    """
    means = np.stack([labelled[labels == label].mean(axis=0) for label in range(num_classes)])
    distances = np.stack([((codes - mean) ** 2).sum(axis=1) for mean in means], axis=1)  # (n, C)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :2]
    first, second = np.take_along_axis(distances, nearest, axis=1).T
    return nearest[:, 0], (second - first).astype(np.float64)


def most_confident(
    classes: NDArray[np.intp], confidence: NDArray[np.float64], num_classes: int, share: float
) -> NDArray[np.intp]:
    """The images whose pseudo-labels are the most confident, equally many of each class.

    Parameters
    ----------
    classes, confidence : as :func:`nearest_classes` returns them
    num_classes : int
    share : float
        Of the images; fewer of a class that has not so many.

    Returns
    -------
    int64 array, sorted: their rows
    """
    count = int(share * len(classes) / num_classes)
    kept = []
    for label in range(num_classes):
        rows = np.flatnonzero(classes == label)
        kept.append(rows[np.argsort(-confidence[rows], kind="stable")[:count]])
    return np.sort(np.concatenate(kept))
