"""Pickles of arrays and labels, as CIFAR-10's Python version has them, read without trusting them.

Threat model: that of dnnh.pickles; and NumPy takes bytes of a pickle for pointers if a dtype in it
says that they are objects. So the names that CIFAR-10's batches need stand for classes of ours
that make arrays of whole numbers and nothing else.
"""

import io
import pickle
import re
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dnnh import pickles


def load(data: bytes) -> tuple[NDArray, NDArray]:
    """The pixels and the labels of a batch.

    Parameters
    ----------
    data : bytes
        A pickle of a dict with ``data``, an array, and ``labels``, a list of numbers or an
        array; as Python 2 and the NumPy of its time wrote it, or as today's do.

    Returns
    -------
    pixels, labels : arrays, of any shape

    Raises
    ------
    Exception
        Of nearly any kind, where it is no such pickle.
    """
    batch = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    pixels, labels = batch[b"data"], batch[b"labels"]
    if not isinstance(pixels, _PickledArray):
        raise pickle.UnpicklingError(
            f"its 'data' is not an array of uint8, but of the type {type(pixels).__name__}"
        )
    if isinstance(labels, _PickledArray):
        return pixels.values, labels.values
    # Nested lists may be one and the same list, many times: NumPy would copy it each time.
    for label in labels:
        if type(label) not in (int, float):
            raise pickle.UnpicklingError(
                f"its labels have a value of the type {type(label).__name__}"
            )
    return pixels.values, np.asarray(labels)


class _PickledType:
    """Stands in for np.dtype while a pickle is read."""

    def __init__(self, code: str | bytes, align: object, copy: object) -> None:
        self._code = code.decode("latin1") if isinstance(code, bytes) else code
        self._byte_order = "="

    def __setstate__(self, state: Any) -> None:
        self._byte_order = state[1].decode() if isinstance(state[1], bytes) else state[1]

    def dtype(self) -> np.dtype:
        if not re.fullmatch("[iu][1248]", self._code):
            raise pickle.UnpicklingError(
                f"it has an array of the type '{self._code}'; uint8 is expected"
            )
        return np.dtype(self._code).newbyteorder(self._byte_order)  # type: ignore[arg-type]


class _PickledArray:
    """Stands in for np.ndarray, and for NumPy's function that makes an empty one."""

    def __init__(self, *arguments: object) -> None:
        self.values: NDArray = np.empty(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _, shape, pickled_type, is_fortran, data = state
        values = np.frombuffer(data, pickled_type.dtype())
        self.values = values.reshape(shape, order="F" if is_fortran else "C")


class _Unpickler(pickles.Unpickler):
    """Admits the names of NumPy that CIFAR-10's pickles have."""

    purpose = "an archive of arrays"
    admitted: ClassVar = {
        ("numpy", "dtype"): _PickledType,
        ("numpy", "ndarray"): _PickledArray,
        ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
        ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
    }
