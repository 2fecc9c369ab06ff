"""MNIST's IDX files, in miniature; and hostile ones."""

import gzip
import hashlib

import numpy as np
import pytest

from archives import make_folder, make_tar, make_zip
from dnnh.data import mnist
from dnnh.errors import UserError

RNG = np.random.default_rng(0)
COUNTS = {"train": 30, "t10k": 20}
IMAGES = {
    part: RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8) for part, count in COUNTS.items()
}
LABELS = {part: (np.arange(count) % 10).astype(np.uint8) for part, count in COUNTS.items()}


@pytest.fixture(autouse=True)
def miniature(monkeypatch):
    monkeypatch.setattr(mnist, "PARTS", COUNTS)


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def files(ending="", part=None, **changed):
    """(name, bytes) of the files of one part or of both; ``changed`` by first words."""
    for name, arrays, axes in (("images", IMAGES, 3), ("labels", LABELS, 1)):
        for which in (part,) if part else COUNTS:
            data = changed.get(f"{which}_{name}", idx(arrays[which]))
            if data is not None:
                yield (
                    f"{which}-{name}-idx{axes}-ubyte{ending}",
                    gzip.compress(data) if ending == ".gz" else data,
                )


@pytest.mark.parametrize(
    "given",
    [
        list(files()),
        list(files(".gz")),
        [(f"some/place/mnist-{name}".replace("-idx", ".idx"), data) for name, data in files()],
    ],
)
@pytest.mark.parametrize(
    "pack",
    [
        lambda path, files: make_folder(path / "a", files),
        lambda path, files: make_tar(path / "a.tar", files, "w"),
        lambda path, files: make_zip(path / "a.zip", files),
    ],
)
def test_every_form(tmp_path, pack, given):
    dataset = mnist.prepare_mnist(pack(tmp_path, given))
    assert dataset.train == 30 and dataset.source == "MNIST (md5 not verified)"
    assert np.array_equal(dataset.images[..., 0], np.concatenate(list(IMAGES.values())))
    assert np.array_equal(dataset.labels, np.concatenate(list(LABELS.values())))
    assert dataset.labels.dtype == np.int64


def test_the_test_part_alone_says_so(tmp_path, monkeypatch):
    given = list(files(".gz", "t10k"))
    monkeypatch.setattr(
        mnist,
        "MD5",
        {name.removesuffix(".gz"): hashlib.md5(data).hexdigest() for name, data in given},
    )
    dataset = mnist.prepare_mnist(make_folder(tmp_path / "a", given))
    assert len(dataset.images) == 20 and dataset.train == 0
    assert dataset.source == "MNIST, its 10,000 test images alone (md5 as published)"


@pytest.mark.parametrize(
    "given, message",
    [
        ([("x", b"")], "has no t10k-images-idx3-ubyte, nor its like; MNIST is"),
        (list(files(part="train")), "has no t10k-images-idx3-ubyte"),
        (list(files(t10k_labels=None)), "t10k-labels-idx1-ubyte is missing"),
        (list(files(train_images=None)), "train-images-idx3-ubyte is missing"),
        (list(files(t10k_labels=b"")), "t10k-labels.* begins with nothing"),
        (list(files(t10k_labels=b"\x89PNG")), "begins with 89 50 4e 47, not 00 00 08"),
        (
            list(files(t10k_images=idx(IMAGES["t10k"])[:-1])),
            r"15,679 values for the shape \(20, 28, 28\)",
        ),
        (
            list(files(t10k_images=b"\0\0\x08\x03" + 12 * b"\xff")),
            r"0 values for the shape \(4294967295, 4294967295, 4294967295\)",
        ),
        (list(files(t10k_images=b"\0\0\x08\x03\0\0")), "begins with 00 00 08 03, not"),
        (list(files(t10k_images=idx(IMAGES["t10k"][:9]))), r"images of shape \(9, 28, 28\)"),
        (list(files(t10k_labels=idx(LABELS["t10k"] + 5))), "'t10k' has a label 14"),
        ([(name, data[:-9]) for name, data in files(".gz")], "gz is damaged .*fetch it again"),
    ],
)
def test_damaged_and_hostile(tmp_path, given, message):
    with pytest.raises(UserError, match=message):
        mnist.prepare_mnist(make_folder(tmp_path / "a", given))


def test_a_file_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr("dnnh.limits.FILE_BYTES", 20_000)
    zeros = idx(np.zeros((30, 28, 28), np.uint8))
    with pytest.raises(UserError, match="train-images.* is larger than 20,000 bytes"):
        mnist.prepare_mnist(make_folder(tmp_path / "a", files(".gz", train_images=zeros)))
