"""Images one after the other, from folders, tables and LMDBs."""

import os
import pathlib
import subprocess
import sys
import types

import lmdb
import numpy as np
import pytest
from PIL import Image

from dnnh.data import datums, folder, image_database, lmdb_pages, sources
from dnnh.errors import UserError


def picture(path, value, size=(9, 7)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 0)).save(path)


def test_a_folder_in_one_order(tmp_path):
    for i, name in enumerate(
        ("b/y.png", "b/x.png", "a.png", "c/d/z.png", ".hidden.png", ".git/x.png")
    ):
        picture(tmp_path / name, i)
    (tmp_path / "loop").symlink_to(tmp_path)
    *items, loop = sources.items(tmp_path)
    assert [(item.name, item.labels, item.read()[0, 0, 0]) for item in items] == [
        ("a.png", (), 2),
        ("b/x.png", ("b",), 1),
        ("b/y.png", ("b",), 0),
        ("c/d/z.png", ("c",), 3),
    ]
    with pytest.raises(UserError, match="loop cannot be read .Is a directory"):
        loop.read()


def test_a_table(tmp_path):
    picture(tmp_path / "x.png", 5)
    (tmp_path / "t.csv").write_text('x.png\n\nx.png,"a, b",c,c\nnowhere.png,d\n')
    items = list(sources.items(tmp_path / "t.csv"))
    assert [(item.name, item.labels) for item in items] == [
        ("x.png", ("a, b", "c")),
        ("nowhere.png", ("d",)),
    ]
    assert items[0].read()[0, 0, 0] == 5
    with pytest.raises(UserError, match="nowhere.png cannot be read .No such file"):
        items[1].read()


@pytest.mark.parametrize("encoding", ["raw", "png"])
@pytest.mark.parametrize(
    "labels, wanted",
    [
        (np.array([7, 3]), [("7",), ("3",)]),
        (np.array([[1, 0, 1], [0, 1, 0]], np.uint8), [("0", "2"), ("1",)]),
    ],
)
def test_a_database(tmp_path, encoding, labels, wanted):
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    image_database.write_images(tmp_path / "db", images, labels, {}, encoding)
    items = list(sources.items(tmp_path / "db"))
    assert [(item.name, item.labels) for item in items] == list(
        zip(("0000000000", "0000000001"), wanted)
    )
    assert all(np.array_equal(item.read(), image) for item, image in zip(items, images))


def test_a_database_is_read_again_while_a_first_reading_waits(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    image_database.write_images(tmp_path / "db", images, np.arange(3), {})
    reading = sources.items(tmp_path / "db")
    first = next(reading)
    (tmp_path / "link").symlink_to(tmp_path / "db")
    assert len(list(sources.items(tmp_path / "link"))) == 3
    assert np.array_equal(sources.item(tmp_path / "db", first.name, ()).read(), images[0])
    assert len(list(reading)) == 2


def test_a_database_of_nonsense(tmp_path):
    import lmdb

    with lmdb.open(str(tmp_path / "db")) as database, database.begin(write=True) as transaction:
        transaction.put(b"a", b"\xff\xff")
        transaction.put(b"b", b"")
    items = list(sources.items(tmp_path / "db"))
    assert [item.name for item in items] == ["a", "b"]
    for item in items:
        with pytest.raises(UserError, match=f"image '{item.name}' is not a readable image"):
            item.read()
    (tmp_path / "db/data.mdb").write_bytes(b"nonsense" * 1000)
    with pytest.raises(UserError, match="data.mdb is not an LMDB of version 0.9; copy it"):
        list(sources.items(tmp_path / "db"))


@pytest.mark.parametrize(
    "text, message",
    [
        (",x\n", "row 1 has no path"),
        ('a.png,"x\n', "not a CSV file"),
        ("a.png\n\0b\n", "line 2 has a zero byte"),
        ("a.png 3\nb\0.png 4\n", "line 2 has a zero byte"),
    ],
)
def test_a_broken_table(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        list(sources.items(tmp_path / "t.csv"))


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="is not a folder, CSV file or LMDB"):
        sources.items(tmp_path / "x")


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_fitted_to_the_nets(channels):
    image = np.zeros((40, 20, 3), np.uint8)
    image[:20] = 200
    fitted = sources.fitted(image, types.SimpleNamespace(stored_size=8, channels=channels))
    assert fitted.shape == (8, 8, channels) and fitted.dtype == np.uint8
    assert fitted[1, 4, 0] == 200 and fitted[6, 4, 0] == 0


def test_names_that_are_no_text(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(bytes(tmp_path / "photos") + b"/\xff.png", "PNG")
    (item,) = sources.items(tmp_path / "photos")
    assert item.name == "\\udcff.png" and item.name.encode()
    with pytest.raises(UserError, match="has a name that is not text: .*rename it"):
        item.read()


@pytest.mark.parametrize("key", [b"\x00\xc8", b"\x00\x01"])
def test_keys_that_are_no_text(tmp_path, key):
    from caffe.proto.caffe_pb2 import Datum

    datum = Datum(channels=1, height=2, width=2, data=b"abcd", label=3)
    with (
        lmdb.open(str(tmp_path / "lmdb")) as database,
        database.begin(write=True) as transaction,
    ):
        transaction.put(key, datum.SerializeToString())
    (item,) = sources.items(tmp_path / "lmdb")
    again = sources.item(tmp_path / "lmdb", item.name, ("3",))
    assert (again.name, again.labels) == (item.name, item.labels) == ("0x" + key.hex(), ("3",))
    assert np.array_equal(again.read(), item.read())
    for kind in sources.STAMPS:
        assert again.stamp(kind) == item.stamp(kind) != ""
    for name in ("", "0xzz"):
        with pytest.raises(UserError, match=f"lmdb has no image '{name}'"):
            sources.item(tmp_path / "lmdb", name, ()).read()


def test_a_database_that_is_cut_off(tmp_path):
    """Reading it would end the process."""
    with lmdb.open(str(tmp_path / "lmdb"), map_size=10 << 20) as database:
        for i in range(50):
            with database.begin(write=True) as transaction:
                transaction.put(f"{i:08}".encode(), bytes(5000))
    path = tmp_path / "lmdb/data.mdb"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"data.mdb is truncated: it has \d+ bytes"):
        list(sources.items(tmp_path / "lmdb"))


def test_a_database_with_a_damaged_page(tmp_path):
    """Reading it would end the process."""
    with (
        lmdb.open(str(tmp_path / "lmdb"), map_size=10 << 20) as database,
        database.begin(write=True) as transaction,
    ):
        for i in range(50):
            transaction.put(f"{i:08}".encode(), bytes(5000))
    path = tmp_path / "lmdb/data.mdb"
    content = bytearray(path.read_bytes())
    # The number of the page of the first value, in the leaf.
    place = content.index(b"00000000") + 8
    content[place : place + 8] = (1 << 40).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"page \d+ has a value outside of the file; copy it"):
        list(sources.items(tmp_path / "lmdb"))
    with pytest.raises(UserError, match=r"page \d+ has a value outside of the file; copy it"):
        sources.item(tmp_path / "lmdb", "00000001", ()).read()


