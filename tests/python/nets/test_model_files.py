"""Model files of Caffe, in both formats."""

import caffe
import h5py
import numpy as np
import pytest

from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, model_files, prototxt
from dnnh.nets.specs import net_spec

DEPLOY = prototxt.deploy_net(net_spec("digits", bits=12))


@pytest.fixture
def net():
    caffe.set_random_seed(1)
    return caffe_encoder.build(DEPLOY)


@pytest.fixture
def halved(net, tmp_path):
    """A model in half precision, some of whose vectors exceed that."""
    for blobs in net.params.values():
        for blob in blobs:
            if len(blob.shape) == 1:
                blob.data[...] = 1e6 + np.arange(blob.count)
    net.save(str(tmp_path / "net.caffemodel"))
    with h5py.File(tmp_path / "net.caffemodel.h5", "w") as file:
        model_files.write_halved(file, model_files.read(tmp_path / "net.caffemodel"))
    return tmp_path / "net.caffemodel.h5"


def copy(net):
    return {name: [blob.data.copy() for blob in blobs] for name, blobs in net.params.items()}


def assert_weights(net, wanted, exactly=False):
    for name, blobs in net.params.items():
        for blob, values in zip(blobs, wanted[name], strict=True):
            if values.ndim > 1 and not exactly:
                values = values.astype(np.float16)
            assert np.array_equal(blob.data, values)


def clear(net):
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = 0


def test_half_precision_rounds_all_but_vectors(net, halved):
    wanted = copy(net)
    assert halved.stat().st_size < 0.7 * halved.with_suffix("").stat().st_size
    clear(net)
    model_files.load(net, model_files.read(halved), halved)
    assert_weights(net, wanted)


def test_caffe_reads_half_precision(net, halved):
    wanted = copy(net)
    clear(net)
    net.load_hdf5(str(halved))
    assert_weights(net, wanted)


def test_caffes_own_hdf5(net, tmp_path):
    wanted = copy(net)
    net.save_hdf5(str(tmp_path / "net.caffemodel.h5"))
    clear(net)
    model_files.load(net, model_files.read(tmp_path / "net.caffemodel.h5"), tmp_path)
    assert_weights(net, wanted, exactly=True)


def huge(blob):
    blob.data[3] = -65_520  # rounds to infinity


def diverged(blob):
    blob.data[3] = np.nan


def cut(blob):
    del blob.data[3:]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (huge, "'conv1' has a weight beyond 65504.*release the snapshot"),
        (diverged, "'conv1' has weights that are not finite"),
        (cut, "'conv1' has 3 weights for the shape .*take another snapshot"),
    ],
)
def test_models_that_are_not_halved(net, tmp_path, spoil, problem):
    net.save(str(tmp_path / "net.caffemodel"))
    model = model_files.read(tmp_path / "net.caffemodel")
    spoil(next(layer for layer in model.layer if layer.name == "conv1").blobs[0])
    with (
        h5py.File(tmp_path / "net.caffemodel.h5", "w") as file,
        pytest.raises(UserError, match=problem),
    ):
        model_files.write_halved(file, model)


@pytest.mark.parametrize("inside", [False, True])
def test_more_messages_than_a_net_has(tmp_path, inside):
    """An empty layer, or an empty blob of a layer, takes two or three bytes."""
    layers = b"\xa2\x06\x00" * 400_000
    if inside:
        blobs = b"\x3a\x00" * 400_000
        size = len(blobs)
        layers = (
            b"\xa2\x06" + bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14]) + blobs
        )
    (tmp_path / "net.caffemodel").write_bytes(layers)
    with pytest.raises(
        UserError, match="is not a .caffemodel file .it has more than 200,000 fields"
    ):
        model_files.read(tmp_path / "net.caffemodel")


def test_a_group_is_no_field_of_a_model(tmp_path):
    (tmp_path / "net.caffemodel").write_bytes(b"\x0b\x0c" + b"\xa2\x06\x00" * 400_000)
    with pytest.raises(UserError, match="is not a .caffemodel file .it is no NetParameter"):
        model_files.read(tmp_path / "net.caffemodel")


def test_more_weights_than_the_file_can_hold(tmp_path):
    path = tmp_path / "net.caffemodel.h5"
    with h5py.File(path, "w") as file:
        for i in range(20):  # without values
            file.create_dataset(f"data/conv{i}/0", (10_000_000,), np.float32)
    with pytest.raises(UserError, match=r"bytes and says that it has 800,000,000"):
        model_files.read(path)


def spoil_values(file):
    del file["data/conv1/0"]
    file["data/conv1/0"] = np.zeros((2, 3), np.int64)


def spoil_names(file):
    file.move("data/conv1/1", "data/conv1/2")


def spoil_nesting(file):
    file.create_group("data/conv1/2")


def spoil_layers(file):
    file.move("data", "layers")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_values, "blob 0 of its layer 'conv1' has values of type int64"),
        (spoil_names, "'1'"),
        (spoil_nesting, "Group"),
        (spoil_layers, "'data'"),
    ],
)
def test_a_damaged_hdf5_model(halved, spoil, reason):
    with h5py.File(halved, "r+") as file:
        spoil(file)
    with pytest.raises(
        UserError, match=f"h5 is not a model file of Caffe .*{reason}.*take another"
    ):
        model_files.read(halved)
