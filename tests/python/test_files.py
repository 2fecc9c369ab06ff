"""Files that are read within limits. Each test has a file that would take far more."""

import os
import threading

import h5py
import numpy as np
import pytest

from dnnh import files, hdf5_files, limits
from dnnh.errors import UserError


def read(path):
    with hdf5_files.read_hdf5(path, "is not ours", "make it again") as file:
        return file["x"][:]


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("chunks", [None, True])
def test_data_sets_that_are_whole_are_read(tmp_path, compression, chunks):
    values = np.arange(10_000).reshape(100, 100)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=chunks, compression=compression)
        file["empty"] = np.empty((0, 5))
        file["group/text"] = ["a", "b"]
    assert np.array_equal(read(tmp_path / "a.h5"), values)


@pytest.mark.parametrize("chunks", [None, (1 << 20,)])
def test_data_sets_that_were_never_written(tmp_path, chunks):
    """800 GB in a file of 2 KB."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (100_000_000_000,), "f8", chunks=chunks)
    with pytest.raises(UserError, match="a.h5 is not ours .its data set '/x' has 0 bytes and says"):
        read(tmp_path / "a.h5")


def test_values_of_a_data_set_that_was_partly_written(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (10_000_000,), "f8", chunks=(1000,))[:1000] = 1
        file.create_dataset("y", (1_000_000,), "f8", chunks=(1000,), fillvalue=3)[:1000] = 1
    with pytest.raises(UserError, match="has 8,000 bytes and says that it has 80,000,000"):
        read(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:  # few values may have the fill value
        del file["x"]
        file.move("y", "x")
    assert read(tmp_path / "a.h5").sum() == 1000 + 3 * 999_000


def test_what_expands_a_thousandfold(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.zeros(4_000_000), compression="gzip")
    assert len(read(tmp_path / "a.h5")) == 4_000_000
    monkeypatch.setattr(limits, "EXPANDED_BYTES", 1_000_000)
    with pytest.raises(UserError, match="bytes and says that it has 32,000,000"):
        read(tmp_path / "a.h5")


def test_links_to_elsewhere(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.arange(5)
    for kind, link in (
        ("external", h5py.ExternalLink("secret.h5", "/x")),
        ("soft", h5py.SoftLink("/y")),
    ):
        with h5py.File(tmp_path / f"{kind}.h5", "w") as file:
            file["y"] = np.arange(5)
            file["x"] = link
    with pytest.raises(UserError, match="external.h5 is not ours .its member 'x' is a link to an"):
        read(tmp_path / "external.h5")
    assert read(tmp_path / "soft.h5").tolist() == [0, 1, 2, 3, 4]


def test_data_sets_in_other_files(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(range(8)))
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("x", (8,), "u1", external=[(str(tmp_path / "secret"), 0, 8)])
    with h5py.File(tmp_path / "values.h5", "w") as file:
        file["x"] = np.arange(8)
    layout = h5py.VirtualLayout((8,), "i8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "values.h5"), "x", (8,))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    for kind in ("external", "virtual"):
        with pytest.raises(UserError, match="its data set '/x' is kept in another file"):
            read(tmp_path / f"{kind}.h5")


def heap_and_reference(data):
    """Where the heap with the text of an attribute begins, and where it is referred to."""
    heap = data.index(b"GCOL")
    return heap, data.index((8).to_bytes(4, "little") + heap.to_bytes(8, "little"))


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("damage", ["no end", "4 GB", "crash"])
def test_text_that_hdf5_trusts(tmp_path, damage, in_thread):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["source"] = "made up!"
        file["x"] = np.arange(5)
    assert read(tmp_path / "a.h5").tolist() == [0, 1, 2, 3, 4]
    data = bytearray((tmp_path / "a.h5").read_bytes())
    heap, reference = heap_and_reference(data)
    if damage == "no end":
        data[heap + 24 : heap + 40] = bytes(16)  # an object of 0 bytes, and what is free, of 0
        data[heap + 40 : heap + 56] = bytes(16)
    elif damage == "4 GB":
        data[reference : reference + 4] = b"\xff" * 4
    else:
        data[reference + 4 : reference + 12] = (heap + 8).to_bytes(8, "little")
    (tmp_path / "a.h5").write_bytes(data)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    if in_thread:  # then it is no fork that reads first
        thread.start()
    try:
        with pytest.raises(UserError, match="a.h5 is not ours .its text is damaged; reading it"):
            read(tmp_path / "a.h5")
    finally:
        stop.set()


def test_text_that_is_whole(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["source"], file.attrs["empty"] = "made up", ""
        file["names"] = ["", "a", "b" * 100, ""] * 1000
        file.create_dataset("lists", (3,), h5py.vlen_dtype(np.uint8))[1] = [1, 2]
        file["x"] = np.arange(5)
    assert read(tmp_path / "a.h5").tolist() == [0, 1, 2, 3, 4]


def test_groups_without_end(tmp_path):
    with h5py.File(tmp_path / "circle.h5", "w") as file:
        group = file.create_group("group")
        group["again"] = group
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for i in range(limits.HDF5_OBJECTS + 1):
            file.create_group(str(i))
    for kind in ("circle", "many"):
        with pytest.raises(UserError, match="it has more than 1,000 groups and data sets"):
            read(tmp_path / f"{kind}.h5")


@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "folder"])
def test_only_regular_files_are_read(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    os.mkdir("folder")
    for reader in (files.read_regular_file, read, files.read_json):
        with pytest.raises(UserError, match=f"{name} (cannot be read|is not ours)"):
            reader(name)
    with pytest.raises(OSError, match=f"{name} is a pipe or a device|Is a directory"):
        files.sha256(name)


def test_large_files_are_not_read(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(UserError, match="large is larger than 64,000,000 bytes"):
        files.read_regular_file(tmp_path / "large")
    with pytest.raises(UserError, match="large is larger than 4,000,000 bytes"):
        files.read_json(tmp_path / "large")


def test_json_that_is_nested_deeply(tmp_path):
    (tmp_path / "a.json").write_text("[" * 1_000_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        files.read_json(tmp_path / "a.json")


def test_sizes():
    assert files.size_text(0) == "0 bytes"
    assert files.size_text(999_999) == "999,999 bytes"
    assert files.size_text(1_234_567_890) == "1,234.57 MB"


@pytest.mark.parametrize("value", [7, np.int16(7), np.uint64(7), np.float32(7), np.array(7)])
def test_whole_numbers(value):
    assert hdf5_files.whole_number("x", value) == 7


@pytest.mark.parametrize(
    "value",
    ["7", b"7", 7.5, np.nan, np.inf, np.complex64(7), np.array([7]), None, h5py.Empty("i4")],
)
def test_what_is_no_whole_number(value, recwarn):
    with pytest.raises(ValueError, match="x is .*, not a whole number"):
        hdf5_files.whole_number("x", value)
    assert not recwarn.list


def test_names_that_no_file_can_have(tmp_path):
    (tmp_path / "a").touch()
    assert files.is_file(tmp_path / "a")
    assert not files.is_file(tmp_path)
    assert not files.is_file(tmp_path / ("a" * 5000))
    assert not files.is_file(tmp_path / "a\0")
