"""The codes of an engine of this process in an HDF5 file, and back.

The file has ``codes`` (uint8, (n, ceil(q / 8)), packed as dnnh.packed_codes says) and the
attributes ``bits`` and ``engine``. Of an IvfEngine it has ``nlist`` and ``nprobe``, too, and,
once codes are in lists, ``list_of`` (the list of each of the first codes) and ``centroids``, so
that millions of codes need not be put into lists again.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import atomic_files, hdf5_files, packed_codes
from dnnh.errors import UserError
from dnnh.files import StrPath
from dnnh.retrieval.engines import code_blocks, faiss_knn
from dnnh.retrieval.engines.faiss_flat import FaissFlatEngine
from dnnh.retrieval.engines.inverted_lists import InvertedLists
from dnnh.retrieval.engines.ivf import MAX_NLIST, IvfEngine
from dnnh.retrieval.engines.numpy_engine import NumpyEngine

LocalEngine = NumpyEngine | FaissFlatEngine | IvfEngine

ENGINES = {"numpy": NumpyEngine, "flat": FaissFlatEngine, "ivf": IvfEngine}
LIST_NUMBER_BYTES = 2  # at most, for each code of an IvfEngine


def make_engine(name: str, bits: int) -> LocalEngine:
    """An empty engine by its name, one of ENGINES.

    Raises
    ------
    UserError
        If there is none of this name.
    """
    if name not in ENGINES:
        raise UserError(f"unknown engine '{name}'; known engines: " + ", ".join(ENGINES))
    return ENGINES[name](bits)


def save(engine: LocalEngine, path: StrPath) -> None:
    """Write the codes of an engine atomically."""
    width = packed_codes.code_bytes(engine.bits)
    lists = None
    if isinstance(engine, IvfEngine):
        stored = engine.stored
        lists, blocks = stored.lists, stored.recent
    else:
        blocks = engine.blocks
    size = code_blocks.count(blocks) + (0 if lists is None else len(lists))
    with atomic_files.write_hdf5_atomically(path, size * (width + LIST_NUMBER_BYTES)) as file:
        file.attrs["bits"] = engine.bits
        file.attrs["engine"] = next(name for name, kind in ENGINES.items() if type(engine) is kind)
        if isinstance(engine, IvfEngine):
            file.attrs["nlist"], file.attrs["nprobe"] = engine.nlist, engine.nprobe
        if lists is not None:
            codes, file["list_of"] = lists.in_order()
            file["centroids"] = lists.centroids
            blocks = (codes, *blocks)
        dataset = file.create_dataset("codes", (size, width), np.uint8)
        for first, codes in code_blocks.pieces(blocks):
            dataset[first : first + len(codes)] = codes[:, :width]


def load(path: StrPath, engine: str | None = None) -> LocalEngine:
    """Read the file that :func:`save` wrote, with another engine if one is named.

    Raises
    ------
    UserError
        If it is no such file.
    """
    with hdf5_files.read_hdf5(
        path, "is not a file of searchable codes", "write it again with storage.save"
    ) as file:
        try:
            return _read(file, engine)
        except UserError as error:  # which does not name the file
            raise ValueError(str(error)) from error


def _read(file: Any, name: str | None) -> LocalEngine:
    bits = _number(file, "bits")
    engine = make_engine(name or str(file.attrs["engine"]), bits)
    codes = packed_codes.check(hdf5_files.numbers(file["codes"]), bits, "codes")
    if isinstance(engine, IvfEngine) and "nlist" in file.attrs:
        engine = IvfEngine(bits, _number(file, "nlist"), _number(file, "nprobe"))
        if "list_of" in file:
            lists = _read_lists(file, codes)
            engine.restore_lists(lists)
            codes = codes[len(lists) :]
    engine.add(codes)
    return engine


def _number(file: Any, name: str) -> int:
    return hdf5_files.whole_number(name, file.attrs[name])


def _read_lists(file: Any, codes: NDArray[np.uint8]) -> InvertedLists:
    list_of, centroids = map(hdf5_files.numbers, (file["list_of"], file["centroids"]))
    stored_bytes = faiss_knn.stored_bytes(_number(file, "bits"))
    if centroids.dtype != np.uint8 or centroids.ndim != 2 or centroids.shape[1] != stored_bytes:
        raise ValueError(f"its centroids are {centroids.dtype} of shape {centroids.shape}")
    if len(centroids) > MAX_NLIST:
        raise ValueError(f"it has {len(centroids):,} lists, more than {MAX_NLIST:,}")
    if (
        list_of.dtype.kind not in "iu"
        or list_of.ndim != 1
        or not 1 <= len(list_of) <= len(codes)
        or not ((list_of >= 0) & (list_of < len(centroids))).all()
    ):
        raise ValueError(f"its lists are {list_of.dtype} of shape {list_of.shape}")
    listed = packed_codes.pad(codes[: len(list_of)], stored_bytes)
    return InvertedLists((listed,), centroids, list_of)
