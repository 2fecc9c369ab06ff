"""Caffe's Datum, the record of an LMDB: one image with its label or labels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh.data import image_files
from dnnh.errors import UserError

NO_CAFFE = (
    "LMDBs are read with Caffe, which is not here: build it with make, or name a folder of images"
)


def datum(**fields: Any) -> Any:
    """A new Datum with these fields. Loads pycaffe; UserError where there is none."""
    try:
        from caffe.proto import caffe_pb2
    except ImportError as error:
        raise UserError(NO_CAFFE) from error

    messages: Any = caffe_pb2  # its classes are made when it is loaded
    return messages.Datum(**fields)


def parse(record: bytes) -> Any:
    """The Datum of a record; an empty one if it is none, which has no pixels."""
    from google.protobuf.message import DecodeError

    parsed = datum()
    try:
        parsed.ParseFromString(record)
    except DecodeError:
        return datum()
    return parsed


def labels_of(parsed: Any) -> tuple[str, ...]:
    """The labels of a Datum: the numbers of the classes that it has, as text."""
    if parsed.float_data:
        return tuple(str(label) for label, has in enumerate(parsed.float_data) if has)
    return (str(parsed.label),) if parsed.HasField("label") else ()


def pixels(parsed: Any, where: str) -> NDArray[np.uint8]:
    """The image of a Datum, uint8 of shape (height, width, 3).

    Parameters
    ----------
    parsed : Datum, encoded or with planes of red, green and blue, or of grey
    where : str
        What messages call it.

    Raises
    ------
    UserError
        If it has no such image.
    """
    if parsed.encoded:
        return image_files.decode_image(parsed.data, where)
    channels, height, width = parsed.channels, parsed.height, parsed.width
    size = len(parsed.data)
    is_possible = channels in (1, 3) and min(height, width) > 0
    if not is_possible or size != channels * height * width:
        raise UserError(
            f"{where} is not a readable image: {size} bytes for "
            f"{channels} x {height} x {width} values"
        )
    planes = np.frombuffer(parsed.data, np.uint8).reshape(channels, height, width)
    return np.broadcast_to(planes.transpose(1, 2, 0), (height, width, 3))
