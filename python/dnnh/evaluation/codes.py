"""Codes files: every method writes one, and every evaluation reads one.

An HDF5 file with ``query_codes`` and ``database_codes`` (uint8, shape
(n, ceil(q / 8)), bit i of a code in byte i // 8 at position i % 8, least
significant first, unused bits 0), ``query_labels`` and ``database_labels``
(int64 (n,), or uint8 multi-hot (n, classes)), optionally ``query_ids``,
``database_ids`` and ``bit_weights`` (float32 (q,)), and the attributes ``bits``,
``dataset``, ``method``, ``seed`` and, optionally, ``source`` (what the images were
read from), ``images_sha256``, ``protocol``, ``model`` (file name of the weights) and
``model_sha256``.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import atomic_files, files, hdf5_files, limits, packed_codes
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
        Of the split.
    query_ids, database_ids : int64 of shape (m,), (n,), or None
        Indices into the data set. An image that is in both is excluded from its
        own ranking.
    bit_weights : float32 of shape (q,), or None
        What each bit counts in a weighted Hamming distance, 0 or more.
    cut_from : int, or None
        How many bits the codes had before :func:`keep_heaviest`.
    source, images_sha256, protocol, model, model_sha256 : str, or None
        As of a :class:`dnnh.evaluation.results.Result`.
    """

    query_codes: NDArray[np.uint8]
    database_codes: NDArray[np.uint8]
    query_labels: NDArray
    database_labels: NDArray
    bits: int
    dataset: str
    method: str
    seed: int
    query_ids: NDArray[np.int64] | None = None
    database_ids: NDArray[np.int64] | None = None
    bit_weights: NDArray[np.float32] | None = None
    cut_from: int | None = None
    source: str | None = None
    images_sha256: str | None = None
    protocol: str | None = None
    model: str | None = None
    model_sha256: str | None = None


ARRAYS = ("query_codes", "database_codes", "query_labels", "database_labels")
OPTIONAL_ARRAYS = ("query_ids", "database_ids", "bit_weights")
ATTRIBUTES = ("bits", "dataset", "method", "seed")
OPTIONAL_TEXTS = ("source", "images_sha256", "protocol", "model", "model_sha256")
OPTIONAL_ATTRIBUTES = ("cut_from", *OPTIONAL_TEXTS)
TEXTS = ("dataset", "method", *OPTIONAL_TEXTS)
NUMBERS = ("bits", "seed", "cut_from")


def save(path: files.StrPath, codes: Codes) -> None:
    """Write a codes file atomically.

    Raises
    ------
    UserError
        If the parts do not fit together.
    """
    _check(path, codes)
    with atomic_files.write_hdf5_atomically(path) as file:
        for name in ARRAYS + OPTIONAL_ARRAYS:
            array = getattr(codes, name)
            if array is not None:
                file[name] = array
        for name in ATTRIBUTES + OPTIONAL_ATTRIBUTES:
            attribute = getattr(codes, name)
            if attribute is not None:
                file.attrs[name] = attribute


def load(path: files.StrPath) -> Codes:
    """Read and check a codes file.

    Raises
    ------
    UserError
        If it does not exist, is not HDF5, or a part is missing or does not fit the rest.
    """
    remedy = "pass a codes file, as python/dnnh/evaluation/codes.py describes it"
    atomic_files.complete_if_possible(pathlib.Path(path).parent)
    with hdf5_files.read_hdf5(path, "is not a readable codes file", remedy) as file:
        missing = [name for name in ARRAYS if name not in file]
        missing += [name for name in ATTRIBUTES if name not in file.attrs]
        if missing:
            raise UserError(f"{path} is not a codes file: it has no " + ", ".join(missing))
        parts: dict[str, Any] = {}
        for name in ARRAYS + OPTIONAL_ARRAYS:
            if name in file:
                parts[name] = hdf5_files.numbers(file[name])
        for name in TEXTS:
            if name in file.attrs:
                parts[name] = _text(file.attrs[name])
        for name in NUMBERS:
            if name in file.attrs:
                parts[name] = hdf5_files.whole_number(name, file.attrs[name])
        codes = Codes(**parts)
    _check(path, codes)
    for name, array in parts.items():
        if getattr(array, "dtype", None) == np.uint64:  # with int64, NumPy compares as floats
            setattr(codes, name, array.astype(np.int64))
    return codes


