"""Networks of Caffe's Model Zoo, with random weights: the zoo's own files cannot be had here."""

import importlib
import re
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from caffe.proto import caffe_pb2

import built
from dnnh import paths
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, model_files, model_zoo, onnx_export, pretrained, prototxt
from dnnh.nets.model_zoo import ZOO

# Caffe's own prototxts, and the blob of the features.
PROTOTXTS = {
    "caffenet": ("bvlc_reference_caffenet", "fc7"),
    "alexnet": ("bvlc_alexnet", "fc7"),
    "googlenet": ("bvlc_googlenet", "pool5/7x7_s1"),
}
# Weights and biases up to the features: those of the published networks less their classifiers.
VALUES = {
    "vgg16": 138_357_544 - 4096 * 1000 - 1000,
    # Convolutions, first bias, and of each of 26,560 channels a mean, variance, scale and shift.
    "resnet50": 25_557_032 - 2048 * 1000 - 1000 + 64 + 2 * 26_560,
}


def feature_net(name):
    return pretrained.feature_net(name, ZOO[name].size)


def zoo_file(layers, path, old=False):
    """A model file of the layers' blobs, in the format of today or of before 2014."""
    message = caffe_pb2.NetParameter()
    for name, blobs in layers.items():
        layer = message.layers.add(name=name) if old else message.layer.add(name=name)
        for values in blobs:
            blob = layer.blobs.add(data=values.ravel().tolist())
            if old:
                shape = (1,) * (4 - values.ndim) + values.shape
                blob.num, blob.channels, blob.height, blob.width = shape
            else:
                blob.shape.dim.extend(values.shape)
    path.write_bytes(message.SerializeToString())
    return path


def random_blobs(net):
    """Weights that neither vanish nor grow from layer to layer, by layer."""
    random = np.random.default_rng(1)
    return {
        name: [
            np.sqrt(2 / max(blob.data[0].size, 1)).astype("f4")
            * random.standard_normal(blob.data.shape, np.float32)
            for blob in blobs
        ]
        for name, blobs in net.params.items()
    }


@pytest.fixture
def any_sha1(monkeypatch):
    nets = {name: replace(net, sha1="") for name, net in ZOO.items()}
    monkeypatch.setattr(model_zoo, "ZOO", nets)


@pytest.mark.parametrize("name", PROTOTXTS)
def test_features_are_those_of_caffes_own_prototxt(name, any_sha1, tmp_path, monkeypatch):
    """BGR images less the mean color there, RGB images here. One file has the old format."""
    folder, blob = PROTOTXTS[name]
    text = (built.caffe_source() / "models" / folder / "deploy.prototxt").read_text()
    theirs = caffe_encoder.build(caffe_encoder.parse(text))
    weights = random_blobs(theirs)
    for layer, blobs in weights.items():
        for stored, values in zip(theirs.params[layer], blobs):
            stored.data[...] = values
    path = tmp_path / "zoo.caffemodel"
    if name == "googlenet":
        zoo_file(weights, path, old=True)
    else:
        theirs.save(str(path))
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    pretrained.path_of(name).parent.mkdir()
    pretrained.path_of(name).write_bytes(pretrained.NETWORKS[name].model(path))

    size = ZOO[name].size
    images = np.random.default_rng(2).integers(0, 256, (2, size, size, 3), np.uint8)
    network = pretrained.feature_encoder(name, size)
    found = network.outputs(images)
    theirs.blobs["data"].reshape(2, 3, size, size)
    theirs.blobs["data"].data[...] = (images[..., ::-1] - np.array(ZOO[name].mean)).transpose(
        0, 3, 1, 2
    )
    theirs.forward()
    wanted = theirs.blobs[blob].data.reshape(2, -1)
    assert found.shape == wanted.shape == (2, pretrained.NETWORKS[name].features)
    assert wanted.std() > 0.1 and np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()

    if name == "googlenet":
        deploy = prototxt.as_text(feature_net(name))
        exported = onnx_export.export(deploy, pretrained.path_of(name), {})
        (features,) = onnxruntime.InferenceSession(exported).run(None, {"images": images})
        assert np.abs(features - wanted).max() < 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize("name", VALUES)
