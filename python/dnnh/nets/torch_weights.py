"""PyTorch's state files of tensors, read without PyTorch and without trusting them.

Threat model: that of dnnh.pickles, for a state file is a row of pickles. A file of
dnnh.nets.pretrained has been checked by its SHA-256 before.
"""

import io
import math
import pathlib
import pickle
from collections import OrderedDict
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dnnh import files, limits, pickles
from dnnh.errors import UserError

MAGIC_NUMBER, PROTOCOL_VERSION = 0x1950A86A20F9469CFC6C, 1001  # of torch.save before PyTorch 1.6


def read(path: pathlib.Path) -> dict[str, NDArray]:
    """The tensors of a state file by name.

    Parameters
    ----------
    path : path of a file that ``torch.save`` of a version before 1.6 wrote: a dict of tensors

    Returns
    -------
    dict of str to array, float32 or int64

    Raises
    ------
    UserError
        If the file is not such a file, is truncated, or has anything else than tensors.
    """
    data = files.read_regular_file(path, limits.WEIGHTS_BYTES)
    try:
        return _read(io.BytesIO(data))
    except Exception as error:  # pickles fail in many ways
        raise UserError(
            f"{path} is not a state file of PyTorch that can be read ({error}); fetch it again"
        ) from error


def _read(file: io.BytesIO) -> dict[str, NDArray]:
    if _load(file) != MAGIC_NUMBER or _load(file) != PROTOCOL_VERSION:
        raise ValueError("it has another format")
    _load(file)  # the machine that wrote it; the order of bytes is little-endian
    tensors: dict[str, _Tensor] = _load(file)
    kinds = {tensor.key: tensor.kind for tensor in tensors.values()}
    storages = {}
    for key in _load(file):
        count = int.from_bytes(_exactly(file, 8), "little")
        kind = kinds[key]
        storages[key] = np.frombuffer(_exactly(file, count * kind.itemsize), kind)
    return {name: tensor.values(storages) for name, tensor in tensors.items()}


def _load(file: io.BytesIO) -> Any:
    return _Unpickler(file).load()


def _exactly(file: io.BytesIO, count: int) -> bytes:
    if count > file.getbuffer().nbytes - file.tell():
        raise ValueError("it is truncated")
    return file.read(count)


class _Tensor:
    """A view of a storage: what the pickle has in a tensor's place."""

    def __init__(
        self,
        storage: tuple[np.dtype, str],
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        *unused: object,
    ) -> None:
        self.kind, self.key = storage
        self._offset, self._shape, self._strides = offset, shape, strides

    def values(self, storages: dict[str, NDArray]) -> NDArray:
        storage = storages[self.key]
        last = self._offset + sum((n - 1) * step for n, step in zip(self._shape, self._strides))
        if (
            min((self._offset, *self._shape, *self._strides)) < 0
            or (math.prod(self._shape) and last >= len(storage))
            or math.prod(self._shape) > len(storage)
        ):
            raise ValueError("a tensor is larger than its values")
        size = storage.itemsize
        return np.ascontiguousarray(
            np.lib.stride_tricks.as_strided(
                storage[self._offset :], self._shape, [step * size for step in self._strides]
            )
        )


class _Unpickler(pickles.Unpickler):
    """Admits the names that dicts of tensors have."""

    purpose = "a file of tensors"
    admitted: ClassVar = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
        ("torch", "FloatStorage"): np.dtype("<f4"),
        ("torch", "LongStorage"): np.dtype("<i8"),
    }

    def persistent_load(self, pid: Any) -> tuple[np.dtype, str]:
        what, kind, key, _, _, *_ = pid
        if what != "storage" or not isinstance(kind, np.dtype) or not isinstance(key, str):
            raise pickle.UnpicklingError("it has something else than tensors")
        return kind, key
