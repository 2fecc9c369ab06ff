"""Caffe's own Python functions, with the NumPy, scikit-image and Pillow that are installed.

Caffe 1.0 was written for versions of 2017; cmake/patches/pycaffe.patch adapts it to these.
"""

import importlib
import itertools
import sys

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

from dnnh.nets import pycaffe

caffe = pycaffe.load()
caffe_pb2 = pycaffe.messages()

RGB = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
# ITU-R BT.709, which scikit-image uses.
LUMINANCE = (RGB @ np.array([0.2125, 0.7154, 0.0721]) / 255)[:, :, np.newaxis]

INPUTS = 3 * 6 * 6
# Numbers of images below are not multiples of the batch size, 3.
NET = """
layer { name: "data" type: "Input" top: "data"
  input_param { shape { dim: 3 dim: 3 dim: 6 dim: 6 } } }
layer { name: "score" type: "InnerProduct" bottom: "data" top: "score"
  inner_product_param { num_output: 2 } }
"""


@pytest.fixture(scope="module")
def net_files(tmp_path_factory):
    """A net whose two outputs depend on every pixel, and its weights."""
    folder = tmp_path_factory.mktemp("net")
    prototxt, weights = folder / "deploy.prototxt", folder / "net.caffemodel"
    prototxt.write_text(NET)
    net = caffe.Net(str(prototxt), caffe.TEST)
    net.params["score"][0].data[...] = np.random.default_rng(1).normal(size=(2, INPUTS))
    net.params["score"][1].data[...] = 0.5, -0.5
    net.save(str(weights))
    return str(prototxt), str(weights)


def scores(net, images):
    """The net's outputs for images (N x H x W x K), computed with NumPy."""
    weights, bias = (blob.data for blob in net.params["score"])
    return np.transpose(images, (0, 3, 1, 2)).reshape(len(images), -1) @ weights.T + bias


