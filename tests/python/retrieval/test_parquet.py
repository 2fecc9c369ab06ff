"""An index in Parquet files: whole ones, and hostile ones. Spark is not needed to read it."""

import dataclasses
import json

import numpy as np
import pytest

from dnnh import limits
from dnnh.errors import UserError
from dnnh.retrieval import parquet

pyarrow = pytest.importorskip("pyarrow")
from pyarrow import parquet as files  # noqa: E402

BITS = 12
ROWS = {
    "row": [0, 1, 2, 3],
    "name": ["a.png", "b.png", "c.png", "d.png"],
    "labels": [["x"], [], ["x", "y"], ["y"]],
    "skipped": [None, None, "is not a readable image", None],
    "word_0": [5, 6, 0, 4095],
}
SCHEMA = pyarrow.schema(
    {
        "row": pyarrow.int64(),
        "name": pyarrow.string(),
        "labels": pyarrow.list_(pyarrow.string()),
        "skipped": pyarrow.string(),
        "word_0": pyarrow.int64(),
    }
)


def write(folder, schema=SCHEMA, encoded=3, skipped_images=1, **changes):
    (folder / parquet.IMAGES).mkdir(parents=True, exist_ok=True)
    table = pyarrow.table({**ROWS, **changes}, schema=schema)
    files.write_table(table, folder / parquet.IMAGES / "part-0.parquet")
    about = parquet.About(BITS, "digits", "dnnh", "500", "", "photos", encoded, skipped_images)
    parquet.write_about(folder, about)
    return folder


def test_images_in_the_order_of_their_rows(tmp_path):
    index = parquet.load(write(tmp_path, row=[3, 1, 2, 0]))
    assert index.names(slice(None)) == ["d.png", "b.png", "a.png"]
    assert index.labels(np.array([2, 0])) == [("x",), ("y",)]
    assert index.codes.tolist() == [[255, 15], [6, 0], [5, 0]]
    assert index.net.bits == BITS


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"name": ["a.png", None, "c.png", "d.png"]},
            "it has images without a name, stamp or labels",
        ),
        ({"labels": [["x"], None, [], []]}, "it has images without a name, stamp or labels"),
        ({"labels": [["x"], [None], [], []]}, "it has labels without text"),
        ({"word_0": [5, None, 0, 1]}, "its codes are float64, not int64"),
        ({"word_0": [0x7005, 6, 0, 0]}, "codes has ones beyond bit 12"),
        ({"word_0": [1 << 60, 6, 0, 0]}, "its codes have ones beyond bit 12"),
        ({"encoded": 4}, "it has 4 images, about.json 5"),
        ({"encoded": 2, "skipped_images": 2}, "it has 3 codes and should have 2"),
    ],
)
def test_damaged_ones(tmp_path, changes, message):
    with pytest.raises(UserError, match=f"is a damaged index of encoded images .{message}"):
        parquet.load(write(tmp_path, **changes))


def test_names_that_are_numbers(tmp_path):
    schema = SCHEMA.set(1, pyarrow.field("name", pyarrow.int64()))
    with pytest.raises(UserError, match="its texts are name int64, labels list<"):
        parquet.load(write(tmp_path, schema, name=[1, 2, 3, 4]))


def test_rows_that_are_declared(tmp_path, monkeypatch):
    """Equal values take next to nothing: a billion rows in a kilobyte."""
    count = 1_000_000
    columns = {
        "row": [0] * count,
        "name": [""] * count,
        "labels": [[]] * count,
        "skipped": [None] * count,
        "word_0": [0] * count,
    }
    write(tmp_path, encoded=count, skipped_images=0, **columns)
    assert len(parquet.load(tmp_path).codes) == count
    monkeypatch.setattr(limits, "EXPANDED_BYTES", 1_000_000)
    with pytest.raises(UserError, match=r"bytes and say that they have 1,000,000 rows"):
        parquet.load(tmp_path)


def test_long_names_are_counted_before_they_take_memory(tmp_path):
    count = 20_000
    same = pyarrow.DictionaryArray.from_arrays(np.zeros(count, np.int32), ["x" * 100_000])
    columns = {
        "row": range(count),
        "name": same,
        "labels": [[]] * count,
        "skipped": [None] * count,
        "word_0": [0] * count,
    }
    encoded = SCHEMA.set(1, pyarrow.field("name", same.type))
    (tmp_path / parquet.IMAGES).mkdir()
    file = tmp_path / parquet.IMAGES / "part-0.parquet"
    files.write_table(pyarrow.table(columns, schema=encoded), file, store_schema=False)
    about = parquet.About(BITS, "digits", "dnnh", "500", "", "photos", count, 0)
    parquet.write_about(tmp_path, about)
    assert file.stat().st_size < 200_000
    before = pyarrow.default_memory_pool().max_memory()
    with pytest.raises(UserError, match="its names and labels have more than 191,"):
        parquet.load(tmp_path)
    assert pyarrow.default_memory_pool().max_memory() < max(before, 500_000_000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "nonsense",
        "[" * 100_000,
        '{"bits": ' + "9" * 5000 + "}",
        json.dumps({"bits": 12}),
        json.dumps({**dataclasses.asdict(parquet.About(0, "", "", "", "", "", 0, 0))}),
        json.dumps({**dataclasses.asdict(parquet.About(12, "", "", "", "", "", -1, 0))}),
    ],
)
def test_descriptions_that_are_none(tmp_path, text):
    write(tmp_path)
    (tmp_path / parquet.ABOUT).write_text(text)
    with pytest.raises(UserError, match="is not an index of encoded images as Parquet"):
        parquet.load(tmp_path)


def test_text_that_is_decompressed(tmp_path):
    folder = tmp_path / parquet.IMAGES
    folder.mkdir()
    table = pyarrow.table({**ROWS, "name": ["x" * 150_000_000, "b", "c", "d"]}, schema=SCHEMA)
    options = {"compression": "zstd", "use_dictionary": False}
    files.write_table(table, folder / "part-0.parquet", **options)
    parquet.write_about(tmp_path, parquet.About(BITS, "digits", "dnnh", "500", "", "photos", 3, 1))
    with pytest.raises(UserError, match=r"its files have [0-9,]+ bytes, 150,0[0-9,]+ decompressed"):
        parquet.load(tmp_path)


def test_an_index_that_is_replaced_while_it_is_read(tmp_path, monkeypatch):
    """The names of one index never come with the codes of another."""
    write(tmp_path)
    read = parquet._read

    def replacing(folder, about):
        images = read(folder, about)
        if not about.weights:
            parquet.write_about(folder, dataclasses.replace(about, weights="others"))
        return images

    monkeypatch.setattr(parquet, "_read", replacing)
    assert parquet.load(tmp_path).net.weights == "others"
