"""Reading an index of encoded images.

Two kinds of files hold one. tools/encode.py writes an HDF5 file with ``codes`` (uint8,
(n, ceil(q / 8)), packed as dnnh.packed_codes says), ``names`` (text, (n,)) and ``labels``
(text, (n,): a JSON list each), ``stamps`` (text, (n,): dnnh.data.sources.Item) and ``states``
(uint8, (n,): image_index.STATES), and the attributes ``stamp_kind`` (of dnnh.data.sources.STAMPS),
``bits``, ``dataset``, ``method`` and ``schedule`` (of the net), ``weights`` (SHA-256 of its
.caffemodel) and ``source``. Stamps and states are missing in files of older versions. With codes of
features, also a group ``hash`` (dnnh.retrieval.feature_hash).
On Spark it writes a folder of Parquet files: see dnnh.retrieval.parquet.
"""

import contextlib
import json
import pathlib
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dnnh import hdf5_files, packed_codes
from dnnh.data import sources
from dnnh.errors import UserError
from dnnh.files import StrPath
from dnnh.nets import pretrained
from dnnh.nets.net_info import NetInfo
from dnnh.retrieval import feature_hash, parquet
from dnnh.retrieval.image_index import STATES, ImageIndex, IndexChanged, Labels, Rows

ARRAYS = ("codes", "names", "labels")
NET_TEXTS = ("dataset", "method", "schedule", "weights")
ATTRIBUTES = ("bits", *NET_TEXTS, "source")
REMEDY = "make one with 'python tools/encode.py'"


def load(path: StrPath) -> ImageIndex:
    """Read an index of encoded images: HDF5, or a folder of Parquet files.

    An HDF5 file stays open as long as the index is used.

    Raises
    ------
    UserError
        If there is none.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        return parquet.load(path)
    check_exists(path)
    with contextlib.ExitStack() as stack:
        # Whatever is wrong in here is wrong with the file, and becomes one sentence.
        problem = "is not an index of encoded images"
        file = stack.enter_context(hdf5_files.read_hdf5(path, problem, REMEDY))
        text = _StoredText(file, path)
        index = _read(file, text)
        text.keeps_open = stack.pop_all()
        index.close = text.keeps_open.close
    return index


def check_exists(path: StrPath) -> None:
    """Raise UserError if there is no file or folder."""
    if not pathlib.Path(path).exists():
        raise UserError(f"{path} does not exist; make an index with 'python tools/encode.py'")


def _read(file: Any, text: "_StoredText") -> ImageIndex:
    missing = [name for name in ARRAYS if name not in file]
    missing += [name for name in ATTRIBUTES if name not in file.attrs]
    if missing:
        raise ValueError("it has no " + ", ".join(missing))
    bits = hdf5_files.whole_number("bits", file.attrs["bits"])
    try:
        packed_codes.check_bits(bits)
        codes = packed_codes.check(hdf5_files.numbers(file["codes"]), bits, "codes")
    except UserError as error:  # which does not name the file
        raise ValueError(str(error)) from error
    texts_of_rows = [name for name in ("names", "labels", "stamps") if name in file]
    for name in texts_of_rows:
        if file[name].shape != (len(codes),) or h5py.check_string_dtype(file[name].dtype) is None:
            raise ValueError(
                f"{name} is {file[name].dtype} of shape {file[name].shape} for {len(codes)} codes"
            )

    if not str(file.attrs["source"]):
        raise ValueError("its source is empty")
    texts = {name: str(file.attrs[name]) for name in NET_TEXTS}
    hasher = feature_hash.read(file, bits, texts["method"])
    if hasher is None and texts["dataset"] == pretrained.DATASET:
        raise ValueError("it is of a network's features, without their hashing method")
    return ImageIndex(
        net=NetInfo(bits=bits, **texts),
        source=str(file.attrs["source"]),
        codes=codes,
        names=text.names,
        labels=text.labels,
        states=_states(file, len(codes)),
        stamps=text.stamps if "stamps" in file else None,
        stamp_kind=_stamp_kind(file),
        hasher=hasher,
    )


def _states(file: Any, count: int) -> NDArray[np.uint8]:
    if "states" not in file:
        return np.zeros(count, np.uint8)
    stored = file["states"]
    if stored.shape != (count,) or stored.dtype != np.uint8:
        raise ValueError(f"states is {stored.dtype} of shape {stored.shape} for {count} codes")
    states = stored[:]
    if count and states.max() not in STATES:
        raise ValueError(f"it has a state {states.max()}")
    return states


def _stamp_kind(file: Any) -> str | None:
    if "stamps" not in file:
        return None
    kind = str(file.attrs["stamp_kind"])
    if kind not in sources.STAMPS:
        raise ValueError(f"its stamps are by '{kind:.40}'")
    return kind


class _StoredText:
    """Names and labels, which stay in the file: it is open as long as they are in use."""

    def __init__(self, file: Any, path: pathlib.Path) -> None:
        self._file, self._path = file, path
        self.keeps_open: contextlib.ExitStack | None = None

    def names(self, rows: Rows) -> list[str]:
        return self._read("names", rows)

    def stamps(self, rows: Rows) -> list[str]:
        return self._read("stamps", rows)

    def labels(self, rows: Rows) -> list[Labels]:
        return [_labels(text, self._path) for text in self._read("labels", rows)]

    def _read(self, name: str, rows: Rows) -> list[str]:
        try:
            return _text(self._file[name], rows)
        except hdf5_files.HDF5_ERRORS as error:
            raise IndexChanged(
                f"{self._path} has {name} that cannot be read ({error}); if it was changed, open it "
                f"again, else {REMEDY}"
            ) from error


def _text(dataset: Any, rows: Rows) -> list[str]:
    """Text of a row, a slice of rows or an array of rows, in its order."""
    if isinstance(rows, slice):
        values = dataset[rows]
    else:
        # HDF5 reads each row once, in increasing order.
        increasing, places = np.unique(rows, return_inverse=True)
        values = dataset[increasing][places.ravel()]
    return [value.decode("utf-8", "replace") for value in values.tolist()]


def _labels(text: str, path: StrPath) -> Labels:
    try:
        labels = json.loads(text)
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise ValueError("not a list of text")
        return tuple(map(sources.as_text, labels))  # JSON may have halves of surrogate pairs
    except (ValueError, RecursionError) as error:
        raise IndexChanged(
            f"{path} has labels that cannot be read, {text[:40]!r} ({error}); make it again "
            "with 'python tools/encode.py'"
        ) from error
