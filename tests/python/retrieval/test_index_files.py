"""Files that are not an index of encoded images, or damaged ones."""

import h5py
import numpy as np
import pytest

from dnnh import hdf5_files
from dnnh.errors import UserError
from dnnh.nets import pretrained
from dnnh.retrieval import index_files, parquet


def test_labels_that_cannot_be_read(photos, tmp_path, run):
    run.encode(photos, tmp_path / "c.h5")
    for text in ("nonsense", "5", "[1]"):
        with h5py.File(tmp_path / "c.h5", "a") as file:
            file["labels"][3] = text
        with pytest.raises(UserError, match="c.h5 has labels that cannot be read, "):
            index_files.load(tmp_path / "c.h5").labels(3)


def test_labels_that_are_no_text(photos, tmp_path, run):
    """JSON may have halves of surrogate pairs, which no answer and no page can have."""
    run.encode(photos, tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "a") as file:
        file["labels"][3] = r'["\ud800cat"]'
    (labels,) = index_files.load(tmp_path / "c.h5").labels(3)
    assert labels == (r"\ud800cat",)


def test_text_that_is_damaged(photos, tmp_path, run, monkeypatch):
    run.encode(photos, tmp_path / "c.h5")
    data = (tmp_path / "c.h5").read_bytes()
    number = data.index(b"class0/00.png") - 16  # of the text in HDF5's heap
    (tmp_path / "c.h5").write_bytes(data[:number] + b"\xff\x7f" + data[number + 2 :])
    with pytest.raises(
        UserError, match="c.h5 is not an index .*its text is damaged.*make one with"
    ):
        index_files.load(tmp_path / "c.h5")
    # Of large files the text is not read in advance.
    monkeypatch.setattr(hdf5_files, "_check_in_another_process", lambda path: None)
    index = index_files.load(tmp_path / "c.h5")
    with pytest.raises(UserError, match="c.h5 has names that cannot be read .*make one with"):
        index.names(slice(0, 37))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda file: file.attrs.__delitem__("bits"), "it has no bits"),
        (lambda file: file.attrs.__setitem__("bits", 12j), "bits is .*not a whole number"),
        (lambda file: file.__delitem__("names"), "it has no names"),
        (
            lambda file: file.attrs.__setitem__("bits", 20),
            r"codes is uint8 of shape \(37, 2\); codes of 20 bits",
        ),
        (
            lambda file: file.__delitem__("labels") or file.__setitem__("labels", ["a"]),
            r"labels is object of shape \(1,\) for 37 codes",
        ),
        (
            lambda file: file.__delitem__("names") or file.__setitem__("names", np.arange(37)),
            r"names is int64 of shape \(37,\)",
        ),
    ],
)
def test_files_that_are_no_index(photos, tmp_path, run, change, message):
    run.encode(photos, tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "a") as file:
        change(file)
    with pytest.raises(UserError, match=f"is not an index of encoded images .*{message}"):
        index_files.load(tmp_path / "c.h5")
    with pytest.raises(UserError, match="nowhere.h5 does not exist; make an index"):
        index_files.load(tmp_path / "nowhere.h5")


def test_json_that_is_nested_too_deep(tmp_path):
    deep = "[" * 100_000
    with pytest.raises(UserError, match="has labels that cannot be read"):
        index_files._labels(deep, "x.h5")
    (tmp_path / parquet.ABOUT).write_text(deep)
    with pytest.raises(UserError, match="is not an index of encoded images as Parquet"):
        parquet.read_about(tmp_path)


def test_codes_from_words_lie_in_one_piece():
    """As Milvus's digest and FAISS want them."""
    codes = np.random.default_rng(0).integers(0, 256, (9, 6), np.uint8)
    packed = parquet.packed(parquet.words(codes), 48)
    assert packed.flags.c_contiguous and (packed == codes).all()


def test_parquet_text_that_is_not_utf8(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as arrow

    (tmp_path / parquet.IMAGES).mkdir()
    about = parquet.About(12, "digits", "dnnh", "short", "0" * 64, "photos", 2, 0)
    parquet.write_about(tmp_path, about)
    for names in (["a", "b"], ["a", "b\xff"]):
        binary = pyarrow.array([name.encode("latin1") for name in names])
        columns = {
            "row": [0, 1],
            "name": binary.view(pyarrow.string()),
            "labels": [["cat"], []],
            "skipped": pyarrow.array([None, None], pyarrow.string()),
            "word_0": [1, 2],
        }
        path = tmp_path / parquet.IMAGES / "part-0.parquet"
        arrow.write_table(pyarrow.table(columns), path)
        if names == ["a", "b"]:
            assert index_files.load(tmp_path).names(slice(0, 2)) == names
    with pytest.raises(UserError, match="is a damaged index of encoded images .*UTF8"):
        index_files.load(tmp_path)


def test_features_without_their_hashing_method(photos, tmp_path, run):
    run.encode(photos, tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "a") as file:
        file.attrs["dataset"] = pretrained.DATASET
    with pytest.raises(UserError, match="a network's features, without their hashing method"):
        index_files.load(tmp_path / "c.h5")
