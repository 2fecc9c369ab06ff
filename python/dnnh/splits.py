"""Queries, training images and database of a data set: one seed decides.

A split is made once, saved under ``data/splits/`` and used by every method
after that. No training image is ever a query.
"""

import dataclasses
import hashlib
import json

import h5py
import numpy as np

from dnnh import paths
from dnnh.errors import UserError

# Per class: queries, training images. Those of CIFAR-10, NUS-WIDE and SVHN are the paper's
# (Lai et al., CVPR 2015, section 4.1); MNIST's are the same, the digits' ours, in like
# proportions.
PER_CLASS = {"cifar10": (100, 500), "digits": (20, 50), "mnist": (100, 500),
             "nuswide": (100, 500), "svhn": (100, 500)}

SMALLEST_CLASS = 10            # images, in a data set of one's own

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
    queries: np.ndarray
    training: np.ndarray
    database: np.ndarray
    validation_training: np.ndarray
    validation_queries: np.ndarray


ARRAYS = ("queries", "training", "database",
          "validation_training", "validation_queries")


def make_split(dataset, protocol="paper", seed=0):
    """Draw a split.

    Parameters
    ----------
    dataset : dnnh.datasets.Dataset
    protocol : str
        ``paper``: so many queries of each class, so many training images of
        each class among the rest, database all that is no query. ``54k``: the
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
        raise UserError(f"unknown protocol '{protocol}'; known ones: "
                        + ", ".join(PROTOCOLS))
    if seed < 0:
        raise UserError(f"split seed {seed}: seeds are 0 or more")
    rng = np.random.default_rng(seed)
    every = np.arange(len(dataset.images))
    if protocol == "50k":
        if not dataset.train:
            raise UserError(f"{dataset.name} has no official training set, which "
                            "the protocol '50k' asks for; use 'paper'")
        training, queries = every[:dataset.train], every[dataset.train:]
        database = training
    else:
        query_count, training_count = PER_CLASS.get(dataset.name) or _per_class(dataset)
        drawn = _draw(dataset, query_count, training_count, rng)
        queries = np.sort(np.concatenate([d[:query_count] for d in drawn]))
        training = np.sort(np.concatenate([d[query_count:] for d in drawn]))
        database = np.setdiff1d(every, queries)
        if protocol == "54k":
            database = np.setdiff1d(database, training)
    if dataset.labels.ndim == 1:
        of_each = [training[dataset.labels[training] == label]
                   for label in range(len(dataset.classes))]
    else:
        of_each = [training]
    validation_queries = np.sort(np.concatenate([
        rng.permutation(members)[:len(members) // VALIDATION_SHARE] for members in of_each]))
    return Split(protocol, seed, queries, training, database,
                 np.setdiff1d(training, validation_queries), validation_queries)


def class_sizes(dataset):
    """How many images of each class there are, int64 of shape (classes,)."""
    labels = dataset.labels
    return (np.bincount(labels, minlength=len(dataset.classes)) if labels.ndim == 1
            else labels.sum(axis=0, dtype=int))


def _per_class(dataset):
    """How many queries and training images of each class, for a data set of one's own: a
    tenth and a half of the smallest class, up to the paper's numbers."""
    sizes = class_sizes(dataset)
    smallest = int(sizes.argmin())
    if sizes[smallest] < SMALLEST_CLASS:
        raise UserError(f"class '{dataset.classes[smallest]}' of {dataset.name} has "
                        f"{sizes[smallest]} images; at least {SMALLEST_CLASS} are needed, for "
                        "queries and for training: add some, or leave the class out")
    return min(100, sizes[smallest] // 10), min(500, sizes[smallest] // 2)


def _draw(dataset, query_count, training_count, rng):
    """Queries, then training images, of each class; no image for two classes.

    Where images have several labels, rare ones choose first.
    """
    labels = dataset.labels
    if labels.ndim == 1:
        labels = labels[:, np.newaxis] == np.arange(len(dataset.classes))
    order = (np.argsort(labels.sum(axis=0), kind="stable") if dataset.labels.ndim == 2
             else range(len(dataset.classes)))
    free = np.ones(len(labels), bool)
    drawn = []
    for label in order:
        members = np.flatnonzero(labels[:, label] & free)
        if len(members) < query_count + training_count:
            raise UserError(
                f"class '{dataset.classes[label]}' of {dataset.name} has {len(members)} "
                f"images; {query_count} queries and {training_count} training images "
                "are to be drawn from it")
        drawn.append(rng.permutation(members)[:query_count + training_count])
        free[drawn[-1]] = False
    return drawn


def is_the_nets(protocol, seed):
    """Whether the nets in prototxt/, snapshots and released models are for a split.

    ``54k`` shares its queries and training images with ``paper``.
    """
    return protocol != "50k" and seed == 0


def load_split(dataset, protocol="paper", seed=0):
    """The saved split, made and saved if this is its first use."""
    path = paths.DATA / "splits" / f"{dataset.name}_{protocol}_seed{seed}.h5"
    fingerprint = hashlib.sha256(
        json.dumps(dataset.source).encode() + dataset.labels.tobytes()).hexdigest()
    if not path.exists():
        split = make_split(dataset, protocol, seed)
        with paths.hdf5_written_whole(path) as file:
            for name in ARRAYS:
                file[name] = getattr(split, name)
            file.attrs["data"] = fingerprint
        return split
    try:
        with h5py.File(path, "r") as file:
            if file.attrs["data"] != fingerprint:
                raise UserError(
                    f"{path} was drawn from other data than {dataset.name} as it is "
                    f"now ({dataset.source}); delete it to draw the split anew")
            split = Split(protocol, seed, *(file[name][:] for name in ARRAYS))
        _check(split, len(dataset.images))
        return split
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{path} is not a split file ({error}); delete it to draw "
                        "the split anew") from error


def _check(split, count):
    """Raise ValueError where a split is none: queries must not be trained on."""
    for name in ARRAYS:
        indices = getattr(split, name)
        if (indices.dtype.kind != "i" or indices.ndim != 1 or not len(indices)
                or indices[0] < 0 or indices[-1] >= count
                or (np.diff(indices) <= 0).any()):
            raise ValueError(f"{name} is no rising list of indices below {count}")
    for one, other in (("queries", "training"), ("queries", "database"),
                       ("validation_queries", "validation_training")):
        if np.intersect1d(getattr(split, one), getattr(split, other)).size:
            raise ValueError(f"{one} and {other} have images in common")
