"""Networks of Caffe's Model Zoo, as their authors' files of weights expect them.

CaffeNet and AlexNet (Krizhevsky et al., NIPS 2012), VGG-16 (Simonyan and Zisserman, ICLR 2015),
GoogLeNet (Szegedy et al., CVPR 2015) and ResNet-50 (He et al., CVPR 2016), each to its features
before the classifier. The layers have the names of the zoo's own prototxts. What differs: images
are RGB here, so that a converted model has the channels of its first convolution in another order;
the mean color is part of the model; fully connected layers are convolutions.
"""

import pathlib
import tempfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dnnh import files
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, model_files
from dnnh.nets.towers import Architecture, Message, Tower

MEAN = "mean"  # the layer that subtracts the mean color


@dataclass(frozen=True)
class ZooNet:
    """A network of the zoo.

    Attributes
    ----------
    architecture : Architecture
        From pixels, centred, to features of shape (n, d, 1, 1).
    features : int
        d.
    size : int
        Height and width of the images.
    mean : tuple of float
        The mean color that is subtracted: blue, green, red.
    file : str
        What the zoo calls the file of the weights.
    sha1 : str
        Of that file.
    batch_norm : bool
    """

    architecture: Architecture
    features: int
    size: int
    mean: tuple[float, float, float]
    file: str
    sha1: str
    batch_norm: bool = False


def _krizhevsky(tower: Tower, normalizes_pooled: bool) -> None:
    def pool_and_normalize(number: int) -> None:
        if not normalizes_pooled:
            tower.normalize_channels(f"norm{number}")
        tower.pool(f"pool{number}", "MAX", 3, 2)
        if normalizes_pooled:
            tower.normalize_channels(f"norm{number}")

    tower.channel_bias(MEAN)
    tower.convolution("conv1", 96, 11, stride=4)
    pool_and_normalize(1)
    tower.convolution("conv2", 256, 5, pad=2, groups=2)
    pool_and_normalize(2)
    tower.convolution("conv3", 384, 3, pad=1)
    tower.convolution("conv4", 384, 3, pad=1, groups=2)
    tower.convolution("conv5", 256, 3, pad=1, groups=2)
    tower.pool("pool5", "MAX", 3, 2)
    tower.convolution("fc6", 4096, 6)
    tower.convolution("fc7", 4096, 1)


def _caffenet(tower: Tower) -> None:
    _krizhevsky(tower, normalizes_pooled=True)


def _alexnet(tower: Tower) -> None:
    _krizhevsky(tower, normalizes_pooled=False)


