"""ONNX models: what onnxruntime computes with them is what Caffe does."""

import re

import numpy as np
import onnx
import onnxruntime
import pytest

from dnnh import files, packed_codes
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, onnx_encoder, onnx_export, pretrained, prototxt
from dnnh.nets.specs import net_spec
from random_nets import random_weights

INPUT = "layer { name: 'images' type: 'Input' top: 'images' input_param { shape { dim: [%s] } } }"


def random_model(deploy, path):
    """A net with random weights, saved; centred, so that about half of the bits are 1."""
    net = caffe_encoder.build(caffe_encoder.parse(deploy))
    random_weights(net)
    for blobs in net.params.values():
        if blobs[0].data.shape == (1,):
            blobs[0].data[...] = 4000  # iterations, of layers with a schedule
    net.save(str(path))
    return path


def coarse_images(count, height, width, channels):
    """Noise of 4x4 patches: finer noise is the same everywhere once it is averaged."""
    size = count, -(-height // 4), -(-width // 4), channels
    patches = np.random.default_rng(5).integers(0, 256, size, np.uint8)
    return patches.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]


def compare(deploy, path, count=7, tolerance=5e-6):
    """Both outputs of the exported net, on random images."""
    weights = random_model(deploy, path / "net.caffemodel")
    exported = onnx_export.export(deploy, weights, {"method": "m", "dataset": "d"})
    net = caffe_encoder.CaffeEncoder(deploy, weights)
    channels, height, width = net.image_shape
    images = coarse_images(count, height, width, channels)
    session = onnxruntime.InferenceSession(exported)
    codes, packed, unrounded = session.run(None, {"images": images})
    wanted = net.outputs(images)
    assert wanted.std(axis=0).max() > 100 * tolerance
    assert np.abs(codes - wanted).max() <= tolerance
    assert np.abs(unrounded - net.unrounded_outputs(images)).max() <= tolerance
    assert (packed == packed_codes.pack(codes > 0.5)).all()
    operators = {node.op_type for node in onnx.load_model_from_string(exported).graph.node}
    assert operators <= onnx_encoder.OPERATORS
    return exported


@pytest.mark.parametrize(
    ("dataset", "method", "bits"),
    [
        ("digits", "dnnh", 12),
        ("cifar10", "dnnh", 48),
        ("cifar10", "dnnh_minimal", 12),
        ("cifar10", "dnnh_lai", 12),
        ("cifar10", "dnnh_fc", 12),
        ("cifar10", "dnnh_plus", 32),
        ("cifar10", "dnnh_pretrained", 12),
        ("cifar10", "cnnh_star", 24),
        ("cifar10", "dsrh", 12),
        ("cifar10", "drsch", 12),
        ("nuswide", "dnnh", 12),
    ],
)
def test_nets_of_this_project(dataset, method, bits, tmp_path):
    schedule = "short" if dataset != "digits" and method in ("dnnh", "dnnh_fc") else None
    spec = net_spec(dataset, method, bits, schedule)
    compare(prototxt.as_text(prototxt.deploy_net(spec)), tmp_path, 3, 1e-5)


def test_both_sub_networks(tmp_path):
    spec = net_spec("cifar10", "dnnh_two_towers", 12, "short")
    for tower in spec.config.towers:
        compare(prototxt.as_text(prototxt.deploy_net(spec, tower)), tmp_path, 2, 1e-5)


def with_layers(layers, shape="2, 3, 9, 7"):
    """A net that ends in codes of what `layers` make of the images, in the blob y."""
    layers = layers.replace("'x'", "'pixels'")
    return (
        INPUT % shape + "layer { name: 'p' type: 'Power' bottom: 'images' top: 'pixels'"
        " power_param { scale: 0.01 shift: -1 } }"
        + layers
        + "layer { name: 'full' type: 'InnerProduct' bottom: 'y' top: 'full'"
        " inner_product_param { num_output: 9 weight_filler { type: 'xavier' } } }"
        "layer { name: 'codes' type: 'Sigmoid' bottom: 'full' top: 'codes' }"
    )


def layer(kind, options="", bottom="'x'", top="y"):
    bottoms = " ".join(f"bottom: {name}" for name in bottom.split())
    return f"layer {{ name: '{kind}{top}' type: '{kind}' {bottoms} top: '{top}' {options} }}"


POOLINGS = [
    "kernel_size: 2 stride: 2",
    "kernel_size: 3 stride: 2",
    "kernel_size: 3 stride: 1 pad: 1",
    "kernel_size: 3 stride: 2 pad: 1",
    "kernel_size: 2 stride: 3 round_mode: FLOOR",
    "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0",
    "global_pooling: true",
]


@pytest.mark.parametrize("method", ["MAX", "AVE"])
@pytest.mark.parametrize("options", POOLINGS)
def test_pooling_at_the_edges(method, options, tmp_path):
    pooling = layer("Pooling", f"pooling_param {{ pool: {method} {options} }}")
    for height, width in ((9, 7), (8, 6), (6, 9)):
        compare(with_layers(pooling, f"2, 3, {height}, {width}"), tmp_path)


