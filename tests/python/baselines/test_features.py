"""Where features come from."""

import dataclasses

import h5py
import numpy as np
import pytest
from PIL import Image

from dnnh.baselines import features, gist
from dnnh.data import datasets
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, efficientnet, model_files, pretrained

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
DATASET = datasets.Dataset("tiny", IMAGES, np.arange(6) % 2, ("a", "b"), "made up")


def test_pixels():
    pixels = features.load("pixels", DATASET)
    assert pixels.shape == (6, 192) and pixels.dtype == np.float32
    assert np.allclose(pixels[2] * 255, IMAGES[2].ravel())


def test_gist_is_computed_once_for_the_same_images(home, monkeypatch):
    first = features.load("gist", DATASET)
    assert np.array_equal(first, gist.describe(IMAGES))
    monkeypatch.setattr(gist, "describe", lambda images: np.ones((len(images), 512)))
    assert np.array_equal(features.load("gist", DATASET), first)
    path = home / "data/features/tiny_gist.h5"
    path.write_bytes(path.read_bytes()[:3000])  # cut short
    assert (features.load("gist", DATASET) == 1).all()
    other = datasets.Dataset("tiny", IMAGES + 1, DATASET.labels, DATASET.classes, "other")
    monkeypatch.setattr(gist, "describe", lambda images: np.zeros((len(images), 512)))
    assert (features.load("gist", other) == 0).all()


def test_features_of_a_pretrained_network(home, monkeypatch):
    """At 129 pixels, whatever the side of the images; computed once."""
    monkeypatch.setattr(pretrained, "path_of", lambda name: home / f"{name}.caffemodel")
    with pytest.raises(UserError, match=r"does not exist; run 'python tools/get_model.py eff"):
        features.load("efficientnet_lite0", DATASET)
    model = home / "efficientnet_lite0.caffemodel"
    model.write_bytes(efficientnet.model())
    found = features.load("efficientnet_lite0", DATASET)
    assert found.shape == (6, 1280)
    net = caffe_encoder.build(pretrained.feature_net("efficientnet_lite0", 129))
    model_files.load(net, model_files.read(model), model)
    net.blobs["images"].reshape(6, 3, 129, 129)
    for image, planes in zip(IMAGES, net.blobs["images"].data):
        for i, plane in enumerate(planes):
            values = Image.fromarray(image[..., i].astype(np.float32))
            plane[...] = values.resize((129, 129), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(found, net.forward()["features"], atol=1e-3)
    model.unlink()
    assert np.array_equal(features.load("efficientnet_lite0", DATASET), found)
    model.write_bytes(b"another model")
    monkeypatch.setattr(features, "_pretrained", lambda name, dataset: found + 1)
    assert np.array_equal(features.load("efficientnet_lite0", DATASET), found + 1)
    monkeypatch.undo()
    grey = dataclasses.replace(DATASET, images=IMAGES[..., :1])
    with pytest.raises(UserError, match="tiny has grey images; efficientnet_lite0 takes"):
        features.load("efficientnet_lite0", grey)


def test_bag_of_words():
    counts = np.array([[1, 3], [0, 0], [2, 2], [5, 0], [0, 1], [9, 1]], np.uint16)
    dataset = dataclasses.replace(DATASET, features={"bow": counts})
    assert np.allclose(
        features.load("bow", dataset),
        [[0.25, 0.75], [0, 0], [0.5, 0.5], [1, 0], [0, 1], [0.9, 0.1]],
    )
    with pytest.raises(UserError, match=r"tiny \(made up\) has no bag of words; NUS-WIDE"):
        features.load("bow", DATASET)


def test_large_images_are_no_features():
    dataset = dataclasses.replace(DATASET, images=np.zeros((6, 64, 64, 3), np.uint8))
    with pytest.raises(UserError, match=r"of the shape \(64, 64, 3\): too many pixels"):
        features.load("pixels", dataset)


def test_any_array_from_a_file(tmp_path):
    array = np.arange(18.0).reshape(6, 3)
    np.save(tmp_path / "a.npy", array)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = array
    for name in ("a.npy", "a.h5"):
        assert np.array_equal(features.load(str(tmp_path / name), DATASET), array)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((5, 3)), r"shape \(5, 3\); 6 rows"),
        (np.zeros(6), r"shape \(6,\)"),
        (np.zeros((6, 0)), r"shape \(6, 0\)"),
        (np.where(np.eye(6) > 0, np.nan, 1), "6 of 6 rows.*the first is row 0"),
        (np.full((6, 2), 1e300), "6 of 6 rows have values that are not finite"),
        (np.array([["a"]] * 6), "not numbers"),
        (np.array([[{}]] * 6), "no features that can be read.*Python objects"),
    ],
)
def test_arrays_that_are_none(tmp_path, array, message, recwarn):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=message):
        features.load(str(tmp_path / "a.npy"), DATASET)
    assert not recwarn.list


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match="no features 'x'; known ones: gist, efficientnet_lite0"):
        features.load("x", DATASET)
    for name in ("a.npy", "a.h5"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(UserError, match="no features that can be read"):
            features.load(str(tmp_path / name), DATASET)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"PK\x03\x04" + bytes(100), "it is not a .npy file"),
        (b"", "it is not a .npy file"),
        (b"\x93NUMPY\x01\x00\x0a\x00{'descr':(", "cannot|invalid|Cannot|EOF|parse|unexpected"),
        (
            b"\x93NUMPY\x01\x00\x76\x00"
            + b"{'descr': '<f8', 'fortran_order': False, 'shape': (100000000, 100000), }".ljust(117)
            + b"\n",
            "mmap length is greater than file size",
        ),
    ],
)
def test_npy_files_that_are_none(tmp_path, content, message):
    """An archive .npz under that name; a header with an open bracket; 80 TB in 128 bytes."""
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(UserError, match=f"a.npy has no features that can be read .*({message})"):
        features._read(tmp_path / "a.npy")
