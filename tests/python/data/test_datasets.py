"""The HDF5 file that every data set becomes."""

import dataclasses

import h5py
import numpy as np
import pytest

from dnnh import paths
from dnnh.data import cifar10, datasets, splits
from dnnh.data.digits import prepare_digits
from dnnh.errors import UserError


def test_digits_are_made_at_first_use(home):
    digits = datasets.load("digits")
    assert digits.images.shape == (1797, 8, 8, 1)
    assert (digits.images.min(), digits.images.max()) == (0, 255)
    assert np.bincount(digits.labels).min() > 170
    again = datasets.load("digits")
    assert (again.images == digits.images).all() and again.classes == digits.classes


def test_images_stay_in_the_file_until_they_are_looked_at(home):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    datasets.save(datasets.Dataset("cifar10", images, np.arange(20) % 10, cifar10.CLASSES, "x"))
    loaded = datasets.load("cifar10").images
    assert isinstance(loaded, np.memmap) and not loaded.flags.writeable
    assert np.array_equal(loaded, images)
    # Compressed by somebody else, they are read.
    with h5py.File(paths.DATA / "cifar10.h5", "a") as file:
        del file["images"]
        file.create_dataset("images", data=images, compression="gzip")
    assert np.array_equal(datasets.load("cifar10").images, images)


def test_load_refuses_what_is_not_there(home):
    with pytest.raises(UserError, match="unknown data set 'x'; known ones: cifar10"):
        datasets.load("x")
    with pytest.raises(UserError, match="get_data.py cifar10"):
        datasets.load("cifar10")
    (paths.DATA / "cifar10.h5").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="not a data set file"):
        datasets.load("cifar10")
    with h5py.File(paths.DATA / "cifar10.h5", "w") as file:
        file["images"] = 1
    with pytest.raises(UserError, match="not a data set file"):
        datasets.load("cifar10")


def test_load_refuses_what_does_not_fit(home):
    images = np.zeros((20, 32, 32, 3), np.uint8)
    labels = np.arange(20) % 10
    good = datasets.Dataset("cifar10", images, labels, cifar10.CLASSES, "x")
    datasets.save(good)
    datasets.load("cifar10")
    for change, message in (
        ({"labels": labels[:-1]}, r"shape \(19,\) for 20 images"),
        ({"labels": labels + 1}, "labels is int64 .* of 10 classes"),
        ({"labels": labels.astype(float)}, "labels is float64"),
        ({"images": images[..., 0]}, r"images is uint8 of shape \(20, 32, 32\)"),
        ({"classes": ("\ud800", *cifar10.CLASSES[1:])}, "no name that can be written"),
        ({"images": images.astype(float)}, "images is float64"),
    ):
        datasets.save(dataclasses.replace(good, **change))
        with pytest.raises(UserError, match=f"not a data set file.*{message}.*--force"):
            datasets.load("cifar10")


@pytest.mark.parametrize("train", ["20", 0.5, 1j, [1]])
def test_load_refuses_attributes_of_another_kind(home, train, recwarn):
    datasets.load("digits")
    with h5py.File(paths.DATA / "digits.h5", "r+") as file:
        file.attrs["train"] = train
    with pytest.raises(UserError, match="not a data set file.*train is .*not a whole number"):
        datasets.load("digits")
    assert not recwarn.list


def test_images_in_another_order_have_another_split(home):
    """Queries are drawn by position: they could be images that a net was trained on."""
    digits = prepare_digits()
    datasets.save(digits)
    first = datasets.load("digits")
    assert len(first.images_sha256) == 64
    splits.load_split(first)
    order = np.arange(len(digits.labels))
    same_class = np.flatnonzero(digits.labels == 3)
    order[same_class] = same_class[::-1]
    datasets.save(dataclasses.replace(digits, images=digits.images[order]))
    second = datasets.load("digits")
    assert second.images_sha256 != first.images_sha256
    assert np.array_equal(second.labels, first.labels)
    with pytest.raises(UserError, match="was drawn from other data than digits as it is now"):
        splits.load_split(second)
