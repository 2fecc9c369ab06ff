"""Caffe's model files, which hold the weights of a net.

Caffe writes a NetParameter in protobuf's format, ``.caffemodel``, or the same weights as HDF5,
``.caffemodel.h5``; it reads both. Released models are HDF5 with half precision, half the size.
"""

import math
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from dnnh import files, hdf5_files, limits
from dnnh.errors import UserError
from dnnh.nets import pycaffe
from dnnh.nets.towers import Message

HDF5_SUFFIX = ".caffemodel.h5"
VALUES = 1 << 16  # that are copied at once
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read(path: pathlib.Path) -> Message:
    """The NetParameter of a model file; that of an HDF5 file has names and blobs alone.

    Raises
    ------
    UserError
        If it is not a model file.
    """
    from google.protobuf.message import DecodeError

    message = pycaffe.messages().NetParameter()
    try:
        content = files.read_regular_file(path, limits.WEIGHTS_BYTES)
        if not content.startswith(_HDF5_SIGNATURE):
            _check_messages(memoryview(content))
            message.ParseFromString(content)
            return message
    except (DecodeError, UserError) as error:
        raise UserError(f"{path} is not a .caffemodel file ({error})") from error
    with hdf5_files.read_hdf5(path, "is not a model file of Caffe", "take another one") as file:
        blobs = {name: _blobs(name, layer) for name, layer in file["data"].items()}
        declared = sum(blob.nbytes for of_layer in blobs.values() for blob in of_layer)
        if declared > limits.may_expand_to(len(content)):
            raise ValueError(f"it has {len(content):,} bytes and says that it has {declared:,}")
        for name, of_layer in blobs.items():
            add_layer(message, name, (blob[()] for blob in of_layer))
    return message


def _check_messages(content: memoryview) -> None:
    """Raise UserError where a NetParameter has more fields than any net: each takes memory, and an
    empty one two bytes of the file."""
    count, waiting = 0, [(content, "net")]
    while waiting:
        part, what = waiting.pop()
        at = 0
        while at < len(part):
            key, at = _varint(part, at)
            field, kind = key >> 3, key & 7
            size = {1: 8, 5: 4}.get(kind, 0)
            if kind in (0, 2):
                value, at = _varint(part, at)
                size = value if kind == 2 else 0
            elif kind not in (1, 5):
                raise UserError("it is no NetParameter")
            count += 1
            if count > limits.MODEL_FIELDS:
                raise UserError(f"it has more than {limits.MODEL_FIELDS:,} fields")
            if kind == 2 and (inside := _INSIDE.get(what, lambda field: None)(field)):
                waiting.append((part[at : at + size], inside))
            at += size


# What a field of a message has inside, if that is a message. Layers of the old format are in field
# 2; their texts and numbers are in fields 1 to 8 and beyond 1000.
_INSIDE: dict[str, Callable[[int], str | None]] = {
    "net": lambda field: {100: "layer", 2: "old layer"}.get(field),
    "layer": lambda field: "part" if 6 <= field <= 9 or field >= 100 else None,
    "old layer": lambda field: "part" if field == 6 or 9 <= field <= 1000 else None,
    "part": lambda field: "end" if field == 7 else None,  # the shape of a blob
}


