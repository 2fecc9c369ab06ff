"""Codes files: where every method ends, and every evaluation begins.

An HDF5 file with ``query_codes`` and ``database_codes`` (uint8, shape
(n, ceil(q / 8)), bit i of a code in byte i // 8 at position i % 8, least
significant first, unused bits 0), ``query_labels`` and ``database_labels``
(int64 (n,), or uint8 multi-hot (n, classes)), optionally ``query_ids`` and
``database_ids``, and the attributes ``bits``, ``dataset``, ``method``, ``seed`` and,
optionally, ``source`` (what the images were read from) and ``protocol``.
"""

import dataclasses

import h5py
import numpy as np

from dnnh import paths
from dnnh.errors import UserError, printable


@dataclasses.dataclass
class Codes:
    """The codes of queries and database.

    Attributes
    ----------
    query_codes, database_codes : uint8 of shape (m, bytes), (n, bytes), packed
    query_labels, database_labels : int64 of shape (m,), (n,), or uint8 multi-hot
    bits : int
        q, the length of the codes.
    dataset, method : str
    seed : int
    query_ids, database_ids : int64 of shape (m,), (n,), or None
        Indices into the data set. An image that is in both is left out of its
        own ranking.
    source, protocol : str, or None
    """

    query_codes: np.ndarray
    database_codes: np.ndarray
    query_labels: np.ndarray
    database_labels: np.ndarray
    bits: int
    dataset: str
    method: str
    seed: int
    query_ids: np.ndarray = None
    database_ids: np.ndarray = None
    source: str = None
    protocol: str = None


ARRAYS = ("query_codes", "database_codes", "query_labels", "database_labels")
OPTIONAL = ("query_ids", "database_ids")
ATTRIBUTES = ("bits", "dataset", "method", "seed")
OPTIONAL_ATTRIBUTES = ("source", "protocol")
TEXTS = ("dataset", "method", *OPTIONAL_ATTRIBUTES)
MAX_BITS = 255          # distances are kept in a byte
LONGEST = 200           # letters of a text


def save(path, codes):
    """Write a codes file, whole or not at all."""
    _check(path, codes)
    with paths.hdf5_written_whole(path) as file:
        for name in ARRAYS + OPTIONAL:
            if getattr(codes, name) is not None:
                file[name] = getattr(codes, name)
        for name in ATTRIBUTES + OPTIONAL_ATTRIBUTES:
            if getattr(codes, name) is not None:
                file.attrs[name] = getattr(codes, name)


def load(path):
    """Read and check a codes file.

    Raises
    ------
    UserError
        If it is not there, not HDF5, or something in it is missing or does not
        fit the rest.
    """
    try:
        with h5py.File(path, "r") as file:
            missing = [n for n in ARRAYS if n not in file]
            missing += [n for n in ATTRIBUTES if n not in file.attrs]
            if missing:
                raise UserError(f"{path} is not a codes file: it has no "
                                + ", ".join(missing))
            codes = Codes(
                **{name: file[name][:] for name in ARRAYS},
                **{name: file[name][:] for name in OPTIONAL if name in file},
                **{name: _text(file.attrs[name])
                   for name in TEXTS if name in file.attrs},
                **{name: _whole_number(name, file.attrs[name])
                   for name in ("bits", "seed")})
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError,
            OverflowError, MemoryError) as error:
        raise UserError(f"{path} is not a readable codes file: {error}") from error
    _check(path, codes)
    return codes


def is_text(text):
    """Whether it is one line that can be shown and written as it is, and not too long."""
    return isinstance(text, str) and printable(text) == text and len(text) <= LONGEST


def _text(attribute):
    """Text, whichever of HDF5's two kinds of strings it was written as."""
    return attribute.decode() if isinstance(attribute, bytes) else str(attribute)


def _whole_number(name, attribute):
    if int(attribute) != attribute:
        raise ValueError(f"{name} is {attribute}, not a whole number")
    return int(attribute)


def _check(path, codes):
    width = -(-codes.bits // 8)
    spare = 8 * width - codes.bits            # bits of the last byte that are unused
    if not 1 <= codes.bits <= MAX_BITS:
        raise UserError(f"{path}: bits is {codes.bits}, it must be from 1 to {MAX_BITS}")
    for name in TEXTS:
        text = getattr(codes, name)
        if text is not None and not is_text(text):
            raise UserError(f"{path}: {name} is '{printable(text)[:40]}', {len(text)} letters; "
                            f"texts are one line of at most {LONGEST} letters")
    for side in ("query", "database"):
        packed = getattr(codes, f"{side}_codes")
        labels = getattr(codes, f"{side}_labels")
        ids = getattr(codes, f"{side}_ids")
        if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != width:
            raise UserError(
                f"{path}: {side}_codes is {packed.dtype} of shape {packed.shape}; "
                f"codes of {codes.bits} bits are uint8 of shape (n, {width})")
        if spare and (packed[:, -1] >> (8 - spare)).any():
            raise UserError(f"{path}: {side}_codes has ones beyond bit {codes.bits}; "
                            "unused bits must be 0")
        if labels.ndim not in (1, 2) or len(labels) != len(packed):
            raise UserError(f"{path}: {side}_labels has shape {labels.shape} for "
                            f"{len(packed)} codes")
        if labels.ndim == 1 and not _is_int64(labels):
            raise UserError(f"{path}: {side}_labels is {labels.dtype} with values that "
                            "are no int64; labels are int64 of shape (n,)")
        if labels.ndim == 2 and (labels.shape[1] < 2 or labels.dtype.kind not in "iub"
                                 or labels.size and (labels.min() < 0
                                                     or labels.max() > 1)):
            raise UserError(f"{path}: {side}_labels has shape {labels.shape}; multi-hot "
                            "labels are 0 or 1, a column for each of two classes or "
                            "more; single labels have shape (n,)")
        if ids is not None and ids.shape != (len(packed),):
            raise UserError(f"{path}: {side}_ids has shape {ids.shape} for "
                            f"{len(packed)} codes")
        if ids is not None and not _is_int64(ids):
            raise UserError(f"{path}: {side}_ids is {ids.dtype}; ids are int64")
        if ids is not None and len(np.unique(ids)) < len(ids):
            raise UserError(f"{path}: {side}_ids names some image twice; every image "
                            "has one code")
    if codes.query_labels.shape[1:] != codes.database_labels.shape[1:]:
        raise UserError(
            f"{path}: query_labels has shape {codes.query_labels.shape} and "
            f"database_labels {codes.database_labels.shape}; both must be one label "
            "an image, or both multi-hot with one number of classes")


def _is_int64(values):
    return values.dtype.kind in "iu" and (
        values.dtype != np.uint64 or not values.size
        or values.max() <= np.iinfo(np.int64).max)
