"""Convolutions fused with what follows them: the net's outputs stay."""

import pathlib

import numpy as np
import pytest
from caffe.proto import caffe_pb2
from google.protobuf import text_format

from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, fusion, pretrained, prototxt
from dnnh.nets.specs import net_spec
from random_nets import random_weights

INPUT = "layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: [2, 3, 9, 8] } } }"
NORMALIZED = "layer { name: 'n' type: 'BatchNorm' bottom: 'c' top: 'c' }"
SCALED = "layer { name: 's' type: 'Scale' bottom: 'c' top: 'c' scale_param { bias_term: true } }"
RELU = "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' }"


def convolution(more="", options="kernel_size: 3 pad: 1"):
    return (
        "layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { "
        f"num_output: 6 weight_filler {{ type: 'xavier' }} {options} }} {more} }}"
    )


def pooled(method):
    """A pooling and what follows it, behind a convolution."""
    pooling_param = f"pooling_param {{ pool: {method} kernel_size: 2 stride: 2 }}"
    behind = (NORMALIZED + SCALED + RELU).replace("'c'", "'p'")
    return f"layer {{ name: 'p' type: 'Pooling' bottom: 'c' top: 'p' {pooling_param} }}" + behind


def parse(text):
    return text_format.Parse(text, caffe_pb2.NetParameter())


def fused_types(message, **options):
    """The types of a fused net's layers, once its outputs are seen to be those of the net."""
    net = caffe_encoder.build(message)
    random_weights(net, **options)
    fused = caffe_encoder._fused(message, net, pathlib.Path("net.caffemodel"))
    (name,) = net.inputs or ["x"]
    pixels = np.random.default_rng(4).normal(0, 1, net.blobs[name].data.shape)
    for other in (net, fused):
        other.blobs[name].data[...] = pixels
        other.forward()
    assert fused.outputs == net.outputs
    for output in net.outputs:
        wanted = net.blobs[output].data
        assert wanted.std() > 0
        assert np.abs(fused.blobs[output].data - wanted).max() <= 3e-5 * np.abs(wanted).max()
    return [layer.type for layer in fused.layers if layer.type not in ("Input", "Split")]


@pytest.mark.parametrize(
    ("layers", "types"),
    [
        ([convolution()], ["FusedConvolution"]),
        ([convolution(), NORMALIZED, SCALED, RELU], ["FusedConvolution"]),
        ([convolution(options="kernel_size: 3 bias_term: false"), SCALED], ["FusedConvolution"]),
        (
            [convolution(options="kernel_size: 3 stride: 2 group: 3"), NORMALIZED, RELU],
            ["FusedConvolution"],
        ),
        (
            [
                convolution(),
                "layer { name: 'k' type: 'Clip' bottom: 'c' top: 'k' clip_param { min: 0 max: 1 } }",
            ],
            ["FusedConvolution"],
        ),
        # The sum would be other if the convolution were clipped.
        (
            [convolution(), "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'r' }"]
            + ["layer { name: 'e' type: 'Eltwise' bottom: 'c' bottom: 'r' top: 'e' }"],
            ["FusedConvolution", "ReLU", "Eltwise"],
        ),
        ([convolution(), RELU, NORMALIZED], ["FusedConvolution", "BatchNorm"]),
        (
            [
                convolution(),
                NORMALIZED.replace("}", "batch_norm_param { use_global_stats: false } }"),
            ],
            ["FusedConvolution", "BatchNorm"],
        ),
        # It is not in the net that encodes.
        (
            [convolution(), SCALED.replace("'s'", "'s' include { phase: TRAIN }"), RELU],
            ["FusedConvolution"],
        ),
        (
            [convolution(), RELU.replace("}", "relu_param { negative_slope: 0.1 } }")],
            ["FusedConvolution", "ReLU"],
        ),
        (
            [convolution(), SCALED.replace("bias_term: true", "axis: 2")],
            ["FusedConvolution", "Scale"],
        ),
        (
            [convolution(), SCALED.replace("bias_term: true", "num_axes: 2")],
            ["FusedConvolution", "Scale"],
        ),
        ([convolution(), pooled("MAX")], ["FusedConvolution", "Pooling"]),
        (
            [convolution(), pooled("AVE")],
            ["FusedConvolution", "Pooling", "BatchNorm", "Scale", "ReLU"],
        ),
        ([convolution(options="kernel_size: 3 engine: CAFFE"), RELU], ["Convolution", "ReLU"]),
        ([convolution("param { name: 'shared' }"), RELU], ["Convolution", "ReLU"]),
    ],
)
def test_outputs_stay(layers, types):
    assert fused_types(parse(INPUT + "".join(layers))) == types


