"""Encoding by onnxruntime, without Caffe: models that tools/export.py wrote.

Such a model's metadata says what it is. ``dataset``, ``method`` and ``schedule`` are those of the
net (dnnh.nets.specs), ``bits`` is the length of its codes (a net that gives features has none),
``tower`` is empty, ``query`` or ``database``, ``stored_size`` is the side of its data set's images,
``weights`` and ``weights_sha256`` are the name and the SHA-256 of its .caffemodel, and ``digest``
is that of the model itself without it.
"""

import hashlib
import importlib
import math
import os
import pathlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import files, limits, packed_codes
from dnnh.errors import UserError
from dnnh.nets.encoder import BATCH, Encoder
from dnnh.nets.net_info import NetInfo

DIGEST = "digest"  # of the metadata
INPUT, CODES, UNROUNDED, BITS, FEATURES = "images", "codes", "unrounded", "bits", "features"
# Of the input: uint8, as images are stored, or float32 from 0 to 255.
LAYOUTS = NHWC, NCHW = "nhwc", "nchw"
TEXTS = ("dataset", "method", "schedule", "weights_sha256")
TOWERS = ("", "query", "database")
# Those that tools/export.py writes.
OPERATORS = frozenset(
    [
        "Add",
        "AveragePool",
        "Cast",
        "Clip",
        "Concat",
        "Conv",
        "Flatten",
        "Gemm",
        "Greater",
        "Identity",
        "LRN",
        "LeakyRelu",
        "Less",
        "MatMul",
        "Max",
        "MaxPool",
        "Mul",
        "Pad",
        "Pow",
        "Relu",
        "Resize",
        "Sigmoid",
        "Sub",
        "Transpose",
        "Where",
    ]
)
REMEDY = "write one with 'python tools/export.py'"


