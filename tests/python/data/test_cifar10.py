"""CIFAR-10 in each of its forms, in miniature: 20 images a file; and hostile ones."""

import io
import os
import pickle
import pickletools

import numpy as np
import pytest
from PIL import Image

from archives import make_folder, make_tar, make_zip
from dnnh import files, limits
from dnnh.data import archives, cifar10, image_files
from dnnh.errors import UserError

BATCH = 20
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6 * BATCH, 32, 32, 3), dtype=np.uint8)
LABELS = np.tile(np.arange(10), 6 * BATCH // 10)


@pytest.fixture(autouse=True)
def miniature(monkeypatch):
    monkeypatch.setattr(cifar10, "BATCH", BATCH)


def batches():
    """(name without suffix, images, labels) of the six files."""
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for i, name in enumerate(names):
        part = slice(i * BATCH, (i + 1) * BATCH)
        yield name, IMAGES[part], LABELS[part]


def binary_files():
    for name, images, labels in batches():
        planes = images.transpose(0, 3, 1, 2).reshape(BATCH, -1)
        yield f"{name}.bin", np.hstack([labels[:, np.newaxis].astype(np.uint8), planes]).tobytes()


def python2_pickle(value):
    """A pickle as Python 2 and the NumPy of its time wrote it.

    Strings are Python 2's (their opcodes have the layout of those of bytes), and
    NumPy's function lies where it did.
    """
    data = bytearray(pickle.dumps(value, protocol=3))
    for opcode, _, position in pickletools.genops(bytes(data)):
        old = {"SHORT_BINBYTES": b"U", "BINBYTES": b"T"}.get(opcode.name)
        if old:
            data[position : position + 1] = old
    return bytes(data).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def python_files():
    for name, images, labels in batches():
        planes = images.transpose(0, 3, 1, 2).reshape(BATCH, -1)
        yield (
            name,
            python2_pickle(
                {
                    b"data": np.ascontiguousarray(planes),
                    b"labels": labels.tolist(),
                    b"batch_label": b"x",
                    b"filenames": [b"y"] * BATCH,
                }
            ),
        )


def folder_files():
    for name, images, labels in batches():
        part = "test" if name == "test_batch" else "train"
        for i, (image, label) in enumerate(zip(images, labels)):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, format="PNG")
            yield (f"{part}/{cifar10.CLASSES[label]}/{name}_{i:02}.png", buffer.getvalue())


def check(dataset, source):
    assert dataset.images.shape == (6 * BATCH, 32, 32, 3)
    assert dataset.train == 5 * BATCH
    assert dataset.source == source
    # The forms order the images within a part differently; pixels identify them.
    for part in (slice(0, 5 * BATCH), slice(5 * BATCH, None)):
        label_of = {
            image.tobytes(): label
            for image, label in zip(dataset.images[part], dataset.labels[part])
        }
        assert label_of == {
            image.tobytes(): label for image, label in zip(IMAGES[part], LABELS[part])
        }


def test_images_are_in_one_order(tmp_path):
    """A split is drawn by position, whatever the order of an archive's members."""
    members = list(folder_files())
    one, other = (
        cifar10.prepare_cifar10(make_tar(tmp_path / name, order))
        for name, order in (("a.tgz", members), ("b.tgz", members[::-1]))
    )
    assert np.array_equal(one.images, other.images) and one.images_sha256 == other.images_sha256
    official = cifar10.prepare_cifar10(make_folder(tmp_path / "c", binary_files()))
    assert np.array_equal(official.images, IMAGES)


@pytest.mark.parametrize(
    "files, source",
    [
        (binary_files, "CIFAR-10, binary, official layout (md5 not verified)"),
        (python_files, "CIFAR-10, Python, official layout (md5 not verified)"),
        (folder_files, "CIFAR-10, class folders"),
    ],
)
@pytest.mark.parametrize(
    "pack",
    [
        lambda path, files: make_tar(path / "a.tar.gz", files),
        lambda path, files: make_tar(path / "a.tar.xz", files, "w:xz"),
        lambda path, files: make_zip(path / "a.zip", files),
        lambda path, files: make_folder(path / "a", files),
    ],
)
def test_every_form(tmp_path, pack, files, source):
    check(cifar10.prepare_cifar10(pack(tmp_path, files())), source)


