"""Triplets: drawn by the labels, written whole or not at all."""

import json

import lmdb
import numpy as np
import pytest
from caffe.proto.caffe_pb2 import Datum

from dnnh import triplets
from dnnh.errors import UserError

LABELS = np.repeat(np.arange(5), 20)


def test_similar_shares_the_label_and_dissimilar_does_not():
    drawn = triplets.draw_triplets(LABELS, 5000, seed=1)
    query, similar, dissimilar = drawn.T
    assert (LABELS[query] == LABELS[similar]).all()
    assert (query != similar).all()
    assert (LABELS[query] != LABELS[dissimilar]).all()


def test_multi_hot_triplets():
    rng = np.random.default_rng(0)
    hot = (rng.random((60, 6)) < 0.2).astype(np.uint8)
    hot[hot.sum(axis=1) == 0, 0] = 1
    query, similar, dissimilar = triplets.draw_triplets(hot, 3000, seed=1).T
    assert (hot[query] & hot[similar]).any(axis=1).all()
    assert (query != similar).all()
    assert not (hot[query] & hot[dissimilar]).any(axis=1).any()


def test_draws_are_uniform():
    """Chi-square at five standard deviations, over all that may be drawn."""
    drawn = triplets.draw_triplets(LABELS, 40_000, seed=2)
    for column in drawn.T:
        counts = np.bincount(column, minlength=100)
        expected = 40_000 / 100
        chi_square = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi_square - 99) < 5 * np.sqrt(2 * 99)


def test_the_seed_decides():
    first = triplets.draw_triplets(LABELS, 100, seed=3)
    assert (first == triplets.draw_triplets(LABELS, 100, seed=3)).all()
    assert (first != triplets.draw_triplets(LABELS, 100, seed=4)).any()


@pytest.mark.parametrize("labels, message", [
    ([0, 0, 1], "image 2 has no similar image"),
    ([0, 0, 0], "image 0 has no dissimilar image"),
    (np.array([[1, 1], [1, 0], [0, 1], [1, 1]], np.uint8), "no dissimilar"),
    (np.array([[1, 0], [1, 0], [0, 0]], np.uint8), "image 2 has no label"),
])
def test_impossible_labels(labels, message):
    with pytest.raises(UserError, match=message):
        triplets.draw_triplets(np.array(labels), 10)


def test_no_triplets():
    with pytest.raises(UserError, match="0 triplets were asked for"):
        triplets.draw_triplets(LABELS, 0)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (100, 6, 5, 3), dtype=np.uint8)


def test_records_hold_the_three_images_plane_by_plane(tmp_path, images):
    drawn = triplets.draw_triplets(LABELS, 2500, seed=0)
    triplets.write_lmdb(tmp_path / "db", images, drawn, {"seed": 0})
    with lmdb.open(str(tmp_path / "db"), readonly=True, lock=False) as database:
        with database.begin() as transaction:
            records = [Datum.FromString(value) for _, value in transaction.cursor()]
    assert len(records) == 2500
    for row in (0, 1, 999, 1000, 2499):
        datum = records[row]
        assert (datum.channels, datum.height, datum.width) == (9, 6, 5)
        planes = np.frombuffer(datum.data, np.uint8).reshape(3, 3, 6, 5)
        assert (planes.transpose(0, 2, 3, 1) == images[drawn[row]]).all()
    layout = json.loads((tmp_path / "db/layout.json").read_text())
    assert layout["triplets"] == 2500 and layout["seed"] == 0
    assert layout["record"][0] == "query image, 3 x 6 x 5 bytes"


def test_the_same_triplets_give_the_same_bytes(tmp_path, images):
    drawn = triplets.draw_triplets(LABELS, 50, seed=0)
    for name in "ab":
        triplets.write_lmdb(tmp_path / name, images, drawn, {})
    assert (tmp_path / "a/data.mdb").read_bytes() == (
        tmp_path / "b/data.mdb").read_bytes()


def test_a_failure_leaves_the_old_database_and_nothing_else(
        tmp_path, images, monkeypatch):
    drawn = triplets.draw_triplets(LABELS, 50, seed=0)
    triplets.write_lmdb(tmp_path / "db", images, drawn, {})
    before = (tmp_path / "db/data.mdb").read_bytes()

    def full(*arguments):
        raise lmdb.DiskError("no space left on device")
    monkeypatch.setattr(triplets, "_write_records", full)
    with pytest.raises(UserError, match="no space left.*nothing is left"):
        triplets.write_lmdb(tmp_path / "db", images, drawn, {})
    assert [p.name for p in tmp_path.iterdir()] == ["db"]
    assert (tmp_path / "db/data.mdb").read_bytes() == before


def test_a_disk_that_is_too_small_is_seen_beforehand(tmp_path, images, monkeypatch):
    monkeypatch.setattr(triplets.shutil, "disk_usage",
                        lambda path: type("usage", (), {"free": 1000}))
    with pytest.raises(UserError, match="GB free; ask for fewer"):
        triplets.write_lmdb(tmp_path / "db", images,
                            triplets.draw_triplets(LABELS, 50), {})
    assert not list(tmp_path.iterdir())


def test_another_folder_is_left_alone(tmp_path, images):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/layout.json").write_text("{}")
    (tmp_path / "mine/thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="mine is there and no triplet database"):
        triplets.write_lmdb(tmp_path / "mine", images,
                            triplets.draw_triplets(LABELS, 50), {})
    assert (tmp_path / "mine/thesis.tex").read_text() == "precious"