@dataclass(frozen=True)
class OnnxModel:
    """A checked model file.

    Attributes
    ----------
    path : path of the file
    content : bytes
    info : NetInfo
        ``bits`` is the number of features where it gives features.
    gives_features : bool
    tower : str
        One of TOWERS.
    stored_size, channels : int
        Side and channels of the images that are resized for it.
    image_shape : tuple of int
        Channels, height and width of its input.
    layout : str
        Of its input, one of LAYOUTS.
    """

    path: pathlib.Path
    content: bytes
    info: NetInfo
    gives_features: bool
    tower: str
    stored_size: int
    channels: int
    image_shape: tuple[int, int, int]
    layout: str

    def feed(self, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """What a session takes, from images of shape (n, height, width, channels)."""
        if self.layout == NCHW:
            return {INPUT: images.transpose(0, 3, 1, 2).astype(np.float32)}
        return {INPUT: np.ascontiguousarray(images)}


def package(name: str, needed_by: object = "--runtime onnx") -> Any:
    """The module onnx or onnxruntime.

    Raises
    ------
    UserError
        If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{needed_by} needs the packages of the extra onnx ({error})") from error


def read(path: pathlib.Path) -> OnnxModel:
    """Read and check a model file.

    Raises
    ------
    UserError
        If it is not a model that tools/export.py wrote, or the package onnx is not installed.
    """
    onnx = package("onnx", path)
    content = files.read_regular_file(path, limits.WEIGHTS_BYTES)
    try:
        model = onnx.load_model_from_string(content)
        _check_graph(model)
        _check_digest(model)
        models = (_with_sizes(onnx, model, images) for images in (1, BATCH))
        return _read(path, content, *models)
    except UserError as error:
        raise UserError(f"{path} {error}; {REMEDY}") from error
    except Exception as error:  # protobuf's, of shape inference, of values that are no numbers
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} is not an ONNX model of a net ({reason}); {REMEDY}") from error


def _with_sizes(onnx: Any, model: Any, images: int) -> Any:
    """A model with the sizes of all that it computes of so many images."""
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = images
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def _check_graph(model: Any) -> None:
    """Raise UserError where a model has what those of tools/export.py do not have."""
    graph = model.graph
    nodes = {
        node.op_type if not node.domain else f"{node.domain}.{node.op_type}" for node in graph.node
    }
    others = sorted(nodes - OPERATORS)
    if others or model.functions or graph.sparse_initializer:
        raise UserError(f"has operators that no net here has: {', '.join(others) or 'functions'}")
    if any(tensor.external_data for tensor in _tensors(graph)):
        raise UserError("has weights in another file")


def digest_of(model: Any) -> str:
    """SHA-256 of a model without its digest."""
    copy = type(model)()
    copy.CopyFrom(model)
    del copy.metadata_props[:]
    copy.metadata_props.extend(entry for entry in model.metadata_props if entry.key != DIGEST)
    return hashlib.sha256(copy.SerializeToString(deterministic=True)).hexdigest()


def _check_digest(model: Any) -> None:
    stored = [entry.value for entry in model.metadata_props if entry.key == DIGEST]
    if not stored:
        raise UserError("is not one that tools/export.py wrote: it has no digest")
    if stored != [digest_of(model)]:
        raise UserError("was changed since tools/export.py wrote it")


def _tensors(graph: Any) -> Iterable[Any]:
    yield from graph.initializer
    for node in graph.node:
        yield from (attribute.t for attribute in node.attribute)


def _read(path: pathlib.Path, content: bytes, model: Any, of_batch: Any) -> OnnxModel:
    about = {entry.key: entry.value for entry in model.metadata_props}
    missing = [name for name in (*TEXTS, "tower", "stored_size") if name not in about]
    if missing:
        raise UserError(f"is not one that tools/export.py wrote: it does not say its {missing[0]}")
    if about["tower"] not in TOWERS or not re.fullmatch(r"[0-9a-f]{64}", about["weights_sha256"]):
        raise UserError("has metadata that tools/export.py does not write")
    graph = model.graph
    known, known_of_batch = _known_sizes(graph), _known_sizes(of_batch.graph)
    for name in (name for node in graph.node for name in node.output):
        sizes, sizes_of_batch = known.get(name, [0]), known_of_batch.get(name, [0])
        if 0 in sizes or 0 in sizes_of_batch:
            raise UserError(f"has a value '{name:.40}' of unknown size")
        if math.prod(sizes) > limits.ONNX_VALUES:
            raise UserError(f"computes {math.prod(sizes):,} values of an image in one step")
        if math.prod(sizes_of_batch) > BATCH * math.prod(sizes):
            raise UserError(f"has a value '{name:.40}' that grows faster than the batch")
    outputs = {output.name: _sizes(output) for output in graph.output}
    gives_features = FEATURES in outputs
    wanted = {FEATURES} if gives_features else {CODES, UNROUNDED, BITS}
    inputs = [value for value in graph.input if value.name == INPUT]
    if set(outputs) != wanted or len(graph.input) != 1 or not inputs:
        raise UserError(f"has the outputs {', '.join(outputs) or 'none'}")
    sizes, is_uint8 = _sizes(inputs[0]), inputs[0].type.tensor_type.elem_type == _UINT8
    _, height, width, channels = sizes if is_uint8 else [sizes[i] for i in (0, 2, 3, 1)]
    _, bits = outputs[FEATURES if gives_features else CODES]
    if not gives_features and not 1 <= bits <= packed_codes.MAX_BITS:
        raise UserError(f"has codes of {bits} bits, not of 1 to {packed_codes.MAX_BITS}")
    stored_size = int(about["stored_size"])
    if channels not in (1, 3) or not max(height, width) <= stored_size <= limits.NET_SIDE:
        raise UserError(f"takes images of {height}x{width}x{channels}, resized to {stored_size}")
    info = NetInfo(bits, *(about[name] for name in TEXTS))
    shape = channels, height, width
    return OnnxModel(
        path=path,
        content=content,
        info=info,
        gives_features=gives_features,
        tower=about["tower"],
        stored_size=stored_size,
        channels=channels,
        image_shape=shape,
        layout=NHWC if is_uint8 else NCHW,
    )


def _known_sizes(graph: Any) -> dict[str, list[int]]:
    return {value.name: _sizes(value) for value in (*graph.value_info, *graph.output)}


_UINT8 = 2  # onnx.TensorProto's number of the type


def _sizes(value: Any) -> list[int]:
    """The axes of an input or an output, 0 where any number is."""
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


class OnnxEncoder(Encoder):
    """A net that onnxruntime runs on the CPU, with as many threads as OMP_NUM_THREADS says.

    Parameters
    ----------
    model : OnnxModel

    Raises
    ------
    UserError
        If onnxruntime is not installed, or does not take the model.
    """

    def __init__(self, model: OnnxModel) -> None:
        onnxruntime = package("onnxruntime", model.path)
        options = onnxruntime.SessionOptions()
        threads = os.environ.get("OMP_NUM_THREADS", "")
        options.intra_op_num_threads = int(threads) if threads.isdigit() else 0
        options.log_severity_level = 4  # what goes wrong is raised
        self._model = model
        try:
            self._session = onnxruntime.InferenceSession(model.content, options)
        except Exception as error:  # onnxruntime's have no class in common
            raise self._unusable(error) from error
        self.bits, self.image_shape = model.info.bits, model.image_shape

    def _run(self, images: NDArray[np.uint8], rounded: bool) -> NDArray[np.float32]:
        output = FEATURES if self._model.gives_features else CODES if rounded else UNROUNDED
        try:
            (values,) = self._session.run([output], self._model.feed(images))
        except Exception as error:
            raise self._unusable(error) from error
        values = np.asarray(values)
        if values.shape != (len(images), self.bits) or values.dtype != np.float32:
            raise self._unusable(f"its outputs are {values.dtype} of shape {values.shape}")
        return values

    def _name(self) -> str:
        return str(self._model.path)

    def _unusable(self, reason: object) -> UserError:
        text = " ".join(str(reason).split())[:120]
        return UserError(f"{self._model.path} cannot be run by onnxruntime ({text}); {REMEDY}")