def convert_imageset_key(i):
    return f"{i:08}_photos/{i}.jpg".encode()


@pytest.mark.parametrize(
    ("key", "color"), [(convert_imageset_key, (7, 8, 9)), ("{:05}".format, (9, 8, 7))]
)
def test_channels_of_convert_imageset_are_blue_first(tmp_path, key, color):
    """Without --encoded. Caffe's program for CIFAR-10 and ours store red first."""
    from caffe.proto.caffe_pb2 import Datum

    planes = b"".join(bytes([value]) * 4 for value in (9, 8, 7))
    with (
        lmdb.open(str(tmp_path / "lmdb")) as database,
        database.begin(write=True) as transaction,
    ):
        name = key(3)
        datum = Datum(channels=3, height=2, width=2, data=planes, label=1)
        transaction.put(
            name if isinstance(name, bytes) else name.encode(), datum.SerializeToString()
        )
    (item,) = sources.items(tmp_path / "lmdb")
    again = sources.item(tmp_path / "lmdb", item.name, ())
    for image in (item.read(), again.read()):
        assert (image == color).all()


def test_links_to_folders(tmp_path):
    """A class folder may be a link, for encoding and for data sets alike; deeper ones are named."""
    for label in ("a", "b", "elsewhere"):
        for i in range(12):
            picture(tmp_path / f"photos/{label}/{i:02}.png", i)
    (tmp_path / "photos/elsewhere").rename(tmp_path / "elsewhere")
    (tmp_path / "photos/c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos/a/deeper").symlink_to(tmp_path / "elsewhere")
    items = list(sources.items(tmp_path / "photos"))
    assert len(items) == 37
    assert [item.labels for item in items].count(("c",)) == 12
    (deeper,) = [item for item in items if item.name == "a/deeper"]
    with pytest.raises(UserError, match="a/deeper cannot be read .Is a directory"):
        deeper.read()
    dataset = folder.prepare_folder(tmp_path / "photos", "pets", 32)
    assert dataset.classes == ("a", "b", "c")
    assert [str(path.relative_to(tmp_path / "photos")) for path in dataset.images.paths] == [
        item.name for item in items
    ]


def test_folders_that_are_nested_deeply(tmp_path, monkeypatch):
    """Deeper than Python's own calls may be."""
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    for _ in range(1200):
        os.mkdir("a")
        os.chdir("a")
    picture(pathlib.Path("x.png"), 1)
    try:
        (item,) = sources.items(tmp_path / "photos")
        assert item.labels == ("a",) and item.name.count("/") == 1200
        assert item.read()[0, 0, 0] == 1
    finally:  # Python cannot remove them
        subprocess.run(["rm", "-rf", tmp_path / "photos"], check=True)


def test_a_datum_of_negative_sizes():
    record = datums.datum(channels=1, height=-1, width=-12, data=bytes(12))
    with pytest.raises(UserError, match="x is not a readable image: 12 bytes for 1 x -1 x -12"):
        datums.pixels(record, "x")


def test_lmdbs_need_caffe(tmp_path, monkeypatch):
    for module in ("caffe", "caffe.proto"):
        monkeypatch.setitem(sys.modules, module, None)
    for read in (lambda: datums.datum(), lambda: lmdb_pages.open_checked(tmp_path)):
        with pytest.raises(UserError, match="LMDBs are read with Caffe, which is not here"):
            read()
