"""Updates of an index in Parquet files, as far as nothing has to be encoded.

What Spark encodes is in engines/test_spark.py.
"""

import dataclasses
import hashlib

import numpy as np
import pytest

from dnnh.data import sources
from dnnh.errors import UserError
from dnnh.nets.specs import net_spec
from dnnh.retrieval import parquet, parquet_update
from dnnh.retrieval.image_index import GONE, PRESENT, REMOVED

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet as files  # noqa: E402

SPEC = net_spec("digits", bits=12)
NAMES = ["a.png", "b.png", "c.png", "d.png"]


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes(name.encode())
    return folder


@pytest.fixture
def index(source, tmp_path):
    """Of four images, and of two that were skipped, between them and behind them."""
    folder = tmp_path / "index"
    (folder / parquet.IMAGES).mkdir(parents=True)
    items = list(sources.items(source))
    assert [item.name for item in items] == NAMES
    rows = [0, 1, 3, 4, 2, 5]
    table = {
        "row": pyarrow.array(rows, pyarrow.int64()),
        "name": [*NAMES, "broken.png", "empty.png"],
        "labels": pyarrow.array([[]] * 6, pyarrow.list_(pyarrow.string())),
        "stamp": [*(item.stamp("time") for item in items), "", ""],
        "skipped": pyarrow.array([None] * 4 + ["broken", "empty"], pyarrow.string()),
        "word_0": pyarrow.array([5, 6, 7, 8, 0, 0], pyarrow.int64()),
    }
    files.write_table(pyarrow.table(table), folder / parquet.IMAGES / "part-0.parquet")
    weights = hashlib.sha256(b"").hexdigest()
    about = parquet.About(12, "digits", "dnnh", "500", weights, str(source), 4, 2, "time")
    parquet.write_about(folder, about)
    return folder


def no_spark():
    raise AssertionError("nothing is to be encoded")


@pytest.fixture
def update(index, tmp_path):
    weights = tmp_path / "net.caffemodel"
    weights.touch()
    return lambda: parquet_update.update(no_spark, index, SPEC, weights)


def states(index):
    loaded = parquet.load(index)
    assert loaded.names(slice(None)) == NAMES
    assert loaded.codes[:, 0].tolist() == [5, 6, 7, 8]
    return loaded.states.tolist()


def test_images_that_are_gone_or_removed(index, source, update):
    assert update() == ("nothing is new, changed or gone", 0)  # what could not be read is gone
    assert states(index) == [PRESENT] * 4 and not list(index.glob("changes*"))
    assert parquet.read_about(index).updates == 0
    (source / "b.png").rename(source.parent / "b.png")
    assert update()[0] == "3 images; 0 new, 0 changed, 1 gone, 0 back"
    assert states(index) == [PRESENT, GONE, PRESENT, PRESENT]
    assert parquet_update.remove(index, ["c.png"]) == 2
    assert states(index) == [PRESENT, GONE, REMOVED, PRESENT]
    (source.parent / "b.png").rename(source / "b.png")
    assert update()[0] == "3 images; 0 new, 0 changed, 0 gone, 1 back"
    assert states(index) == [PRESENT, PRESENT, REMOVED, PRESENT]
    assert files.read_table(index / "changes-3.parquet")["row"].to_pylist() == [1, 3]
    assert sorted(path.name for path in index.iterdir()) == [
        parquet.ABOUT,
        "changes-2.parquet",  # a search that is running may read it
        "changes-3.parquet",
        parquet.IMAGES,
    ]
    assert not index.with_name("index.partial").exists()


def test_what_cannot_be(index, source, update):
    with pytest.raises(UserError, match=f"{index} has no image 'x.png'; names are paths in"):
        parquet_update.remove(index, ["a.png", "x.png"])
    with pytest.raises(UserError, match=f"these are all images of {index}; delete it instead"):
        parquet_update.remove(index, NAMES)
    for name in NAMES:
        (source / name).unlink()
    with pytest.raises(UserError, match="has no images now; the index stays as it is"):
        update()
    assert states(index) == [PRESENT] * 4
    about = dataclasses.replace(parquet.read_about(index), stamp_kind="")
    parquet.write_about(index, about)
    with pytest.raises(UserError, match="an older version wrote it"):
        update()