def halved(images):
    """Linear interpolation at half the size: the means of 2 x 2 pixels."""
    *rest, height, width, channels = images.shape
    blocks = images.reshape(*rest, height // 2, 2, width // 2, 2, channels)
    return blocks.mean(axis=(-4, -2))


def random_images(*shape):
    return np.random.default_rng(2).random(shape, dtype=np.float32)


# --- images ------------------------------------------------------------------


def test_load_image_in_color(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "image.png")
    image = caffe.io.load_image(str(tmp_path / "image.png"))
    assert image.dtype == np.float32
    assert np.allclose(image, RGB / 255)


def test_load_image_as_grayscale(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "image.png")
    image = caffe.io.load_image(str(tmp_path / "image.png"), color=False)
    assert image.dtype == np.float32 and image.shape == (6, 5, 1)
    assert np.allclose(image, LUMINANCE)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_load_grayscale_image(tmp_path, dtype):
    largest = np.iinfo(dtype).max
    gray = np.linspace(0, largest, 30).astype(dtype).reshape(6, 5)
    Image.fromarray(gray).save(tmp_path / "image.png")
    image = caffe.io.load_image(str(tmp_path / "image.png"), color=False)
    assert image.shape == (6, 5, 1) and np.allclose(image[:, :, 0], gray / largest)
    image = caffe.io.load_image(str(tmp_path / "image.png"))
    assert image.shape == (6, 5, 3) and np.allclose(image, gray[:, :, np.newaxis] / largest)


def with_palette():
    image = Image.fromarray(np.arange(30, dtype=np.uint8).reshape(6, 5))
    image.putpalette(RGB.tobytes())
    return image


@pytest.mark.parametrize(
    "name, make",
    [
        ("alpha.png", lambda: Image.fromarray(np.dstack([RGB, RGB[:, :, 0]]), "RGBA")),
        ("palette.png", with_palette),
        ("palette.gif", with_palette),
        # Without black, an ink is what the color lacks.
        ("cmyk.tif", lambda: Image.fromarray(np.dstack([255 - RGB, 0 * RGB[:, :, 0]]), "CMYK")),
    ],
)
def test_load_image_of_other_modes(tmp_path, name, make):
    make().save(tmp_path / name)
    image = caffe.io.load_image(str(tmp_path / name))
    assert image.shape == RGB.shape and np.allclose(image, RGB / 255)
    image = caffe.io.load_image(str(tmp_path / name), color=False)
    assert image.shape == (6, 5, 1) and np.allclose(image, LUMINANCE, atol=1e-6)


def test_load_grayscale_image_with_alpha(tmp_path):
    Image.fromarray(RGB[:, :, :2].copy(), "LA").save(tmp_path / "image.png")
    gray = RGB[:, :, :1] / 255
    image = caffe.io.load_image(str(tmp_path / "image.png"))
    assert image.shape == (6, 5, 3) and np.allclose(image, gray)
    image = caffe.io.load_image(str(tmp_path / "image.png"), color=False)
    assert image.shape == (6, 5, 1) and np.allclose(image, gray, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_resize_image_does_not_blur(channels):
    # By default, scikit-image blurs before it downsamples. Caffe 1.0 did not.
    images = random_images(8, 12, channels)
    resized = caffe.io.resize_image(images, (4, 6))
    assert resized.dtype == np.float32
    assert np.allclose(resized, halved(images), atol=1e-6)


def test_resize_mask():
    mask = random_images(8, 8, 1) > 0.5
    assert np.allclose(caffe.io.resize_image(mask, (4, 4)), halved(mask), atol=1e-6)


def test_resize_constant_image():
    resized = caffe.io.resize_image(np.full((5, 4, 3), 7, np.uint8), (2, 3))
    assert resized.shape == (2, 3, 3) and (resized == 7).all()


def test_resize_image_of_other_channels():
    rows = np.tile(np.arange(5.0)[:, np.newaxis, np.newaxis], (1, 4, 2))
    resized = caffe.io.resize_image(rows, (3, 4))
    assert np.allclose(resized, rows[::2])


def test_oversample():
    images = random_images(2, 7, 8, 3)
    crops = caffe.io.oversample(images, (3, 4))
    assert crops.shape == (20, 3, 4, 3)
    corners = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    expected = [image[y : y + 3, x : x + 4] for image in images for y, x in corners]
    # Five crops, then the five mirrored, image by image.
    assert (crops.reshape(2, 2, 5, 3, 4, 3)[:, 0].reshape(10, 3, 4, 3) == expected).all()
    assert (crops[5:10] == crops[:5, :, ::-1]).all()
    assert (crops[15:] == crops[10:15, :, ::-1]).all()


# --- messages ----------------------------------------------------------------


def test_datum_of_bytes():
    array = RGB.transpose(2, 0, 1)  # not contiguous
    datum = caffe.io.array_to_datum(array, label=np.int64(4))
    assert (datum.channels, datum.height, datum.width, datum.label) == (3, 6, 5, 4)
    assert datum.data == bytes(array.flatten())
    back = caffe.io.datum_to_array(datum)
    assert back.dtype == np.uint8 and (back == array).all()
    back += 1  # must be a copy: the array was writable with NumPy's fromstring
    assert datum.data == bytes(array.flatten())


def test_datum_of_floats():
    array = random_images(2, 3, 4)
    datum = caffe.io.array_to_datum(array)
    assert not datum.data and not datum.HasField("label")
    assert (caffe.io.datum_to_array(datum) == array).all()


def test_blobproto():
    data = random_images(2, 3, 4)
    blob = caffe.io.array_to_blobproto(data, diff=-data)
    assert list(blob.shape.dim) == [2, 3, 4]
    assert (caffe.io.blobproto_to_array(blob) == data).all()
    assert (caffe.io.blobproto_to_array(blob, return_diff=True) == -data).all()


def test_blobproto_of_a_mean_file():
    blob = caffe_pb2.BlobProto(num=1, channels=2, height=1, width=3, data=range(6))
    assert (caffe.io.blobproto_to_array(blob) == np.arange(6).reshape(1, 2, 1, 3)).all()


def test_blobprotovector():
    arrays = [random_images(2, 3), random_images(4)]
    serialized = caffe.io.arraylist_to_blobprotovector_str(arrays)
    assert isinstance(serialized, bytes)
    back = caffe.io.blobprotovector_str_to_arraylist(serialized)
    assert len(back) == 2
    assert all((a == b).all() for a, b in zip(arrays, back))


# --- Transformer, Classifier, Detector ---------------------------------------


def test_transformer():
    transformer = caffe.io.Transformer({"data": (1, 3, 6, 6)})
    transformer.set_transpose("data", (2, 0, 1))
    transformer.set_channel_swap("data", (2, 1, 0))
    transformer.set_raw_scale("data", 255)
    transformer.set_mean("data", np.array([10, 20, 30]))
    transformer.set_input_scale("data", 0.5)
    images = random_images(12, 12, 3)
    data = transformer.preprocess("data", images)
    assert data.shape == (3, 6, 6)
    bgr = halved(images)[:, :, ::-1] * 255
    assert np.allclose(data, ((bgr - [10, 20, 30]) * 0.5).transpose(2, 0, 1), atol=1e-4)
    assert np.allclose(transformer.deprocess("data", data), halved(images), atol=1e-6)


def test_transformer_resizes_the_mean():
    transformer = caffe.io.Transformer({"data": (1, 3, 6, 6)})
    mean = 255 * random_images(3, 12, 12)
    transformer.set_mean("data", mean)
    expected = halved(mean.transpose(1, 2, 0)).transpose(2, 0, 1)
    assert np.allclose(transformer.mean["data"], expected, atol=1e-3)


def test_transformer_of_another_input():
    transformer = caffe.io.Transformer({"data": (1, 3, 6, 6)})
    with pytest.raises(Exception, match="label is not one of the net inputs"):
        transformer.set_raw_scale("label", 255)


def test_classifier(net_files):
    options = {"mean": np.array([0.1, 0.2, 0.3]), "channel_swap": (2, 1, 0), "raw_scale": 2}
    net = caffe.Classifier(*net_files, image_dims=(8, 10), **options)
    images = random_images(2, 16, 20, 3)
    smaller = halved(images)

    def expected(crops):
        return scores(net, crops[..., ::-1] * 2 - [0.1, 0.2, 0.3])

    center = net.predict(images, oversample=False)
    assert np.allclose(center, expected(smaller[:, 1:7, 2:8]), atol=1e-4)
    crops = [smaller[:, y : y + 6, x : x + 6] for y, x in [(0, 0), (0, 4), (2, 0), (2, 4), (1, 2)]]
    crops += [crop[:, :, ::-1] for crop in crops]
    mean = np.mean([expected(crop) for crop in crops], axis=0)
    assert np.allclose(net.predict(images), mean, atol=1e-4)


def test_detector(net_files, tmp_path):
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    images = np.random.default_rng(3).integers(0, 256, (2, 14, 15, 3), dtype=np.uint8)
    for path, image in zip(paths, images):
        Image.fromarray(image).save(path)
    windows = [[(0, 0, 6, 6), (8, 9, 14, 15)], [(1, 2, 13, 14), (3, 3, 9, 9)]]
    net = caffe.Detector(*net_files)
    # detect_selective_search passes a zip, which is an iterator in Python 3.
    found = net.detect_windows(zip(paths, windows))
    assert [(row["filename"], row["window"]) for row in found] == [
        (path, window) for path, of_path in zip(paths, windows) for window in of_path
    ]
    a, b = images / 255
    crops = [a[:6, :6], a[8:, 9:], halved(b[1:13, 2:14]), b[3:9, 3:9]]
    assert np.allclose([row["prediction"] for row in found], scores(net, crops), atol=1e-5)


def ramp(rows, columns):
    """An image that linear interpolation reproduces at any position."""
    y, x = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([y, x, x + y], axis=2)


def test_detector_crops_with_context(net_files):
    # One of 6 pixels on each side is context, so the window is enlarged by 6 / 4.
    net = caffe.Detector(*net_files, context_pad=1)
    crop = net.crop(ramp(np.arange(20), np.arange(20)), np.array([4, 6, 8, 10]))
    # 7 pixels, from row 3 and column 5, are resized to 6.
    positions = (np.arange(6) + 0.5) * 7 / 6 - 0.5
    assert np.allclose(crop, ramp(3 + positions, 5 + positions), atol=1e-5)


def test_detector_fills_context_with_the_mean(net_files):
    mean = np.array([51, 102, 153])
    options = {"mean": mean, "raw_scale": 255, "channel_swap": (2, 1, 0)}
    net = caffe.Detector(*net_files, context_pad=1, **options)
    crop = net.crop(ramp(np.arange(20), np.arange(20)), np.array([0, 0, 4, 4]))
    fill = [0.6, 0.4, 0.2]  # the mean as RGB in [0, 1]
    assert np.allclose(crop[0], fill) and np.allclose(crop[:, 0], fill)
    positions = (np.arange(5) + 0.5) * 6 / 5 - 0.5
    assert np.allclose(crop[1:, 1:], ramp(positions, positions), atol=1e-5)


# --- NetSpec, coord_map, draw -------------------------------------------------


def test_net_spec():
    layers, params = caffe.layers, caffe.params
    net = caffe.NetSpec()
    net.data, net.label = layers.DummyData(shape=[{"dim": [2, 1, 8, 8]}, {"dim": 2}], ntop=2)
    net.conv = layers.Convolution(
        net.data, kernel_size=np.int64(3), num_output=4, param=[{"lr_mult": 1}, {"lr_mult": 2}]
    )
    net.relu = layers.ReLU(net.conv, in_place=True)
    net["pool"] = layers.Pooling(net.relu, pool=params.Pooling.AVE, global_pooling=True)
    net.loss = layers.SoftmaxWithLoss(net.pool, net.label)
    expected = """
    layer { name: "data" type: "DummyData" top: "data" top: "label"
      dummy_data_param { shape { dim: 2 dim: 1 dim: 8 dim: 8 } shape { dim: 2 } } }
    layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
      param { lr_mult: 1 } param { lr_mult: 2 }
      convolution_param { num_output: 4 kernel_size: 3 } }
    layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
    layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
      pooling_param { pool: AVE global_pooling: true } }
    layer { name: "loss" type: "SoftmaxWithLoss" bottom: "pool" bottom: "label" top: "loss" }
    """
    assert net.to_proto() == text_format.Parse(expected, caffe_pb2.NetParameter())


def test_to_proto_names_layers():
    data = caffe.layers.Input(shape={"dim": [1, 2]})
    tops = [caffe.layers.ReLU(data), caffe.layers.ReLU(data)]
    net = caffe.to_proto(*tops)
    assert [layer.name for layer in net.layer] == ["Input1", "ReLU1", "ReLU2"]
    assert [list(layer.bottom) for layer in net.layer[1:]] == [["Input1"], ["Input1"]]


def test_coord_map():
    from caffe import coord_map

    layers = caffe.layers
    net = caffe.NetSpec()
    net.data = layers.Input(shape={"dim": [1, 1, 20, 20]})
    net.conv = layers.Convolution(net.data, kernel_size=3, pad=3, num_output=1)
    net.pool = layers.Pooling(net.conv, kernel_size=2, stride=2)
    net.up = layers.Deconvolution(
        net.pool, convolution_param={"kernel_size": 4, "stride": 2, "num_output": 1}
    )
    axis, scale, shift = coord_map.coord_map_from_to(net.up, net.data)
    # Pixel i is at i + 2 after the convolution, and one further after pooling and upsampling.
    assert (axis, scale, shift) == (1, 1, -3)
    net.crop = coord_map.crop(net.up, net.data)
    layer = net.to_proto().layer[-1]
    assert list(layer.bottom) == ["up", "data"]
    assert (layer.crop_param.axis, list(layer.crop_param.offset)) == (2, [3])


def test_draw_without_pydot(monkeypatch):
    for name in ("pydot", "pydotplus"):
        monkeypatch.setitem(sys.modules, name, None)  # makes its import fail
    monkeypatch.delitem(sys.modules, "caffe.draw", raising=False)
    with pytest.raises(ImportError, match="caffe.draw needs pydot.*pip install pydot"):
        importlib.import_module("caffe.draw")


def test_draw(monkeypatch, tmp_path):
    pytest.importorskip("pydot")
    from caffe import draw

    net = text_format.Parse(NET, caffe_pb2.NetParameter())
    graph = draw.get_pydot_graph(net, "TB")
    names = ['"data (Input)"', "data", '"score (InnerProduct)"', "score"]
    assert [node.get_name() for node in graph.get_nodes()] == names
    edges = [(edge.get_source(), edge.get_destination()) for edge in graph.get_edges()]
    assert edges == list(itertools.pairwise(names))
    assert [str(edge.get("label")) for edge in graph.get_edges()] == ['""', '""', "2"]

    # A stand-in for Graphviz prints its format and its input.
    program = tmp_path / "dot"
    program.write_text('#!/bin/sh\necho "$1"\ncat "$2"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    draw.draw_net_to_file(net, str(tmp_path / "net.svg"), "TB")
    assert (tmp_path / "net.svg").read_text() == f"-Tsvg\n{graph.to_string()}"
