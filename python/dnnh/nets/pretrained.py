"""Networks that others have trained on ImageNet, as Caffe's nets and model files: images to features.

EfficientNet-Lite0 (dnnh.nets.efficientnet) and networks of Caffe's Model Zoo (dnnh.nets.model_zoo).
"""

import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from dnnh import paths
from dnnh.errors import UserError
from dnnh.nets import code_layers, efficientnet, model_zoo, prototxt, pycaffe, towers
from dnnh.nets.caffe_encoder import CaffeEncoder
from dnnh.nets.net_config import InputConfig
from dnnh.nets.towers import Architecture, Message, Tower, layer

DATASET = "imagenet"  # which they were trained on


@dataclass(frozen=True)
class Network:
    """A pretrained network.

    Attributes
    ----------
    architecture : Architecture
        From pixels to features of shape (n, d, 1, 1).
    features : int
        d.
    size : int
        The input resolution of photographs, in pixels a side, by default.
    size_for : callable
        The input resolution for images of a side.
    check_size : callable
        Raises UserError for a resolution that the network does not take.
    model : callable
        The bytes of a .caffemodel, from a file of weights; the file may be None where the weights
        can be installed.
    pixels : dict
        Fields of InputConfig: what the pixels become before the first layer.
    batch_norm : bool
    """

    architecture: Architecture
    features: int
    size: int
    size_for: Callable[[int], int]
    check_size: Callable[[int], None]
    model: Callable[[pathlib.Path | None], bytes]
    pixels: dict[str, Any]
    batch_norm: bool


def _zoo_model(name: str, path: pathlib.Path | None) -> bytes:
    if path is None:
        raise UserError(
            f"name the file {model_zoo.ZOO[name].file} of Caffe's Model Zoo with --from"
        )
    return model_zoo.model(name, feature_net(name, model_zoo.ZOO[name].size), path)


def _check_zoo_size(name: str, size: int) -> None:
    if size != model_zoo.ZOO[name].size:
        raise UserError(
            f"images of {size} pixels a side: {name} takes {model_zoo.ZOO[name].size} alone"
        )


def _of_zoo(name: str) -> Network:
    net = model_zoo.ZOO[name]
    return Network(
        net.architecture,
        net.features,
        net.size,
        size_for=lambda side: net.size,
        check_size=partial(_check_zoo_size, name),
        model=partial(_zoo_model, name),
        pixels={"pixel_mean": 0, "pixel_scale": 1},
        batch_norm=net.batch_norm,
    )


NETWORKS = {
    "efficientnet_lite0": Network(
        towers.efficientnet_lite0,
        towers.EFFICIENTNET_FEATURES,
        225,
        efficientnet.size_for,
        efficientnet.check_size,
        efficientnet.model,
        towers.EFFICIENTNET_PIXELS,
        batch_norm=True,
    ),
    **{name: _of_zoo(name) for name in model_zoo.ZOO},
}


def schedule_of(size: int) -> str:
    """What an index and an ONNX model have as the schedule of a network that sees this size."""
    return f"{size} pixels"


def size_of(schedule: str) -> int:
    """The size that :func:`schedule_of` wrote.

    Raises
    ------
    UserError
        If it did not.
    """
    size, _, unit = schedule.partition(" ")
    if unit != "pixels" or not (size.isascii() and size.isdigit() and len(size) < 5):
        raise UserError(f"'{schedule:.40}' is not a size, as '225 pixels'")
    return int(size)


def path_of(name: str) -> pathlib.Path:
    """Where a network's model file lies once `tools/get_model.py` has written it."""
    return paths.MODELS / "pretrained" / f"{name}.caffemodel"


def find(name: str) -> pathlib.Path:
    """A network's model file.

    Raises
    ------
    UserError
        If there is none yet.
    """
    path = path_of(name)
    if not path.is_file():
        raise UserError(f"{path} does not exist; run 'python tools/get_model.py {name}'")
    return path


def feature_net(name: str, size: int, images_size: int | None = None) -> Message:
    """The NetParameter from ``images`` (bytes, RGB) to ``features``, (n, d).

    Parameters
    ----------
    name : str
        One of NETWORKS.
    size : int
        Height and width at which the network sees the images.
    images_size : int, optional
        Those of the images, if others.

    Raises
    ------
    UserError
        If the network does not take images of this size.
    """
    network = NETWORKS[name]
    images = feature_input(name, size, images_size)
    tower = Tower("pixels", {}, batch_norm=network.batch_norm)
    network.architecture(tower)
    shape = {"dim": [1, images.channels, images.size, images.size]}
    layers = [
        layer("images", "Input", [], ["images"], input_param={"shape": [shape]}),
        *code_layers.pixels(images),
        *tower.layers,
        layer("features", "Flatten", [tower.top], ["features"]),
    ]
    return pycaffe.messages().NetParameter(name=name, layer=layers)


def feature_input(name: str, size: int, images_size: int | None = None) -> InputConfig:
    """The images that a network takes; arguments and errors as of :func:`feature_net`."""
    network = NETWORKS[name]
    network.check_size(size)
    side = images_size or size
    return InputConfig(3, side, side, **network.pixels, resize=size)


def feature_encoder(
    name: str, size: int, images_size: int | None = None, gpu: int | None = None
) -> CaffeEncoder:
    """The network whose outputs are features; arguments as of :func:`feature_net`.

    Raises
    ------
    UserError
        If there is no model file of it yet, it does not take images of this size, or the GPU cannot
        be used.
    """
    model = find(name)
    return CaffeEncoder(prototxt.as_text(feature_net(name, size, images_size)), model, gpu)
