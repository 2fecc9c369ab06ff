"""State files as ``torch.save`` wrote them before PyTorch 1.6, made without PyTorch."""

import io
import pickle
from collections import OrderedDict
from typing import Any

from numpy.typing import NDArray

from dnnh.nets import torch_weights


class Global:
    """Pickles as a name of a module."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Persistent:
    def __init__(self, pid: tuple) -> None:
        self.pid = pid


class Call:
    """Pickles as a call."""

    def __init__(self, function: Any, arguments: tuple) -> None:
        self.function, self.arguments = function, arguments


class Pickler(pickle._Pickler):
    """Writes names that cannot be imported here."""

    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, Persistent) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Global):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Call):
            self.save(obj.function)
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def dump(*parts: Any) -> bytes:
    """A file of parts: bytes as they are, others as pickles."""
    file = io.BytesIO()
    for part in parts:
        if isinstance(part, bytes):
            file.write(part)
        else:
            Pickler(file, protocol=2).dump(part)
    return file.getvalue()


def tensor(
    key: str,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    kind: str = "FloatStorage",
    count: int = 6,
) -> Call:
    """A tensor in a pickle, whose numbers follow behind it."""
    storage = Persistent(("storage", Global("torch", kind), key, "cpu", count, None))
    arguments = (storage, offset, shape, strides, False, OrderedDict())
    return Call(Global("torch._utils", "_rebuild_tensor_v2"), arguments)


START = (torch_weights.MAGIC_NUMBER, torch_weights.PROTOCOL_VERSION, {"little_endian": True})


def storage(values: NDArray) -> bytes:
    """The numbers of a tensor, behind the pickles."""
    return len(values).to_bytes(8, "little") + values.tobytes()