@pytest.mark.parametrize(
    "layers",
    [
        layer(
            "Convolution",
            "convolution_param { num_output: 6 kernel_size: 3 group: 3 stride: 2 dilation: 2 pad: 2 }",
        ),
        layer(
            "Convolution",
            "convolution_param { num_output: 4 kernel_h: 2 kernel_w: 3 pad_h: 1 stride_w: 2 "
            "stride_h: 1 engine: CAFFE }",
        ),
        layer("ReLU") + layer("Clip", "clip_param { min: -0.5 max: 0.4 }", "'y'", "y"),
        layer("ReLU", "relu_param { negative_slope: 0.2 }"),
        layer("BatchNorm") + layer("Scale", "scale_param { bias_term: true }", "'y'", "y"),
        layer("Scale", "scale_param { axis: 2 num_axes: 2 }"),
        layer("Scale", "scale_param { axis: -1 }"),
        layer("Power", "power_param { power: 2 scale: 0.5 shift: 0.1 }"),
        layer("Power", top="z")
        + layer("Eltwise", "eltwise_param { coeff: 2 coeff: -0.5 }", "'x' 'z'"),
        layer("Power", "power_param { scale: 3 }", top="z")
        + layer("Eltwise", "eltwise_param { operation: MAX }", "'x' 'z'"),
        layer("Sigmoid", top="z")
        + layer("Eltwise", "eltwise_param { operation: PROD }", "'x' 'z'"),
        layer("Sigmoid", top="z")
        + layer("Concat", "", "'x' 'z'")
        + layer("Dropout", "", "'y'", "y"),
        # 189 features in 5 slices: the first four have one more.
        layer("Flatten", top="z")
        + layer(
            "DivideAndEncode",
            "divide_and_encode_param { num_output: 5 bias_term: true }",
            "'z'",
        ),
        layer("Resize", "resize_param { size: 13 }"),
        layer("Resize", "resize_param { size: 4 }"),
        layer("InnerProduct", "inner_product_param { num_output: 5 transpose: true }"),
    ],
)
def test_layers(layers, tmp_path):
    compare(with_layers(layers), tmp_path)


def test_features(tmp_path):
    deploy = prototxt.as_text(pretrained.feature_net("efficientnet_lite0", 65, 32))
    weights = random_model(deploy, tmp_path / "net.caffemodel")
    session = onnxruntime.InferenceSession(onnx_export.export(deploy, weights, {}))
    images = coarse_images(3, 32, 32, 3)
    (features,) = session.run(None, {"images": images})
    wanted = caffe_encoder.CaffeEncoder(deploy, weights).outputs(images)
    assert features.shape == (3, 1280)
    assert np.abs(features - wanted).max() < 1e-3 * wanted.max()


def test_bounds_of_a_clip_are_scalars(tmp_path):
    """As ONNX has them; onnxruntime takes arrays of one, too."""
    clip = layer("Clip", "clip_param { min: -0.5 max: 0.4 }")
    graph = onnx.load_from_string(compare(with_layers(clip), tmp_path)).graph
    (node,) = (node for node in graph.node if node.op_type == "Clip")
    shapes = {constant.name: list(constant.dims) for constant in graph.initializer}
    assert [shapes[name] for name in node.input[1:]] == [[], []]


def test_what_a_model_says_of_itself(tmp_path):
    deploy = prototxt.as_text(prototxt.deploy_net(net_spec("digits", bits=12)))
    model = onnx.load_from_string(compare(deploy, tmp_path))
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "method": "m",
        "dataset": "d",
        "bits": "12",
        "weights_sha256": files.sha256(tmp_path / "net.caffemodel"),
        "digest": onnx_encoder.digest_of(model),
    }


@pytest.mark.parametrize(
    ("deploy", "message"),
    [
        (with_layers(layer("TanH")), "'TanHy' of type TanH has no counterpart in ONNX here"),
        (
            with_layers(layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }")),
            "stochastic",
        ),
        (
            with_layers(layer("Power")) + layer("Power", "", "'pixels'", "z"),
            "this one has codes, z",
        ),
        (
            with_layers(layer("BatchNorm", "batch_norm_param { use_global_stats: false }")),
            "'BatchNormy' normalizes by each batch",
        ),
        (with_layers(layer("Flatten", "flatten_param { axis: 2 }")), "flattens other axes than"),
        (
            with_layers(layer("InnerProduct", "inner_product_param { num_output: 4 axis: 2 }")),
            "flattens other axes than",
        ),
        (
            with_layers(
                layer("Sigmoid", top="z")
                + layer("Concat", "concat_param { concat_dim: 1 }", "'x' 'z'")
            ),
            "'Concaty' has concat_dim",
        ),
        (INPUT % "1, 3, 4, 4" + layer("Power", "", "'images'"), "shape (1, 3, 4, 4), codes have"),
        (with_layers(layer("Power")).replace("num_output: 9", "num_output: 300"), "1 to 255 bits"),
    ],
)
def test_what_cannot_be_exported(deploy, message, tmp_path):
    weights = random_model(deploy, tmp_path / "net.caffemodel")
    with pytest.raises(UserError, match=re.escape(message)):
        onnx_export.export(deploy, weights, {})
