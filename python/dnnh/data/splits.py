"""Queries, training images and database of a data set, decided by one seed.

A split is made once, saved under ``data/splits/`` and used by every method
after that. No training image is ever a query.
"""

import dataclasses
import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from dnnh import atomic_files, hdf5_files, paths
from dnnh.data.dataset import Dataset
from dnnh.errors import UserError

# Per class: queries, training images. Those of CIFAR-10, NUS-WIDE and SVHN are the paper's
# (Lai et al., CVPR 2015, section 4.1); MNIST's are the same; the digits' are ours, in similar
# proportions.
PER_CLASS = {
    "cifar10": (100, 500),
    "digits": (20, 50),
    "mnist": (100, 500),
    "nuswide": (100, 500),
    "svhn": (100, 500),
}

SMALLEST_CLASS = 10  # images, in a user's own data set

PROTOCOLS = ("paper", "54k", "50k")

# One training image in five is held out by the validation split.
VALIDATION_SHARE = 5


@dataclasses.dataclass
class Split:
    """Indices into a data set, each int64, sorted.

    Attributes
    ----------
    queries, training, database : arrays of shape (n,)
    validation_training, validation_queries : arrays of shape (n,)
        The training images in two parts, for choosing things: what is trained
        on the first part is ranked within the second.
    """

    protocol: str
    seed: int
    queries: NDArray[np.int64]
    training: NDArray[np.int64]
    database: NDArray[np.int64]
    validation_training: NDArray[np.int64]
    validation_queries: NDArray[np.int64]

    def trained_on(self, split: str) -> tuple[str, NDArray[np.int64]]:
        """The training images of a net's split, ``test`` or ``validation``: their name and rows."""
        if split == "validation":
            return "validation_train", self.validation_training
        return "train", self.training

    def about(self, dataset: Dataset, part: str) -> dict[str, object]:
        """What a database of a part of the split says of its images."""
        return {
            "dataset": dataset.name,
            "source": dataset.source,
            "part": part,
            "protocol": self.protocol,
            "split_seed": self.seed,
        }


# What a split file holds, in the order of Split's fields.
ARRAYS = ("queries", "training", "database", "validation_training", "validation_queries")


def make_split(dataset: Dataset, protocol: str = "paper", seed: int = 0) -> Split:
    """Draw a split.

    Parameters
    ----------
    dataset : Dataset
    protocol : str
        ``paper``: so many queries of each class, so many training images of
        each class among the rest, database all images but the queries. ``54k``: the
        same without the training images in the database. ``50k``: the official
        test images are the queries, the official training images are training
        set and database.
    seed : int

    Raises
    ------
    UserError
        If the protocol is unknown, or asks for more images than there are.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"unknown protocol '{protocol}'; known ones: " + ", ".join(PROTOCOLS))
    if seed < 0:
        raise UserError(f"split seed {seed}: seeds are 0 or more")
    rng = np.random.default_rng(seed)
    rows = np.arange(len(dataset.labels))
    if protocol == "50k":
        if not dataset.train:
            raise UserError(
                f"{dataset.name} has no official training set, which "
                "the protocol '50k' asks for; use 'paper'"
            )
        training, queries = rows[: dataset.train], rows[dataset.train :]
        database = training
    else:
        queries, training = _draw(dataset, rng)
        database = np.setdiff1d(rows, queries)
        if protocol == "54k":
            database = np.setdiff1d(database, training)
    validation_queries = _draw_validation(dataset, training, rng)
    return Split(
        protocol=protocol,
        seed=seed,
        queries=queries,
        training=training,
        database=database,
        validation_training=np.setdiff1d(training, validation_queries),
        validation_queries=validation_queries,
    )


def class_sizes(dataset: Dataset) -> NDArray[np.int64]:
    """How many images of each class there are, int64 of shape (classes,)."""
    labels = dataset.labels
    if labels.ndim == 1:
        return np.bincount(labels, minlength=len(dataset.classes))
    return labels.sum(axis=0, dtype=int)


def per_class(dataset: Dataset) -> tuple[int, int]:
    """How many queries and how many training images are drawn from each class.

    Of a user's own data set a tenth and a half of the smallest class, up to the paper's numbers.

    Raises
    ------
    UserError
        If that class has too few images.
    """
    if dataset.name in PER_CLASS:
        return PER_CLASS[dataset.name]
    sizes = class_sizes(dataset)
    smallest = int(sizes.argmin())
    size = int(sizes[smallest])
    if size < SMALLEST_CLASS:
        raise UserError(
            f"class '{dataset.classes[smallest]}' of {dataset.name} has "
            f"{size} images; at least {SMALLEST_CLASS} are needed, for "
            "queries and for training: add some, or leave the class out"
        )
    return min(100, size // 10), min(500, size // 2)


def _draw(
    dataset: Dataset, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Queries and training images, drawn from each class.

    Where images have several labels, the rarest class is drawn first, and no image is drawn for
    two classes, as long as a class has images enough for that. Where it has not, because its
    images were drawn for other classes, these count for it, too.
    """
    query_count, training_count = per_class(dataset)
    if dataset.labels.ndim == 1:
        multi_hot = dataset.labels[:, np.newaxis] == np.arange(len(dataset.classes))
        order = np.arange(len(dataset.classes))
    else:
        multi_hot = dataset.labels
        order = np.argsort(multi_hot.sum(axis=0), kind="stable")
    is_query, is_training = np.zeros((2, len(multi_hot)), bool)
    for label in order:
        is_member = multi_hot[:, label].astype(bool)
        free = np.flatnonzero(is_member & ~is_query & ~is_training)
        to_queries, to_training = query_count, training_count
        if len(free) < to_queries + to_training:
            to_queries = max(0, query_count - int((is_member & is_query).sum()))
            to_training = max(0, training_count - int((is_member & is_training).sum()))
        if len(free) < to_queries + to_training:
            raise UserError(
                f"class '{dataset.classes[label]}' of {dataset.name} has {len(free)} "
                f"images to draw from; {to_queries} queries and {to_training} training "
                "images are needed"
            )
        drawn = rng.permutation(free)[: to_queries + to_training]
        is_query[drawn[:to_queries]] = True
        is_training[drawn[to_queries:]] = True
    return np.flatnonzero(is_query), np.flatnonzero(is_training)