def test_negative_scales_behind_a_maximum_are_kept():
    message = parse(INPUT + convolution() + pooled("MAX"))
    types = ["FusedConvolution", "Pooling", "Scale", "ReLU"]
    assert fused_types(message, least_scale=-1.5) == types


@pytest.mark.parametrize("method", ["dnnh", "dnnh_plus", "dnnh_lai", "dsrh", "drsch"])
def test_nets_of_this_project(method):
    schedule = {"dnnh": "short", "dnnh_lai": None}.get(method)
    types = fused_types(prototxt.deploy_net(net_spec("cifar10", method, 12, schedule)))
    assert "Convolution" not in types and "Scale" not in types
    assert types.count("ReLU") == 0


def test_a_pretrained_net():
    types = fused_types(pretrained.feature_net("efficientnet_lite0", 65))
    assert set(types) == {"Power", "Resize", "FusedConvolution", "Eltwise", "Pooling", "Flatten"}


def test_switched_off(monkeypatch, tmp_path):
    """As Caffe's own layers would compute it, layer by layer."""
    message = prototxt.deploy_net(net_spec("digits", bits=12))
    net = caffe_encoder.build(message)
    path = tmp_path / "net.caffemodel"
    net.save(str(path))
    deploy = prototxt.as_text(message)
    kinds = []
    build = caffe_encoder.build
    monkeypatch.setattr(
        caffe_encoder, "build", lambda message: kinds.append(message) or build(message)
    )
    for variable in (None, "DNNH_FUSE", "DNNH_ONEDNN"):
        with monkeypatch.context() as patch:
            if variable:
                patch.setenv(variable, "0")
            kinds.clear()
            caffe_encoder.CaffeEncoder(deploy, path)
            types = {layer.type for layer in kinds[-1].layer}
            assert ("FusedConvolution" in types) == (variable is None)


def test_weights_that_are_not_finite(tmp_path):
    """Clipping would turn them into codes like any other."""
    message = prototxt.deploy_net(net_spec("digits", bits=12))
    net = caffe_encoder.build(message)
    net.params["conv1"][0].data[0] = np.nan
    net.save(str(tmp_path / "nan.caffemodel"))
    with pytest.raises(UserError, match="nan.caffemodel has weights that are not finite.*'conv1'"):
        caffe_encoder.CaffeEncoder(prototxt.as_text(message), tmp_path / "nan.caffemodel")


@pytest.mark.parametrize("damage", ["huge weights", "a negative variance", "a huge scale"])
def test_weights_that_would_overflow(damage, tmp_path):
    """inf - inf, clipped, is a number."""
    message = parse(
        (INPUT + convolution() + NORMALIZED + SCALED).replace("'x'", "'images'")
        + "layer { name: 'f' type: 'Flatten' bottom: 'c' top: 'f' }"
    )
    net = caffe_encoder.build(message)
    random_weights(net)
    name, blob, value = {
        "huge weights": ("c", 0, 3e38),
        "a negative variance": ("n", 1, -1),
        "a huge scale": ("s", 0, -1e30),
    }[damage]
    net.params[name][blob].data.flat[1] = value
    net.save(str(tmp_path / "diverged.caffemodel"))
    with pytest.raises(
        UserError, match=r"diverged.caffemodel: .* 'c', .* up to 1e\+12: its training"
    ):
        caffe_encoder.CaffeEncoder(prototxt.as_text(message), tmp_path / "diverged.caffemodel")


def test_the_net_that_is_given_stays():
    message = parse(INPUT + convolution() + NORMALIZED)
    before = message.SerializeToString()
    net = caffe_encoder.build(message)
    random_weights(net)
    params = {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}
    fusion.fuse(message, params)
    assert message.SerializeToString() == before
    for name, blobs in net.params.items():
        for blob, values in zip(blobs, params[name]):
            assert (blob.data == values).all()


def test_a_field_of_another_layer_is_ignored():
    clip = "clip_param { min: -0.1 max: 0.1 }"
    assert fused_types(parse(INPUT + convolution(clip))) == ["FusedConvolution"]


def test_a_name_in_both_phases():
    in_test = convolution("include { phase: TEST }")
    in_training = convolution("include { phase: TRAIN }", "kernel_size: 3 pad: 1 dilation: 1")
    assert fused_types(parse(INPUT + in_test + in_training + RELU)) == ["FusedConvolution"]
