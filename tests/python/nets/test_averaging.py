"""Averaged weights, and the statistics that belong to them."""

import dataclasses
import os

import caffe
import numpy as np
import pytest
from caffe.proto import caffe_pb2

from dnnh.data import datasets
from dnnh.errors import UserError
from dnnh.nets import averaging, caffe_encoder, initial_weights, model_files, prototxt, weights
from dnnh.nets.specs import net_spec

SPEC = net_spec("digits", "dnnh", 12)
IMAGES = datasets.load("digits").images[:600]


@pytest.fixture
def snapshots(tmp_path):
    """Two random nets, whose statistics, and counts of iterations, are made up."""
    paths = [tmp_path / "net_iter_1.caffemodel", tmp_path / "net_iter_2.caffemodel"]
    for i, path in enumerate(paths):
        caffe.set_random_seed(i + 1)
        net = caffe_encoder.build(prototxt.deploy_net(SPEC))
        for name, blobs in net.params.items():
            if name.startswith("bn_") or name == "normalize":
                for blob in blobs:
                    blob.data[...] = 7
        net.params["codes"][0].data[...] = i + 1
        net.save(str(path))
    return paths


def blobs_of(serialized):
    model = caffe_pb2.NetParameter.FromString(serialized)
    return {
        layer.name: [np.array(blob.data).reshape(tuple(blob.shape.dim)) for blob in layer.blobs]
        for layer in model.layer
    }


def test_weights_are_means_and_counts_the_last(snapshots):
    first, second = (blobs_of(path.read_bytes()) for path in snapshots)
    mean = blobs_of(averaging.averaged(SPEC, snapshots, IMAGES))
    assert set(mean) == set(second)
    for name in ("conv1", "scale_conv1", "encode"):
        for a, b, found in zip(first[name], second[name], mean[name], strict=True):
            np.testing.assert_allclose(found, (a + b) / 2, rtol=1e-6)
    assert np.any(first["conv1"][0] != second["conv1"][0])
    assert mean["codes"][0].tolist() == [2]