def _draw_validation(
    dataset: Dataset, training: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The validation split's queries: a share of the training images of each class.

    Where images have several labels, a share of all training images.
    """
    groups = _by_class(dataset, training)
    drawn = [rng.permutation(group)[: len(group) // VALIDATION_SHARE] for group in groups]
    return np.sort(np.concatenate(drawn))


def _by_class(dataset: Dataset, images: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The images of each class; all in one group where images have several labels."""
    if dataset.labels.ndim > 1:
        return [images]
    labels = dataset.labels[images]
    return [images[labels == label] for label in range(len(dataset.classes))]


def other_queries(
    dataset: Dataset, pool: NDArray[np.int64], split: Split
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images to rank in place of the protocol's queries, which nothing is chosen on.

    Parameters
    ----------
    dataset : Dataset
    pool : int64 array
        Images to draw from: as many of each class as there are queries of it, or, where images
        have several labels, as many in all.
    split : Split
        Of the data set; its seed decides the draw.

    Returns
    -------
    (drawn, others) : int64 arrays, sorted: the images drawn, and the rest of the database

    Raises
    ------
    UserError
        If there are too few in the pool.
    """
    rng = np.random.default_rng([split.seed, len(pool)])
    counts = [len(queries) for queries in _by_class(dataset, split.queries)]
    groups = list(zip(_by_class(dataset, pool), counts))
    for group, count in groups:
        if len(group) < count:
            raise UserError(
                f"{dataset.name} has {len(group)} images of a class to draw from, not {count} as "
                "there are queries; evaluate the queries"
            )
    drawn = np.sort(np.concatenate([rng.permutation(group)[:count] for group, count in groups]))
    return drawn, np.setdiff1d(split.database, drawn)


def fits_committed_nets(protocol: str, seed: int) -> bool:
    """Whether the nets in prototxt/, snapshots and released models are for a split.

    ``54k`` shares its queries and training images with ``paper``.
    """
    return protocol != "50k" and seed == 0


def load_split(dataset: Dataset, protocol: str = "paper", seed: int = 0) -> Split:
    """The saved split; drawn and saved at its first use.

    Raises
    ------
    UserError
        As :func:`make_split` does, or if the file is none, or of another version of the data.
    """
    path = paths.DATA / "splits" / f"{dataset.name}_{protocol}_seed{seed}.h5"
    fingerprint = hashlib.sha256(
        json.dumps(dataset.source).encode()
        + dataset.labels.tobytes()
        + dataset.images_sha256.encode()
    ).hexdigest()
    if not path.exists():
        split = make_split(dataset, protocol, seed)
        with atomic_files.write_hdf5_atomically(path) as file:
            for name in ARRAYS:
                file[name] = getattr(split, name)
            file.attrs["data"] = fingerprint
        return split
    again = "delete it to draw the split again"
    with hdf5_files.read_hdf5(path, "is not a split file", again) as file:
        if file.attrs["data"] != fingerprint:
            raise UserError(
                f"{path} was drawn from other data than {dataset.name} as it is "
                f"now ({dataset.source}); {again}"
            )
        split = Split(protocol, seed, *(hdf5_files.numbers(file[name]) for name in ARRAYS))
        _check(split, len(dataset.labels))
    return split


def _check(split: Split, count: int) -> None:
    """Raise ValueError if it is not a split of so many images: queries must not be trained on."""
    for name in ARRAYS:
        indices = getattr(split, name)
        if (
            indices.dtype.kind != "i"
            or indices.ndim != 1
            or not len(indices)
            or indices[0] < 0
            or indices[-1] >= count
            or (np.diff(indices) <= 0).any()
        ):
            raise ValueError(f"{name} is not a rising list of indices below {count}")
    for name, other_name in (
        ("queries", "training"),
        ("queries", "database"),
        ("queries", "validation_training"),
        ("queries", "validation_queries"),
        ("validation_queries", "validation_training"),
    ):
        if np.intersect1d(getattr(split, name), getattr(split, other_name)).size:
            raise ValueError(f"{name} and {other_name} have images in common")
