"""Encoding images with a trained net."""

import os

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2

from dnnh import packed_codes
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, encoder, model_files, prototxt
from dnnh.nets.specs import net_spec
from random_nets import normalized_net

SPEC = net_spec("digits", bits=12)
DEPLOY = prototxt.deploy_text(SPEC)
IMAGES = np.random.default_rng(0).integers(0, 256, (230, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def deploy_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "deploy.prototxt"
    path.write_text(DEPLOY)
    return str(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "net.caffemodel"
    normalized_net(DEPLOY, IMAGES).save(str(path))
    return path


def test_codes_are_the_outputs_above_one_half(weights):
    net = caffe_encoder.CaffeEncoder(DEPLOY, weights)
    outputs = net.outputs(IMAGES)
    assert outputs.shape == (230, 12)
    bits = outputs > 0.5
    assert 0.2 < bits.mean() < 0.8
    assert (net.encode(IMAGES) == packed_codes.pack(bits)).all()


def test_outputs_before_the_threshold(weights):
    """At the start of training it passes everything on."""
    sigmoids = caffe_encoder.CaffeEncoder(DEPLOY, weights).outputs(IMAGES)
    net = caffe_encoder.CaffeEncoder(DEPLOY.replace("epsilon: 0.5", "epsilon: 0.01"), weights)
    assert np.array_equal(net.unrounded_outputs(IMAGES), sigmoids)
    far = np.abs(sigmoids - 0.5) > 0.01
    assert far.mean() > 0.1 and not np.array_equal(net.outputs(IMAGES), sigmoids)
    assert np.array_equal(net.outputs(IMAGES)[far], sigmoids[far] > 0.5)
    in_place = DEPLOY.replace('top: "codes"', 'top: "sigmoid"')
    net = caffe_encoder.CaffeEncoder(in_place.replace("epsilon: 0.5", "epsilon: 0.01"), weights)
    assert np.array_equal(net.unrounded_outputs(IMAGES), sigmoids)
    assert np.array_equal(net.outputs(IMAGES)[far], sigmoids[far] > 0.5)
    other = DEPLOY.replace('top: "codes"', 'top: "values"')
    other += 'layer { name: "codes" type: "Power" bottom: "values" top: "codes" }'
    net = caffe_encoder.CaffeEncoder(other, weights)
    assert np.array_equal(net.unrounded_outputs(IMAGES), net.outputs(IMAGES))


def test_batches_do_not_change_codes(weights, monkeypatch):
    net = caffe_encoder.CaffeEncoder(DEPLOY, weights)
    whole = net.outputs(IMAGES)
    monkeypatch.setattr(encoder, "BATCH", 7)
    assert (net.encode(IMAGES) == packed_codes.pack(whole > 0.5)).all()
    assert np.allclose(net.outputs(IMAGES[3:4])[0], whole[3], atol=1e-6)
    rows = np.arange(5, 200, 3)
    assert (net.encode(IMAGES, rows=rows) == packed_codes.pack(whole[rows] > 0.5)).all()


def test_larger_images_give_their_middle(weights):
    net = caffe_encoder.CaffeEncoder(DEPLOY, weights)
    larger = np.pad(IMAGES[:9], ((0, 0), (2, 2), (1, 1), (0, 0)), mode="edge")
    assert np.allclose(net.outputs(larger), net.outputs(IMAGES[:9]))


def test_images_that_do_not_fit(weights):
    net = caffe_encoder.CaffeEncoder(DEPLOY, weights)
    with pytest.raises(UserError, match="do not fit a net for"):
        net.outputs(np.zeros((1, 32, 32, 3), np.uint8))


def test_weights_of_another_length(weights):
    deploy = prototxt.deploy_text(net_spec("digits", bits=48))
    with pytest.raises(UserError, match="does not fit the net: its layer 'cccp2'.*--bits"):
        caffe_encoder.CaffeEncoder(deploy, weights)


def test_a_diverged_net(weights, deploy_file, tmp_path):
    net = caffe.Net(deploy_file, str(weights), caffe.TEST)
    net.params["encode"][0].data[...] = 3e38 * (-1) ** np.arange(600)  # inf - inf
    net.save(str(tmp_path / "huge.caffemodel"))
    with pytest.raises(UserError, match="huge.caffemodel gives outputs that are not finite"):
        caffe_encoder.CaffeEncoder(DEPLOY, tmp_path / "huge.caffemodel").encode(IMAGES)


def test_a_damaged_model(weights, tmp_path):
    model = caffe_pb2.NetParameter.FromString(weights.read_bytes())
    blobs = next(layer.blobs for layer in model.layer if layer.name == "conv1")
    del blobs[0].data[5:]
    (tmp_path / "cut.caffemodel").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="'conv1' has 5 weights for the shape"):
        caffe_encoder.CaffeEncoder(DEPLOY, tmp_path / "cut.caffemodel")


def test_weights_of_bits(weights, tmp_path):
    """The squares of what the layer that weighs codes multiplies them by."""
    assert caffe_encoder.CaffeEncoder(DEPLOY, weights).bit_weights is None
    model = caffe_pb2.NetParameter.FromString(weights.read_bytes())
    layer = model.layer.add(name="bit_weights")
    layer.blobs.add(data=[-3, *[0.5] * 11]).shape.dim.append(12)
    (tmp_path / "weighted.caffemodel").write_bytes(model.SerializeToString())
    found = caffe_encoder.CaffeEncoder(DEPLOY, tmp_path / "weighted.caffemodel").bit_weights
    assert found.dtype == np.float32 and found.tolist() == [9, *[0.25] * 11]
    for values in ([1] * 11, [1] * 11 + [np.nan], None):
        del layer.blobs[:]
        if values:
            layer.blobs.add(data=values)
        (tmp_path / "weighted.caffemodel").write_bytes(model.SerializeToString())
        with pytest.raises(UserError, match="'bit_weights' has .* for 12 bits; take another"):
            caffe_encoder.CaffeEncoder(DEPLOY, tmp_path / "weighted.caffemodel")


def test_weights_that_are_none(tmp_path):
    (tmp_path / "x.caffemodel").write_bytes(b"\xff nonsense")
    with pytest.raises(UserError, match="x.caffemodel is not a .caffemodel file"):
        caffe_encoder.CaffeEncoder(DEPLOY, tmp_path / "x.caffemodel")


def test_quiet_stays_inside(weights):
    caffe_encoder.CaffeEncoder(DEPLOY, weights)
    assert "GLOG_minloglevel" not in os.environ


def twice(model):
    """A layer of the net's once more, behind one that does not fit."""
    wrong = caffe_pb2.LayerParameter(name="conv1")
    wrong.blobs.add(data=[1]).shape.dim.append(1)
    model.layer.insert(0, wrong)


def without_weights(model):
    """A layer that has none in the net."""
    model.layer.add(name="sigmoid").blobs.add(data=[1]).shape.dim.append(1)


def short_gradients(model):
    next(layer for layer in model.layer if layer.blobs).blobs[0].diff.append(1)


def both_precisions(model):
    blob = next(layer for layer in model.layer if layer.blobs).blobs[0]
    blob.double_data.append(blob.data.pop())


def of_an_older_format(model):
    model.layers.add(name="conv1").blobs.add(data=[1]).num = 1


@pytest.mark.parametrize(
    "change, message",
    [
        (twice, "damaged: it has the layer 'conv1' 2 times"),
        (both_precisions, "'conv1' has 1 weights for the shape"),
        (without_weights, None),
        (short_gradients, None),
        (of_an_older_format, None),
    ],
)
def test_what_caffe_would_end_the_process_on(weights, tmp_path, change, message):
    model = caffe_pb2.NetParameter.FromString(weights.read_bytes())
    change(model)
    hostile = tmp_path / "hostile.caffemodel"
    hostile.write_bytes(model.SerializeToString())
    if message:
        with pytest.raises(UserError, match=message):
            caffe_encoder.CaffeEncoder(DEPLOY, hostile)
    else:
        wanted = caffe_encoder.CaffeEncoder(DEPLOY, weights).outputs(IMAGES)
        assert (caffe_encoder.CaffeEncoder(DEPLOY, hostile).outputs(IMAGES) == wanted).all()


def test_weights_are_taken_as_caffe_takes_them(weights, deploy_file):
    net = caffe.Net(deploy_file, str(weights), caffe.TEST)
    net.blobs["images"].reshape(len(IMAGES), 1, 8, 8)
    net.blobs["images"].data[...] = IMAGES.transpose(0, 3, 1, 2)
    wanted = net.forward()["codes"]
    ours = caffe_encoder.CaffeEncoder(DEPLOY, weights, fuse=False)
    assert np.array_equal(ours.outputs(IMAGES), wanted)


def test_a_deploy_prototxt_that_cannot_be_parsed(weights):
    with pytest.raises(UserError, match="the deploy prototxt cannot be parsed"):
        caffe_encoder.CaffeEncoder("layer {", weights)


def test_inputs_as_caffe_once_had_them(weights):
    start = DEPLOY.index("layer {")
    end = DEPLOY.index("layer {", start + 1)
    shape = "input_shape { dim: 1 dim: 1 dim: 8 dim: 8 }"
    old = f"{DEPLOY[:start]}input: 'images' {shape}\n{DEPLOY[end:]}"
    wanted = caffe_encoder.CaffeEncoder(DEPLOY, weights).outputs(IMAGES)
    assert np.array_equal(caffe_encoder.CaffeEncoder(old, weights).outputs(IMAGES), wanted)
    for text, message in (
        (old.replace(shape, ""), "has inputs without a shape; mend it"),
        (old.replace("'images'", "'data'").replace('"images"', '"data"'), "has no input 'images'"),
    ):
        with pytest.raises(UserError, match=message):
            caffe_encoder.CaffeEncoder(text, weights)


def test_iterations_that_cannot_be(weights, tmp_path):
    model = model_files.read(weights)
    (threshold,) = [layer for layer in model.layer if layer.name == "codes"]
    threshold.blobs[0].data[0] = -1
    (tmp_path / "net.caffemodel").write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="damaged: layer 'codes' has counted -1 iterations"):
        caffe_encoder.CaffeEncoder(DEPLOY, tmp_path / "net.caffemodel")