def test_sizes_of_published_networks(name):
    net = caffe_encoder.build(feature_net(name))
    counts = {
        layer: sum(blob.data.size for blob in blobs)
        for layer, blobs in net.params.items()
        if layer != model_zoo.MEAN
    }
    batches = sum(layer.startswith("bn") for layer in counts)  # each counts its batches
    assert sum(counts.values()) - batches == VALUES[name]
    assert net.blobs["features"].data.shape == (1, pretrained.NETWORKS[name].features)


def test_names_of_resnets_normalizations(any_sha1, tmp_path):
    """As its authors call them: bn2a_branch1 and scale2a_branch1 for bn_res2a_branch1."""
    net = caffe_encoder.build(feature_net("resnet50"))
    weights = random_blobs(net)
    del weights[model_zoo.MEAN]
    theirs = {re.sub("^(bn|scale)_res", r"\1", name): blobs for name, blobs in weights.items()}
    assert {"bn_conv1", "scale5c_branch2c", "res3a_branch1"} <= set(theirs)
    path = zoo_file(theirs, tmp_path / "resnet.caffemodel")
    converted = tmp_path / "converted.caffemodel"
    converted.write_bytes(pretrained.NETWORKS["resnet50"].model(path))
    model_files.load(net, model_files.read(converted), converted)
    for name, blobs in weights.items():
        for stored, values in zip(net.params[name], blobs):
            assert (stored.data == (values[:, ::-1] if values.shape[1:2] == (3,) else values)).all()
    assert net.params[model_zoo.MEAN][0].data.tolist() == [-123, -117, -104]
    with pytest.raises(UserError, match="converted already; name the zoo's file, ResNet-50-model"):
        pretrained.NETWORKS["resnet50"].model(converted)


def test_files_of_something_else(tmp_path, monkeypatch, capsys):
    net = caffe_encoder.build(feature_net("caffenet"))
    weights = {name: [blob.data for blob in blobs] for name, blobs in net.params.items()}
    path = zoo_file({"conv1": weights["conv1"]}, tmp_path / "a.caffemodel")
    with pytest.raises(UserError, match="a.caffemodel has sha1 .*, not 4c8d77.* fetch it again"):
        pretrained.NETWORKS["caffenet"].model(path)
    with pytest.raises(UserError, match="not VGG_ILSVRC_16_layers.* 'conv1_1' has no weights"):
        pretrained.NETWORKS["vgg16"].model(path)
    path = zoo_file({"conv1_1": weights["conv1"]}, path)
    with pytest.raises(UserError, match=r"'conv1_1' has \[34848, 96\] values, not those"):
        pretrained.NETWORKS["vgg16"].model(path)
    message = caffe_pb2.NetParameter.FromString(path.read_bytes())
    message.layer.append(message.layer[0])
    path.write_bytes(message.SerializeToString())
    with pytest.raises(
        UserError, match="a.caffemodel is damaged: it has the layer 'conv1_1' twice"
    ):
        pretrained.NETWORKS["vgg16"].model(path)
    path.write_bytes(b"\xff nothing")
    with pytest.raises(UserError, match="a.caffemodel is not a .caffemodel file"):
        pretrained.NETWORKS["vgg16"].model(path)
    with pytest.raises(UserError, match="name the file bvlc_alexnet.caffemodel .* with --from"):
        pretrained.NETWORKS["alexnet"].model(None)
    with pytest.raises(UserError, match="of 225 pixels a side: alexnet takes 227 alone"):
        pretrained.feature_net("alexnet", 225)
    command = importlib.import_module("get_model")
    monkeypatch.setattr(paths, "MODELS", tmp_path)
    monkeypatch.setattr("sys.argv", ["get_model.py", "resnet50", "--from", str(path)])
    with pytest.raises(UserError, match="a.caffemodel is not a .caffemodel file"):
        command.main()
    assert not pretrained.path_of("resnet50").exists()
    words = ["get_model.py", "resnet50", "--from", str(pretrained.path_of("resnet50"))]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(UserError, match="would be written over what is read"):
        command.main()