def _varint(part: memoryview, at: int) -> tuple[int, int]:
    """A number of protobuf's, and where it ends."""
    value, shift = 0, 0
    while at < len(part) and shift < 70:
        value |= (part[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not part[at - 1] & 0x80:
            break
    return value, at


def _blobs(name: str, layer: Any) -> list[Any]:
    """The data sets of a layer, in order."""
    blobs = [layer[str(i)] for i in range(len(layer))]
    for i, blob in enumerate(blobs):
        if blob.dtype.kind != "f":
            raise ValueError(f"blob {i} of its layer {name!r:.60} has values of type {blob.dtype}")
    return blobs


def write_halved(file: h5py.File, model: Message) -> None:
    """Write a model into an HDF5 file, with weights in half precision.

    Vectors stay as they are: biases, and the statistics of batch normalization, which may exceed
    what half precision can hold.

    Parameters
    ----------
    file : h5py.File
    model : NetParameter

    Raises
    ------
    UserError
        If the model is damaged, or half precision cannot hold a weight.
    """
    largest = float(np.finfo(np.float16).max)
    for layer in model.layer:
        for i, blob in enumerate(layer.blobs):
            values, shape = _float32(blob), tuple(blob.shape.dim)
            if "/" in layer.name or values.size != math.prod(shape):
                raise UserError(
                    f"the layer '{layer.name}' has {values.size} weights for the shape {shape}, or a "
                    "'/' in its name; take another snapshot"
                )
            if not np.isfinite(values).all():
                raise UserError(
                    f"the layer '{layer.name}' has weights that are not finite; take an earlier "
                    "snapshot"
                )
            if len(shape) > 1:
                if np.abs(values).max(initial=0) > largest:
                    raise UserError(
                        f"the layer '{layer.name}' has a weight beyond {largest:.0f}, which half "
                        "precision cannot hold; release the snapshot itself"
                    )
                values = values.astype(np.float16)
            data = values.reshape(shape)
            file.create_dataset(f"data/{layer.name}/{i}", data=data, track_times=False)


def add_layer(model: Message, name: str, blobs: Iterable[NDArray]) -> None:
    """Add a layer and its blobs to the message of a model file."""
    layer = model.layer.add(name=name)
    for blob in blobs:
        stored = layer.blobs.add()
        stored.shape.dim.extend(blob.shape)
        values = blob.ravel()
        for start in range(0, len(values), VALUES):  # numbers of Python take eight times the memory
            stored.data.extend(values[start : start + VALUES].tolist())


def load(net: Any, model: Message, weights: pathlib.Path) -> None:
    """Give a net the weights of a model file's message; each is checked before it is taken.

    Caffe's own reading ends the whole process on a file that it cannot parse and on a
    blob of another shape or size, and says nothing when no layer's name matches.
    """
    for name, blobs in net.params.items():
        expected = [tuple(blob.shape) for blob in blobs]
        stored = [layer.blobs for layer in model.layer if layer.name == name and layer.blobs]
        if len(stored) > 1:
            raise UserError(
                f"{weights} is damaged: it has the layer '{name}' {len(stored)} times; take "
                "another snapshot"
            )
        shapes = [tuple(blob.shape.dim) for blob in stored[0]] if stored else "no weights"
        if shapes != expected:
            raise UserError(
                f"{weights} does not fit the net: its layer '{name}' has {shapes}, the net's has "
                f"{expected}. Is it of another length or method? Try another --bits, --method "
                "or --model"
            )
        counts_iterations = net.layer_dict[name].type in ("PiecewiseThreshold", "SlopeSigmoid")
        for blob, stored_blob in zip(blobs, stored[0]):
            values = _float32(stored_blob)
            if values.size != blob.data.size:
                raise UserError(
                    f"{weights} is damaged: layer '{name}' has {values.size} weights for the "
                    f"shape {tuple(blob.shape)}; take another snapshot"
                )
            if not np.isfinite(values).all():
                raise UserError(
                    f"{weights} has weights that are not finite, in its layer '{name}': its "
                    "training diverged; take an earlier snapshot, and train with a lower learning "
                    "rate"
                )
            if counts_iterations and (values < 0).any():
                raise UserError(
                    f"{weights} is damaged: layer '{name}' has counted {values.min():.0f} iterations"
                )
            blob.data[...] = values.reshape(blob.data.shape)


def values_of(blob: Message) -> NDArray[np.float64]:
    """The values of a BlobProto, a vector."""
    return np.array(blob.double_data or blob.data, np.float64)


def _float32(blob: Message) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):  # values that are too large become infinite
        return values_of(blob).astype(np.float32)
