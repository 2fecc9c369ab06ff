"""What runs a trained net: Caffe with its .caffemodel, or onnxruntime with a model that
tools/export.py wrote of it.

The codes of both can be compared: a bit may differ where its relaxed code is within rounding of 0.5.
"""

import importlib.util
import pathlib
from dataclasses import dataclass
from typing import Literal

from dnnh import files, paths
from dnnh.data.sources import InputSize
from dnnh.errors import UserError
from dnnh.nets import onnx_encoder, pretrained, prototxt, specs, weights
from dnnh.nets.caffe_encoder import CaffeEncoder
from dnnh.nets.encoder import Encoder
from dnnh.nets.net_info import NetInfo
from dnnh.nets.onnx_encoder import OnnxEncoder, OnnxModel
from dnnh.nets.specs import NetSpec
from dnnh.nets.weights import Weights

RUNTIMES = ("caffe", "onnx")
SUFFIX = ".onnx"
NAME_THEM = "name those with --model"
Side = Literal["query", "database"]


@dataclass(frozen=True)
class RunningNet:
    """A net that encodes images.

    Attributes
    ----------
    info : NetInfo
        Of a net that gives features, ``bits`` is their number.
    input : InputSize
        The images that are resized for it.
    encoder : Encoder
    path : path of the weights, or of the ONNX model
    description : str
        Of these, in words.
    gives_features : bool
    """

    info: NetInfo
    input: InputSize
    encoder: Encoder
    path: pathlib.Path
    description: str
    gives_features: bool = False


def choose(runtime: str | None, model: pathlib.Path | None) -> str:
    """One of RUNTIMES: as asked for, as the model's file needs, or Caffe where it is built.

    Raises
    ------
    UserError
        If the runtime does not take the model.
    """
    of_model = None
    if model is not None:
        of_model = "onnx" if model.suffix.lower() == SUFFIX else "caffe"
    if runtime and of_model and runtime != of_model:
        raise UserError(
            f"--runtime {runtime} does not take {model}: caffe takes a .caffemodel file, onnx a "
            f"{SUFFIX} file"
        )
    built = "caffe" if importlib.util.find_spec("caffe") else "onnx"
    return runtime or of_model or built


def by_caffe(spec: NetSpec, model: Weights, side: Side, gpu: int | None = None) -> RunningNet:
    """A net of this project, run by Caffe.

    Raises
    ------
    UserError
        If the weights are not those of the net, or the GPU cannot be used.
    """
    spec = model.net(spec)
    # The first sub-network encodes queries, the last the database (section 4.4).
    tower = spec.config.towers[0 if side == "query" else -1]
    encoder = CaffeEncoder(prototxt.deploy_text(spec, tower), model.path, gpu)
    sha256 = files.sha256(model.path)
    info = NetInfo(spec.bits, spec.dataset, spec.method, spec.schedule, sha256)
    return RunningNet(info, spec.config.input, encoder, model.path, model.description)


def features_by_caffe(name: str, size: int, gpu: int | None = None) -> RunningNet:
    """A pretrained network that gives features, run by Caffe.

    Raises
    ------
    UserError
        If it is not here, does not take images of this size, or the GPU cannot be used.
    """
    net_input = pretrained.feature_input(name, size)  # raises where it does not take the size
    encoder = pretrained.feature_encoder(name, size, gpu=gpu)
    model = pretrained.path_of(name)
    info = NetInfo(
        encoder.bits, pretrained.DATASET, name, pretrained.schedule_of(size), files.sha256(model)
    )
    return RunningNet(info, net_input, encoder, model, f"{name} at {size} pixels", True)


def by_onnx(model: OnnxModel) -> RunningNet:
    """A net run by onnxruntime.

    Raises
    ------
    UserError
        If onnxruntime is not installed, or does not take the model.
    """
    info = model.info
    of = f"{info.method} of {info.dataset}"
    what = f"features of {of}" if model.gives_features else f"{info.bits} bits of {of}"
    description = f"{model.path}, {what}"
    encoder = OnnxEncoder(model)
    return RunningNet(info, model, encoder, model.path, description, model.gives_features)


def exported_path(name: str, side: str = "") -> pathlib.Path:
    """Where tools/export.py writes a net, by its name, and of one with two sub-networks which."""
    stem = f"{name}_{side}" if side else name
    return paths.SNAPSHOTS / f"{stem}{SUFFIX}"