def keep_heaviest(codes: Codes, bits: int) -> Codes:
    """Codes cut to the bits with the largest weights, in their order.

    Raises
    ------
    UserError
        If the codes have no weights, or not more bits.
    """
    if codes.bit_weights is None:
        raise UserError(
            f"codes of {codes.method} have no bit weights to be cut by; train a shorter code"
        )
    if not 1 <= bits < codes.bits:
        raise UserError(
            f"codes of {codes.bits} bits cannot be cut to {bits}; name fewer, 1 or more"
        )
    kept = np.sort(np.argsort(-codes.bit_weights, kind="stable")[:bits])

    def cut(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return packed_codes.pack(packed_codes.unpack(packed, codes.bits)[:, kept])

    return dataclasses.replace(
        codes,
        query_codes=cut(codes.query_codes),
        database_codes=cut(codes.database_codes),
        bit_weights=codes.bit_weights[kept],
        bits=bits,
        cut_from=codes.cut_from or codes.bits,
    )


def is_text(text: object) -> bool:
    """Whether it is one printable line of at most limits.TEXT_LETTERS characters."""
    return isinstance(text, str) and printable(text) == text and len(text) <= limits.TEXT_LETTERS


def _text(attribute: Any) -> str:
    """Text, whichever of HDF5's kinds of strings it was written as, alone or in an array of one."""
    if isinstance(attribute, np.ndarray) and attribute.size == 1:
        attribute = attribute.item()
    if isinstance(attribute, bytes):
        return attribute.decode()
    if not isinstance(attribute, str):
        raise ValueError(f"an attribute is {attribute!r:.60}, not text")
    return str(attribute)


def _check(path: files.StrPath, codes: Codes) -> None:
    """Raise UserError if the parts do not fit together."""
    if not 1 <= codes.bits <= packed_codes.MAX_BITS:
        raise UserError(
            f"{path}: bits is {codes.bits}, it must be from 1 to {packed_codes.MAX_BITS}"
        )
    if codes.cut_from is not None and not codes.bits < codes.cut_from <= packed_codes.MAX_BITS:
        raise UserError(
            f"{path}: cut_from is {codes.cut_from}; codes of {codes.bits} bits are cut from more, "
            f"at most {packed_codes.MAX_BITS}"
        )
    if not 0 <= codes.seed < 2**63:
        raise UserError(f"{path}: seed is {codes.seed}; seeds are 0 or more")
    for name in TEXTS:
        text = getattr(codes, name)
        if text is not None and not is_text(text):
            raise UserError(
                f"{path}: {name} is '{printable(text)[:40]}', {len(text)} letters; "
                f"texts are one line of at most {limits.TEXT_LETTERS} letters"
            )
    for side in ("query", "database"):
        packed = packed_codes.check(
            getattr(codes, f"{side}_codes"), codes.bits, f"{path}: {side}_codes"
        )
        _check_labels(f"{path}: {side}_labels", getattr(codes, f"{side}_labels"), len(packed))
        ids = getattr(codes, f"{side}_ids")
        if ids is not None:
            _check_ids(f"{path}: {side}_ids", ids, len(packed))
    if codes.bit_weights is not None:
        _check_weights(f"{path}: bit_weights", codes.bit_weights, codes.bits)
    if codes.query_labels.shape[1:] != codes.database_labels.shape[1:]:
        raise UserError(
            f"{path}: query_labels has shape {codes.query_labels.shape} and "
            f"database_labels {codes.database_labels.shape}; both must be one label "
            "per image, or both multi-hot with the same number of classes"
        )


def _check_labels(name: str, labels: NDArray, count: int) -> None:
    if labels.ndim not in (1, 2) or len(labels) != count:
        raise UserError(f"{name} has shape {labels.shape} for {count} codes")
    if labels.ndim == 1:
        if not _is_int64(labels):
            raise UserError(
                f"{name} is {labels.dtype} with values that are not int64; "
                "labels are int64 of shape (n,)"
            )
        return
    is_binary = labels.dtype.kind in "iub" and (
        not labels.size or (labels.min() >= 0 and labels.max() <= 1)
    )
    if labels.shape[1] < 2 or not is_binary:
        raise UserError(
            f"{name} has shape {labels.shape}; multi-hot labels are 0 or 1, one column per "
            "class, of two classes or more; single labels have shape (n,)"
        )


def _check_ids(name: str, ids: NDArray, count: int) -> None:
    if ids.shape != (count,):
        raise UserError(f"{name} has shape {ids.shape} for {count} codes")
    if not _is_int64(ids):
        raise UserError(f"{name} is {ids.dtype}; ids are int64")
    if len(np.unique(ids)) < len(ids):
        raise UserError(f"{name} names some image twice; every image has one code")


def _check_weights(name: str, weights: NDArray, bits: int) -> None:
    if weights.shape != (bits,) or weights.dtype != np.float32:
        raise UserError(
            f"{name} is {weights.dtype} of shape {weights.shape}; weights of {bits} bits are "
            f"float32 of shape ({bits},)"
        )
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise UserError(f"{name} has values that are negative or not finite; weights are 0 or more")


def _is_int64(values: NDArray) -> bool:
    """Whether integers fit int64."""
    if values.dtype == np.uint64 and values.size:
        return bool(values.max() <= np.iinfo(np.int64).max)
    return values.dtype.kind in "iu"