def test_statistics_are_those_of_the_images(snapshots, monkeypatch):
    """In one batch: mean and variance of what each layer's convolution gives."""
    monkeypatch.setattr(averaging, "BATCH", len(IMAGES))
    model = averaging.averaged(SPEC, snapshots[-1:], IMAGES)
    mean, variance, count = blobs_of(model)["bn_conv1"]
    assert count.tolist() == [1]
    net = caffe_encoder.build(prototxt.deploy_net(SPEC))
    model_files.load(net, model_files.read(snapshots[-1]), snapshots[-1])
    net.blobs["images"].reshape(len(IMAGES), 1, 8, 8)
    net.blobs["images"].data[...] = IMAGES.transpose(0, 3, 1, 2)
    # The layer works in place: its inputs are those of the next convolution's name before it.
    net.forward(end="conv1")
    values = net.blobs["conv1"].data.transpose(1, 0, 2, 3).reshape(32, -1)
    np.testing.assert_allclose(mean, values.mean(axis=1), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(variance, values.var(axis=1, ddof=1), rtol=1e-3)


def test_images_then_have_centred_bits(snapshots, tmp_path):
    """All batches count: before, made-up statistics gave all images the same bits."""
    model = averaging.averaged(SPEC, snapshots, IMAGES)
    assert blobs_of(model)["bn_conv1"][2].tolist() == [2]  # batches
    (tmp_path / "new.caffemodel").write_bytes(model)
    deploy = prototxt.deploy_text(SPEC)
    old = caffe_encoder.CaffeEncoder(deploy, snapshots[-1]).outputs(IMAGES)
    new = caffe_encoder.CaffeEncoder(deploy, tmp_path / "new.caffemodel").outputs(IMAGES)
    assert (old > 0.5).mean(axis=0).max() < 0.05 or (old > 0.5).mean(axis=0).min() > 0.95
    assert (new > 0.5).mean(axis=0).min() > 0.3 and (new > 0.5).mean(axis=0).max() < 0.7


def test_layers_that_only_a_training_has(tmp_path):
    """Bit weights and classifiers are no part of the net that encodes."""
    models = []
    for path, value in ((tmp_path / "a.caffemodel", 1.0), (tmp_path / "b.caffemodel", 4.0)):
        net = caffe_encoder.build(prototxt.deploy_net(SPEC))
        net.save(str(path))
        model = caffe_pb2.NetParameter.FromString(path.read_bytes())
        weights_of_bits = model.layer.add(name="bit_weights", type="Scale").blobs.add()
        weights_of_bits.shape.dim.append(12)
        weights_of_bits.data.extend([value] * 12)
        path.write_bytes(model.SerializeToString())
        models.append(path)
    averaged = blobs_of(averaging.averaged(SPEC, models, IMAGES))
    assert averaged["bit_weights"][0].tolist() == [2.5] * 12
    del model.layer[-1].blobs[:]
    models[0].write_bytes(model.SerializeToString())
    with pytest.raises(
        UserError, match="a.caffemodel and the others differ in layer 'bit_weights'"
    ):
        averaging.averaged(SPEC, models, IMAGES)


def test_all_lengths_of_a_training(tmp_path):
    """Heads that are trained together are averaged together."""
    spec = net_spec("cifar10", "dnnh_plus", 24)
    names = {layer.name for layer in prototxt.statistics_net(spec).layer}
    assert {f"{bits}bit_normalize" for bits in (12, 24, 32, 48)} <= names


def test_both_sub_networks_are_averaged(tmp_path):
    """Each of them with statistics of its own; with the same weights they encode alike."""
    spec = net_spec("cifar10", "dnnh_two_towers", 12, "short")
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    models = [tmp_path / f"{seed}.caffemodel" for seed in (1, 2)]
    for seed, model in zip((1, 2), models):
        model.write_bytes(initial_weights.shared(dataclasses.replace(spec, train_seed=seed)))
    averaged = tmp_path / "averaged.caffemodel"
    averaged.write_bytes(averaging.averaged(spec, models, images))
    outputs = []
    for tower in spec.config.towers:
        net = caffe_encoder.CaffeEncoder(prototxt.deploy_text(spec, tower), averaged)
        outputs.append(net.unrounded_outputs(images))
    assert np.array_equal(*outputs)
    assert 0.3 < outputs[0].mean() < 0.7 and outputs[0].std(axis=0).min() > 0.05
    blobs = blobs_of(averaged.read_bytes())
    of_models = [blobs_of(model.read_bytes()) for model in models]
    for tower in spec.config.towers:
        name = f"{tower}conv1"
        mean = (of_models[0][name][0] + of_models[1][name][0]) / 2
        np.testing.assert_allclose(blobs[name][0], mean, rtol=1e-5)
        assert np.any(of_models[0][name][0] != of_models[1][name][0])


def test_snapshots_that_are_none(snapshots, tmp_path):
    with pytest.raises(UserError, match="no snapshots to be averaged"):
        averaging.averaged(SPEC, [], IMAGES)
    (tmp_path / "x.caffemodel").write_bytes(b"\xff nonsense")
    with pytest.raises(UserError, match="x.caffemodel is not a .caffemodel file"):
        averaging.averaged(SPEC, [*snapshots, tmp_path / "x.caffemodel"], IMAGES)
    with pytest.raises(
        UserError, match=r"of shape \(4, 8, 1\) .* do not fit a net for \(8, 8, 1\)"
    ):
        averaging.averaged(SPEC, snapshots, IMAGES[:, :4])


def test_the_last_snapshots(monkeypatch, tmp_path):
    spec = net_spec("cifar10", "dnnh", 48, "short")
    monkeypatch.setattr(weights.paths, "ROOT", tmp_path)
    (tmp_path / "snapshots").mkdir()
    for iteration in (900, 9000, 10000):
        path = tmp_path / f"snapshots/cifar10_dnnh_short_48bit_iter_{iteration}.caffemodel"
        path.touch()
        os.utime(path, (iteration, iteration))
    (tmp_path / "snapshots/cifar10_dnnh_48bit_iter_20000.caffemodel").touch()
    found = [path.stem.rpartition("_")[2] for path in weights.last_snapshots(spec, 2)]
    assert found == ["9000", "10000"]
    for count in (0, 4):
        with pytest.raises(UserError, match=f"there are 3 snapshots .* not {count}; train"):
            weights.last_snapshots(spec, count)
    os.utime(path.with_name("cifar10_dnnh_short_48bit_iter_9000.caffemodel"), (20000, 20000))
    assert weights.last_snapshots(spec, 1)[0].stem.endswith("_9000")  # a new training
    with pytest.raises(UserError, match=r"_9000.caffemodel is newer than .*_10000.caffemodel"):
        weights.last_snapshots(spec, 2)
    model = tmp_path / "snapshots/a b.caffemodel"
    command = weights.evaluate_command(spec, model)
    assert command.endswith("--bits 48 --schedule short --model 'snapshots/a b.caffemodel'")