def read_exported(spec: NetSpec, side: Side) -> OnnxModel:
    """The ONNX model of a net, where tools/export.py writes it.

    Raises
    ------
    UserError
        If there is none.
    """
    has_two = len(spec.config.towers) > 1
    path = exported_path(spec.name, side if has_two else "")
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; name a {SUFFIX} file with --model, or write this one with "
            f"'{weights.export_command(spec)}'"
        )
    model = onnx_encoder.read(path)
    present = weights.all_weights(spec)
    if present and files.sha256(present[0].path) != model.info.weights:
        raise UserError(
            f"{path} was exported from other weights than {present[0].description}; write it again "
            f"with '{weights.export_command(spec)}', or name it with --model"
        )
    return model


def of_index(
    info: NetInfo,
    runtime: str | None = None,
    model: pathlib.Path | None = None,
    gpu: int | None = None,
    side: Side = "query",
) -> RunningNet:
    """The net of an index.

    Parameters
    ----------
    info : NetInfo
        The net that encoded the index.
    runtime : str, optional
        One of RUNTIMES.
    model : path, optional
        Its weights or ONNX model; by default those in snapshots/ and models/ that the index was
        encoded with.
    gpu : int, optional
        The GPU to compute on; the CPU by default.
    side : str
        What it encodes.

    Raises
    ------
    UserError
        If there are no weights, or not those that the index was encoded with; or if the GPU
        cannot be used.
    """
    if choose(runtime, model) == "onnx":
        if gpu is not None:
            raise UserError("--gpu is for Caffe; leave it out with --runtime onnx")
        return by_onnx(_exported_of(info, model, side))
    if info.dataset == pretrained.DATASET:
        return _features_of(info, model, gpu)
    return by_caffe(*weights_of(info, model), side, gpu)


def weights_of(info: NetInfo, model: pathlib.Path | None = None) -> tuple[NetSpec, Weights]:
    """The net of an index, and its weights for Caffe; arguments and errors as of :func:`of_index`."""
    spec = specs.net_spec(info.dataset, info.method, info.bits, info.schedule)
    candidates = weights.all_weights(spec) if model is None else [weights.find_weights(spec, model)]
    for candidate in candidates:
        if files.sha256(candidate.path) == info.weights:
            return spec, candidate
    of_net = f"{spec.method} of {spec.dataset} at {spec.bits} bits"
    raise _other_weights(info, f"any of {of_net} here" if model is None else str(model), NAME_THEM)


def _features_of(info: NetInfo, model: pathlib.Path | None, gpu: int | None) -> RunningNet:
    if model is not None:
        raise UserError(f"the index has hashed features of {info.method}; leave out --model")
    if info.method not in pretrained.NETWORKS:
        raise UserError(f"the index has features of '{info.method}', unknown here")
    net = features_by_caffe(info.method, pretrained.size_of(info.schedule), gpu)
    if net.info.weights != info.weights:
        raise _other_weights(
            info, str(net.path), f"get them with 'python tools/get_model.py {info.method}'"
        )
    return net


def _exported_of(info: NetInfo, model: pathlib.Path | None, side: Side) -> OnnxModel:
    if model is not None:
        candidates = [model]
    else:
        folders = paths.SNAPSHOTS, paths.MODELS
        candidates = [path for folder in folders for path in sorted(folder.glob(f"*{SUFFIX}"))]
    onnx_encoder.package("onnx")
    for path in candidates:
        try:
            found = onnx_encoder.read(path)
        except UserError:
            if model is not None:
                raise
            continue
        is_of_net = found.gives_features or found.info.bits == info.bits
        texts = found.info.dataset, found.info.method, found.info.weights
        wanted = info.dataset, info.method, info.weights
        # That of features has their input resolution.
        same_size = not found.gives_features or found.info.schedule == info.schedule
        if is_of_net and same_size and texts == wanted and found.tower in ("", side):
            return found
    of_files = "any *.onnx in snapshots/ and models/" if model is None else str(model)
    raise _other_weights(info, of_files, NAME_THEM)


def _other_weights(info: NetInfo, others: str, remedy: str) -> UserError:
    return UserError(
        f"the index was encoded with other weights than {others}; {remedy} (SHA-256 "
        f"{info.weights[:12]}...), or encode the images again"
    )