def test_an_index_that_is_replaced_meanwhile(index, source, update, monkeypatch):
    (source / "b.png").unlink()
    listed = sources.items

    def replacing(source):
        about = dataclasses.replace(parquet.read_about(index), weights="others")
        parquet.write_about(index, about)
        return listed(source)

    monkeypatch.setattr(sources, "items", replacing)
    with pytest.raises(UserError, match="was replaced during its update; run the same command"):
        update()
    assert parquet.read_about(index).weights == "others" and states(index) == [PRESENT] * 4


def test_other_weights(index, update, tmp_path):
    (tmp_path / "net.caffemodel").write_bytes(b"others")
    with pytest.raises(UserError, match="was encoded with other weights than .*net.caffemodel"):
        update()


def test_what_a_killed_update_left_is_removed(index):
    left = index.with_name("index.partial")
    (left / "encoded/images").mkdir(parents=True)
    (left / "claim").touch()
    parquet_update.remove(index, ["c.png"])
    assert not left.exists()


def test_an_update_that_fails_leaves_the_index_as_it_is(index, source, update, monkeypatch):
    (source / "b.png").unlink()

    def full(folder, about):
        raise OSError("no room")

    with monkeypatch.context() as changed:
        changed.setattr(parquet, "write_about", full)
        with pytest.raises(OSError, match="no room"):
            update()
    assert states(index) == [PRESENT] * 4
    assert update()[0] == "3 images; 0 new, 0 changed, 1 gone, 0 back"
    assert states(index) == [PRESENT, GONE, PRESENT, PRESENT]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": pyarrow.array([3], pyarrow.uint8())}, "has other states than"),
        ({"state": pyarrow.array([0], pyarrow.int64())}, "has other states than"),
        ({"row": pyarrow.array([None], pyarrow.int64())}, "its rows are not all int64"),
        ({"stamp": pyarrow.array([None], pyarrow.string())}, "without a name, stamp or labels"),
    ],
)
def test_damaged_changes(index, changes, reason):
    parquet_update.remove(index, ["c.png"])
    path = index / "changes-1.parquet"
    table = files.read_table(path)
    for name, values in changes.items():
        table = table.set_column(table.column_names.index(name), name, values)
    files.write_table(table, path)
    with pytest.raises(UserError, match=f"is a damaged index .*{reason}"):
        parquet.load(index)


def test_changes_that_are_not_there(index):
    parquet_update.remove(index, ["c.png"])
    (index / "changes-1.parquet").unlink()
    with pytest.raises(UserError, match="is a damaged index"):
        parquet.load(index)
    about = parquet.read_about(index)
    for name in ("../index/changes-1.parquet", "images", "changes-1.parquet/"):
        parquet.write_about(index, dataclasses.replace(about, changes=name))
        with pytest.raises(UserError, match="its changes are '"):
            parquet.read_about(index)


def test_rows_of_new_images_are_behind_the_others(index, source, update, monkeypatch):
    """Behind those of skipped images, too; the ids of engines count without these."""
    (source / "new.png").write_bytes(b"new")

    def encode(spark, job, items, folder, count):
        (item,) = items
        labels = pyarrow.array([item.labels], pyarrow.list_(pyarrow.string()))
        texts = {"name": [item.name], "labels": labels, "stamp": [item.stamp("time")]}
        return parquet_update.Encoded(
            np.array([count]), pyarrow.table(texts), np.array([[9, 0]], np.uint8), ["why"]
        )

    class Session:
        def __enter__(self):
            return None

        def __exit__(self, *raised):
            return None

    monkeypatch.setattr(parquet_update, "_encode", encode)
    monkeypatch.setitem(globals(), "no_spark", Session)
    assert update()[0] == "5 images; 1 new, 0 changed, 0 gone, 0 back"
    assert files.read_table(index / "changes-1.parquet")["row"].to_pylist() == [6]
    loaded = parquet.load(index)
    assert loaded.names([4]) == ["new.png"]
    assert loaded.codes[:, 0].tolist() == [5, 6, 7, 8, 9]
    assert index.with_name("index.skipped.txt").read_text() == "why\n"
    assert update() == ("nothing is new, changed or gone", 0)
    assert not index.with_name("index.skipped.txt").exists()
