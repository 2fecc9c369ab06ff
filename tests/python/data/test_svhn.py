"""SVHN's .mat files, in miniature; and hostile ones."""

import sys

import numpy as np
import pytest
import scipy.io

from dnnh import files
from dnnh.data import svhn
from dnnh.errors import UserError

RNG = np.random.default_rng(0)
COUNTS = {"train_32x32.mat": 12, "extra_32x32.mat": 25, "test_32x32.mat": 7}
FILES = {
    name: {
        "X": RNG.integers(0, 256, (32, 32, 3, count), dtype=np.uint8),
        "y": (np.arange(count) % 10 + 1).astype(np.uint8)[:, np.newaxis],
    }
    for name, count in COUNTS.items()
}


@pytest.fixture(autouse=True)
def miniature(monkeypatch):
    monkeypatch.setattr(svhn, "COUNTS", COUNTS)


def write(folder, **changes):
    for name, arrays in FILES.items():
        arrays = changes.get(name.split("_")[0], arrays)
        if arrays is not None:
            scipy.io.savemat(folder / name, arrays, do_compression=True)
    return folder


def test_whole(tmp_path, monkeypatch):
    dataset = svhn.prepare_svhn(write(tmp_path))
    assert dataset.images.shape == (44, 32, 32, 3) and dataset.train == 37
    assert dataset.source == "SVHN (md5 not verified)"
    assert np.array_equal(dataset.images[12], FILES["extra_32x32.mat"]["X"][..., 0])
    # 10 in the file is the digit 0.
    assert dataset.labels[:12].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    monkeypatch.setattr(svhn, "MD5", {path.name: files.md5(path) for path in tmp_path.iterdir()})
    assert svhn.prepare_svhn(tmp_path).source == "SVHN (md5 as published)"


def test_without_the_extra_images(tmp_path):
    dataset = svhn.prepare_svhn(write(tmp_path, extra=None))
    assert len(dataset.images) == 19 and dataset.train == 12
    assert dataset.source == "SVHN without its extra images (md5 not verified)"


def changed(**arrays):
    return {**FILES["test_32x32.mat"], **arrays}


@pytest.mark.parametrize(
    "arrays, message",
    [
        (None, "test_32x32.mat is missing"),
        ({"X": 1}, "test_32x32.mat has arrays of the shapes .* are expected"),
        (changed(X=FILES["train_32x32.mat"]["X"]), r"\(32, 32, 3, 7\) and y of shape \(7, 1\)"),
        (changed(X=np.zeros((32, 32, 3, 7))), "has float64 as pixels"),
        (changed(y=np.full((7, 1), 11, np.uint8)), "has labels from 11 to 11; 1 to 10"),
        (changed(y=np.full((7, 1), 0.5)), "labels of float64"),
    ],
)
def test_what_is_not_svhn(tmp_path, arrays, message):
    with pytest.raises(UserError, match=message):
        svhn.prepare_svhn(write(tmp_path, test=arrays))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"nonsense",
        lambda data: b"",
        lambda data: data[:200] + bytes(byte ^ 0x55 for byte in data[200:300]) + data[300:],
    ],
)
def test_damaged(tmp_path, damage):
    path = write(tmp_path) / "train_32x32.mat"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match="train_32x32.mat (is not a whole .mat file|has arrays)"):
        svhn.prepare_svhn(tmp_path)


def test_a_reader_that_crashes(tmp_path, monkeypatch):
    """SciPy's does so on some damaged files."""
    write(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "crash"))
    (tmp_path / "crash").write_text("#!/bin/sh\nkill -SEGV $$\n")
    (tmp_path / "crash").chmod(0o755)
    with pytest.raises(UserError, match="whole .mat file.*its reader ended with signal 11"):
        svhn.prepare_svhn(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder; name the one"):
        svhn.prepare_svhn(tmp_path / "nowhere")