def _vgg16(tower: Tower) -> None:
    tower.channel_bias(MEAN)
    for stage, (layers, outputs) in enumerate(
        [(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], start=1
    ):
        for number in range(1, layers + 1):
            tower.convolution(f"conv{stage}_{number}", outputs, 3, pad=1)
        tower.pool(f"pool{stage}", "MAX", 2, 2)
    tower.convolution("fc6", 4096, 7)
    tower.convolution("fc7", 4096, 1)


# Of each inception module: outputs of 1x1; 3x3 and its reduction; 5x5 likewise; the pooled.
_INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def _googlenet(tower: Tower) -> None:
    tower.channel_bias(MEAN)
    tower.convolution("conv1/7x7_s2", 64, 7, pad=3, stride=2)
    tower.pool("pool1/3x3_s2", "MAX", 3, 2)
    tower.normalize_channels("pool1/norm1")
    tower.convolution("conv2/3x3_reduce", 64, 1)
    tower.convolution("conv2/3x3", 192, 3, pad=1)
    tower.normalize_channels("conv2/norm2")
    tower.pool("pool2/3x3_s2", "MAX", 3, 2)
    for name, widths in _INCEPTIONS.items():
        _inception(tower, f"inception_{name}/", *widths)
        if name in ("3b", "4e"):
            tower.pool(f"pool{name[0]}/3x3_s2", "MAX", 3, 2)
    tower.pool("pool5/7x7_s1", "AVE", 7)


def _inception(
    tower: Tower,
    name: str,
    one: int,
    reduce3: int,
    three: int,
    reduce5: int,
    five: int,
    pooled: int,
) -> None:
    start = tower.top
    tower.convolution(f"{name}1x1", one, 1)
    branches = [tower.top]
    for kernel, reduced, outputs in ((3, reduce3, three), (5, reduce5, five)):
        tower.top = start
        tower.convolution(f"{name}{kernel}x{kernel}_reduce", reduced, 1)
        tower.convolution(f"{name}{kernel}x{kernel}", outputs, kernel, pad=kernel // 2)
        branches.append(tower.top)
    tower.top = start
    tower.pool(f"{name}pool", "MAX", 3, 1, pad=1)
    tower.convolution(f"{name}pool_proj", pooled, 1)
    tower.join(f"{name}output", [*branches, tower.top])


def _resnet50(tower: Tower) -> None:
    tower.channel_bias(MEAN)
    tower.convolution("conv1", 64, 7, pad=3, stride=2)
    tower.pool("pool1", "MAX", 3, 2)
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=2):
        for block in range(blocks):
            stride = 2 if stage > 2 and block == 0 else 1
            _bottleneck(tower, f"res{stage}{'abcdef'[block]}", width, stride, block == 0)
    tower.pool("pool5", "AVE", 7)


def _bottleneck(tower: Tower, name: str, width: int, stride: int, is_first: bool) -> None:
    shortcut = start = tower.top
    if is_first:
        tower.convolution(
            f"{name}_branch1", 4 * width, 1, stride=stride, bias=False, activation=None
        )
        shortcut, tower.top = tower.top, start
    tower.convolution(f"{name}_branch2a", width, 1, stride=stride, bias=False)
    tower.convolution(f"{name}_branch2b", width, 3, pad=1, bias=False)
    tower.convolution(f"{name}_branch2c", 4 * width, 1, bias=False, activation=None)
    tower.add(name, shortcut)
    tower.relu(name)


_ILSVRC_2012 = (104.0069879317889, 116.66876761696767, 122.6789143406786)  # Caffe's mean image
ZOO = {
    "caffenet": ZooNet(
        _caffenet,
        4096,
        227,
        _ILSVRC_2012,
        "bvlc_reference_caffenet.caffemodel",
        "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
    ),
    "alexnet": ZooNet(
        _alexnet,
        4096,
        227,
        _ILSVRC_2012,
        "bvlc_alexnet.caffemodel",
        "9116a64c0fbe4459d18f4bb6b56d647b63920377",
    ),
    "vgg16": ZooNet(
        _vgg16,
        4096,
        224,
        (103.939, 116.779, 123.68),
        "VGG_ILSVRC_16_layers.caffemodel",
        "",
    ),
    "googlenet": ZooNet(
        _googlenet,
        1024,
        224,
        (104, 117, 123),
        "bvlc_googlenet.caffemodel",
        "405fc5acd08a3bb12de8ee5e23a96bec22f08204",
    ),
    "resnet50": ZooNet(
        _resnet50,
        2048,
        224,
        (104, 117, 123),  # near the mean image that its authors subtract
        "ResNet-50-model.caffemodel",
        "",
        batch_norm=True,
    ),
}


def model(name: str, net: Message, path: pathlib.Path) -> bytes:
    """The .caffemodel file for a network's net, from the zoo's file of its weights.

    Parameters
    ----------
    name : str
        One of ZOO.
    net : NetParameter
        Of the network, to its features.
    path : path of the zoo's file, in the format of today or of Caffe before 2014

    Raises
    ------
    UserError
        If it is not that file, or lacks weights of the net.
    """
    network = ZOO[name]
    if network.sha1 and (sha1 := files.sha1(path)) != network.sha1:
        raise UserError(
            f"{path} has sha1 {sha1}, not {network.sha1}: it is another file than {network.file}, "
            "or damaged; fetch it again"
        )
    stored = _stored(model_files.read(path), path)
    if MEAN in stored:
        raise UserError(f"{path} was converted already; name the zoo's file, {network.file}")
    built = caffe_encoder.build(net)
    for layer, blobs in built.params.items():
        if layer == MEAN:
            blobs[0].data[...] = -np.array(network.mean[::-1])
            continue
        theirs = stored.get(_zoo_name(layer), [])
        if [values.size for values in theirs] != [blob.data.size for blob in blobs]:
            raise UserError(
                f"{path} is not {network.file}: its layer '{_zoo_name(layer)}' has "
                + (f"{[values.size for values in theirs]} values" if theirs else "no weights")
                + f", not those of the shapes {[tuple(blob.shape) for blob in blobs]}"
            )
        for blob, values in zip(blobs, theirs):
            blob.data[...] = values.reshape(blob.data.shape)
        if blobs[0].data.shape[1:2] == (3,):  # the first: it was trained on blue, green, red
            blobs[0].data[...] = blobs[0].data[:, ::-1].copy()
    with tempfile.TemporaryDirectory() as folder:
        converted = pathlib.Path(folder) / "net.caffemodel"
        built.save(str(converted))
        return converted.read_bytes()


def _stored(model: Message, path: pathlib.Path) -> dict[str, list[NDArray[np.float32]]]:
    """The blobs of a model file's layers, flat. Files of before 2014 call the layers `layers`."""
    stored = {}
    for layer in (*model.layers, *model.layer):
        if not layer.blobs:
            continue
        if layer.name in stored:
            raise UserError(f"{path} is damaged: it has the layer '{layer.name}' twice")
        stored[layer.name] = [
            np.array(blob.double_data or blob.data, np.float32).ravel() for blob in layer.blobs
        ]
    return stored


def _zoo_name(layer: str) -> str:
    """What the zoo calls a layer: ``bn_res2a_branch1`` is ``bn2a_branch1`` there."""
    return layer.replace("_res", "", 1) if layer.startswith(("bn_", "scale_")) else layer