def test_a_jpeg_copy_says_so(tmp_path):
    def jpeg():
        for name, data in folder_files():
            buffer = io.BytesIO()
            Image.open(io.BytesIO(data)).save(buffer, format="JPEG")
            yield name.replace(".png", ".jpg"), buffer.getvalue()

    dataset = cifar10.prepare_cifar10(make_folder(tmp_path / "a", jpeg()))
    assert dataset.source == "CIFAR-10, JPEG copy"


def changed(files, name, data):
    """The files with one changed (or, with None, left out)."""
    out = [(n, data if n == name else d) for n, d in files()]
    return [(n, d) for n, d in out if d is not None]


class RunsCode:
    def __reduce__(self):
        return os.system, ("touch hostile",)


class Reduced:
    """Pickled as a call of a function, and a state."""

    def __init__(self, function, arguments, state):
        self.reduced = (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def pointers():
    """An array whose type has NumPy take its bytes for a pointer to an object."""
    fields = {"a": (np.dtype("O"), 0)}
    dtype = Reduced(np.dtype, ("V8", False, True), (3, "|", None, ("a",), fields, 8, 1, 0))
    reconstruct, arguments, _ = np.zeros(0).__reduce__()
    return Reduced(reconstruct, arguments, (1, (4,), dtype, False, bytes(range(32))))


def many_lists():
    """A list of 10^9 numbers, in little memory until NumPy makes an array of it."""
    labels = [0] * 10
    for _ in range(8):
        labels = [labels] * 10
    return labels


@pytest.mark.parametrize(
    "files, message",
    [
        (changed(binary_files, "data_batch_3.bin", None), "data_batch_3.bin is missing"),
        (changed(binary_files, "data_batch_3.bin", b"12"), "has 2 bytes, not 61,460"),
        (changed(binary_files, "test_batch.bin", b"\x0b" * 61_460), "from 11 to 11"),
        (
            changed(binary_files, "test_batch.bin", b"\x03" * 61_460),
            "12 images of each class; here are",
        ),
        (
            changed(python_files, "data_batch_1", pickle.dumps(RunsCode())),
            "data_batch_1 is not one of CIFAR-10's pickles.*posix.system",
        ),
        (changed(python_files, "data_batch_1", b"nonsense"), "not one of CIFAR-10's pickles"),
        (
            changed(python_files, "data_batch_1", b"\x80\x02K\x01r\x00\x00\x00\x10."),
            "it names place 268,435,456 of its memo",
        ),
        (changed(python_files, "data_batch_1", b"]" * 1_000_001), "more than 1,000,000 opcodes"),
        (changed(python_files, "data_batch_1", pickle.dumps({b"data": 1})), "labels"),
        (
            changed(
                python_files,
                "data_batch_1",
                pickle.dumps({b"data": np.zeros((BATCH, 3072)), b"labels": [0] * BATCH}),
            ),
            "uint8",
        ),
        *(
            (
                changed(
                    python_files,
                    "data_batch_1",
                    pickle.dumps({b"data": np.zeros((BATCH, 3072), np.uint8), b"labels": labels}),
                ),
                message,
            )
            for labels, message in (
                ([], r"here are float64 of shape \(0,\)"),
                ([0.5] * BATCH, "here are float64"),
                ([[0]] * BATCH, "pickles: its labels have a value of the type list"),
                ([[0], [1, 2]], "pickles"),
                (many_lists(), "pickles: its labels have a value of the type list"),
                ([pointers(), pointers()], "pickles: it has an array of the type 'V8'"),
                (np.zeros(BATCH), "pickles: it has an array of the type 'f8'"),
                ([-1] * BATCH, "from -1 to -1"),
            )
        ),
        (
            changed(folder_files, "train/cat/data_batch_1_03.png", b""),
            "data_batch_1_03.png is not a readable image",
        ),
        (
            changed(folder_files, "train/cat/data_batch_1_03.png", None),
            "100 training and 20 test images; here are 99 and 20",
        ),
        ([("train/../../evil/x.png", b"")], "lies in none of train/<class>/"),
        ([("readme.txt", b"")], "holds none of CIFAR-10's forms"),
    ],
)
def test_damaged_and_hostile(tmp_path, monkeypatch, files, message):
    monkeypatch.chdir(tmp_path)
    archive = make_tar(tmp_path / "a.tar.gz", files)
    with pytest.raises(UserError, match=message):
        cifar10.prepare_cifar10(archive)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar.gz"]


@pytest.mark.parametrize("labels", [LABELS[:BATCH], LABELS[:BATCH].astype(">i4")])
def test_pickles_of_todays_numpy(tmp_path, labels):
    """With arrays in any order, and labels as an array."""
    planes = IMAGES[:BATCH].transpose(0, 3, 1, 2).reshape(BATCH, -1)
    for order in "CF":
        batch = {b"data": np.array(planes, order=order), b"labels": labels}
        files = changed(python_files, "data_batch_1", pickle.dumps(batch))
        dataset = cifar10.prepare_cifar10(make_folder(tmp_path / order, files))
        check(dataset, "CIFAR-10, Python, official layout (md5 not verified)")


def test_a_truncated_archive(tmp_path):
    archive = make_tar(tmp_path / "a.tar.gz", binary_files())
    archive.write_bytes(archive.read_bytes()[:-20_000])
    with pytest.raises(UserError, match="a.tar.gz.*(whole|damaged)"):
        cifar10.prepare_cifar10(archive)


@pytest.mark.parametrize("name, mode", [("a.tar.gz", "w:gz"), ("a.tar.xz", "w:xz"), ("a.zip", "")])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_flipped_bytes(tmp_path, name, mode, share):
    archive = (
        make_tar(tmp_path / name, binary_files(), mode)
        if mode
        else make_zip(tmp_path / name, binary_files())
    )
    data = bytearray(archive.read_bytes())
    place = int(len(data) * share)
    data[place : place + 8] = bytes(byte ^ 0x55 for byte in data[place : place + 8])
    archive.write_bytes(data)
    with pytest.raises(UserError, match=name):
        cifar10.prepare_cifar10(archive)


def test_published_archives_are_known(tmp_path, monkeypatch):
    archive = make_tar(tmp_path / "a.tar.gz", binary_files())
    monkeypatch.setattr(cifar10, "MD5", (files.md5(archive),))
    dataset = cifar10.prepare_cifar10(archive)
    assert dataset.source == "CIFAR-10, binary, official layout (md5 as published)"


def test_a_member_that_claims_to_be_huge(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FILE_BYTES", 1000)
    archive = make_zip(tmp_path / "a.zip", binary_files())
    with pytest.raises(UserError, match="larger than 1,000 bytes"):
        cifar10.prepare_cifar10(archive)


def test_a_huge_member_of_no_use_is_not_read_through(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FILE_BYTES", 1_000_000)
    archive = make_tar(tmp_path / "a.tar.gz", [("padding", bytes(1_000_001)), *binary_files()])
    with pytest.raises(UserError, match="a.tar.gz: padding is larger than 1,000,000 bytes"):
        archives.open_archive(archive)


def test_an_image_that_claims_to_be_huge(monkeypatch):
    monkeypatch.setattr(limits, "IMAGE_PIXELS", 1000)
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, format="PNG")
    with pytest.raises(UserError, match="x.png claims 32x32 pixels"):
        image_files.decode_image(buffer.getvalue(), "x.png")


def test_an_archive_with_a_huge_header(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "TAR_HEADER_BYTES", 1000)
    archive = make_tar(tmp_path / "a.tar", [("x" * 2000, b"1")], "w")
    with pytest.raises(UserError, match="(?s)whole tar or zip archive: .*a header of 2,"):
        archives.open_archive(archive)


def test_a_name_that_is_there_twice(tmp_path):
    """The last one counts, in both kinds of archives."""
    files = [("a.png", b"first"), ("b.png", b"b"), ("a.png", b"last")]
    with pytest.warns(UserWarning, match="Duplicate name"):
        both = (make_zip(tmp_path / "x.zip", files), make_tar(tmp_path / "x.tgz", files))
    for archive in both:
        with archives.open_archive(archive) as opened:
            assert sorted(opened.members) == ["a.png", "b.png"]
            assert dict(opened.read_all({"a.png"})) == {"a.png": b"last"}


def test_no_program_is_started_for_an_image(tmp_path, monkeypatch):
    """Pillow hands PostScript to Ghostscript."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    with pytest.raises(UserError, match="is none of JPEG, PNG"):
        image_files.decode_image(
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n",
            "x.jpg",
        )
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    "name, message",
    [("missing.tar.gz", "does not exist"), ("text.tar.gz", "neither a folder nor a whole")],
)
def test_no_archive_at_all(tmp_path, name, message):
    (tmp_path / "text.tar.gz").write_text("hello")
    with pytest.raises(UserError, match=message):
        cifar10.prepare_cifar10(tmp_path / name)
