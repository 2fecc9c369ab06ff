"""Indexes that grow: what is new, changed, gone or removed in their source."""

import csv
import dataclasses
import json
import os
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from dnnh.data import datasets, image_database, sources
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, encoder, prototxt, specs
from dnnh.retrieval import index_claim, index_files, index_update, index_writer, retriever
from dnnh.retrieval.image_index import GONE, PRESENT, REMOVED

SPEC = specs.net_spec("digits", bits=12)
DIGITS = datasets.load("digits").images


def write(path, i):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(DIGITS[i, :, :, 0]).save(path)


def contents(path):
    """Row, state, code and labels of each image, by its name."""
    index = index_files.load(path)
    names, labels = index.names(slice(None)), index.labels(slice(None))
    return {
        name: (row, index.states[row], index.codes[row].tolist(), labels[row])
        for row, name in enumerate(names)
    }


@pytest.fixture
def update(run):
    def update(path, *arguments):
        return run("encode", "--update", "--output", path, *arguments).strip().splitlines()

    return update


def code_of(i, weights):
    net = caffe_encoder.CaffeEncoder(prototxt.deploy_text(SPEC), weights)
    return net.encode(DIGITS[i : i + 1])[0].tolist()


def test_new_changed_and_gone_images(photos, tmp_path, run, update, weights):
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    before, size = contents(path), path.stat().st_mtime_ns
    assert update(path)[0] == f"{path}: nothing is new, changed or gone"
    assert path.stat().st_mtime_ns == size
    write(photos / "class9/new.png", 40)
    write(photos / "class0/03.png", 41)
    (photos / "class1/04.png").unlink()
    (photos / "class1/zero.png").unlink()
    said = update(path)
    assert said == [
        f"{path}: 37 images; 1 new, 1 changed, 1 gone, 0 back",
        f"1 skipped, which could not be read: {path}.skipped.txt",
    ]
    after = contents(path)
    assert after.pop("class9/new.png") == (37, PRESENT, code_of(40, weights), ("class9",))
    assert after["class0/03.png"] == (1, PRESENT, code_of(41, weights), ("class0",))
    row = before["class1/04.png"][0]
    assert after["class1/04.png"] == (row, GONE, *before["class1/04.png"][2:])
    for name in set(before) - {"class0/03.png", "class1/04.png"}:
        assert after[name] == before[name]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.h5", "c.h5.skipped.txt", "photos"]


def test_what_is_gone_is_not_found(photos, tmp_path, run, update):
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    kept = contents(path)
    (photos / "class0/00.png").rename(tmp_path / "elsewhere.png")
    update(path)
    for engine in ("numpy", "flat"):
        with retriever.open_index(path, engine) as opened:
            index = opened.index
            assert len(opened.engine) == 36
            hits = opened.nearest(index.codes[:1], 37)[0]
            assert len(hits) == 36 and "class0/00.png" not in {hit.name for hit in hits}
            assert {hit.row for hit in hits} == set(range(1, 37))
            assert all(kept[hit.name][0] == hit.row for hit in hits)
            hits = opened.within(index.codes[0], 12, 100)
            assert len(hits) == 36 and 0 not in {hit.row for hit in hits}
    (tmp_path / "elsewhere.png").rename(photos / "class0/00.png")
    assert "0 new, 0 changed, 0 gone, 1 back" in update(path)[0]
    assert contents(path) == kept


def test_queries_of_an_index_that_was_updated(photos, tmp_path, run, update):
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    (photos / "class0/00.png").unlink()
    update(path)
    words = ["search", "--index", path, "--queries", path, "-k", 1, "--json", "-"]
    results = json.loads(run.plain(*words))
    assert len(results) == 36 and results[0]["image"] == "class0/03.png"
    assert results[0]["hits"][0]["distance"] == 0


def test_an_image_that_was_removed_stays_so_until_it_changes(photos, tmp_path, run, update):
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    names = ("class0/00.png", "class2/02.png")

    def remove(*names):
        return run.plain("encode", "--output", path, "--remove", *names).strip()

    assert remove(*names) == f"{path}: 35 images; 2 removed"
    assert [contents(path)[name][1] for name in names] == [REMOVED] * 2
    assert remove(*names) == f"{path}: 35 images; 2 removed"  # again
    with pytest.raises(UserError, match="has no image 'class0/01.png'; names are paths in"):
        remove("class1/01.png", "class0/01.png")
    assert contents(path)["class1/01.png"][1] == PRESENT
    assert "nothing is new" in update(path)[0]
    write(photos / "class2/02.png", 2)
    os.utime(photos / "class2/02.png", (5, 5))
    assert "0 new, 0 changed, 0 gone, 1 back" in update(path)[0]
    (photos / "class0/00.png").unlink()
    assert "nothing is new" in update(path)[0]
    assert contents(path)["class0/00.png"][1] == REMOVED


def test_an_image_that_is_gone_can_be_removed(photos, tmp_path, run, update):
    path, image = tmp_path / "c.h5", photos / "class0/00.png"
    run.encode(photos, path)
    image.rename(tmp_path / "away.png")
    update(path)
    run.plain("encode", "--output", path, "--remove", "class0/00.png")
    (tmp_path / "away.png").rename(image)
    assert "nothing is new" in update(path)[0]
    assert contents(path)["class0/00.png"][1] == REMOVED


def test_a_name_as_a_search_shows_it(photos, tmp_path, run):
    path = tmp_path / "c.h5"
    write(photos / "class1/at 1\u202fPM.png", 1)
    run.encode(photos, path)
    run.plain("encode", "--output", path, "--remove", r"class1/at 1\u202fPM.png")
    assert contents(path)["class1/at 1\u202fPM.png"][1] == REMOVED


@pytest.mark.parametrize("stop", [0, 1])
def test_an_update_that_was_interrupted_goes_on(
    photos, tmp_path, run, update, stop, monkeypatch, weights
):
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    for i in range(25):
        write(photos / f"class5/{i}.png", 50 + i)
    shutil.copy(path, tmp_path / "other.h5")
    update(tmp_path / "other.h5")
    outputs, done = encoder.Encoder.outputs, []

    def stopping(net, images):
        done.append(len(images))
        if len(done) > stop:
            raise KeyboardInterrupt
        return outputs(net, images)

    before = path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(encoder.Encoder, "outputs", stopping)
        update(path)
    assert path.read_bytes() == before
    said = update(path)
    assert (said[0] == f"resuming after {10 * stop} images") == (stop > 0)
    assert f"{path}: 62 images; 25 new" in said[-2]
    assert path.read_bytes() == (tmp_path / "other.h5").read_bytes()


def test_a_source_that_changes_while_an_update_is_interrupted(
    photos, tmp_path, run, update, monkeypatch
):
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    for i in range(15):
        write(photos / f"class5/{i:02}.png", 50 + i)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        finish = index_writer.IndexWriter.add

        def stopping(writer, group, outputs):
            finish(writer, group, outputs)
            raise KeyboardInterrupt

        patch.setattr(index_writer.IndexWriter, "add", stopping)
        update(path)
    write(photos / "class4/first.png", 70)
    said = update(path)
    assert "the images have changed since the update was interrupted; it starts again" in said
    assert f"{path}: 53 images; 16 new, 0 changed, 0 gone, 0 back" in said


def test_what_a_finished_update_left_does_not_disturb(photos, tmp_path, run, update, monkeypatch):
    """It was killed after the index was replaced, and before its folder was deleted."""
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    write(photos / "class5/1.png", 50)
    with monkeypatch.context() as patch:
        patch.setattr(index_writer.IndexWriter, "reset", lambda writer: None)
        update(path)
    assert (tmp_path / "c.h5.partial/state.json").exists()
    write(photos / "class5/2.png", 51)
    assert "39 images; 1 new, 0 changed, 0 gone" in update(path)[0]
    assert not (tmp_path / "c.h5.partial").exists()


def test_what_an_earlier_update_left_is_forgotten(photos, tmp_path, run, update, monkeypatch):
    """It was killed; the index changed; the next update is interrupted before its first group."""
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    for i in range(15):
        write(photos / f"class5/{i:02}.png", 50 + i)
    add = index_writer.IndexWriter.add

    def killed(writer, group, outputs):
        add(writer, group, outputs)
        raise KeyboardInterrupt

    def stopped(net, images):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(index_writer.IndexWriter, "add", killed)
        update(path)
    run.plain("encode", "--output", path, "--remove", "class0/00.png")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(encoder.Encoder, "outputs", stopped)
        update(path)
    assert "51 images; 15 new, 0 changed, 0 gone" in update(path)[0]


def test_images_in_another_order_than_their_rows(photos, tmp_path, run, monkeypatch):
    """Each part of the index is read once, whatever the order."""
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    monkeypatch.setattr(index_update, "ROWS", 10)
    items, read = list(sources.items(photos)), []
    index = index_files.load(path)
    stamps = index.stamps
    index.stamps = lambda rows: read.append(rows) or stamps(rows)
    update = index_update.Update(index, path)
    items[3] = dataclasses.replace(items[3], labels=("other",))
    changed = list(update.to_encode(reversed(items), "time"))
    names = ["broken.jpg", "class1/zero.png", items[3].name]
    assert sorted(item.name for item in changed) == sorted(names)
    assert len(read) == 4


def test_a_file_that_vanishes_or_breaks_meanwhile(photos, tmp_path, run, update, monkeypatch):
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    write(photos / "class0/00.png", 9)
    (photos / "class2/02.png").write_bytes(b"no longer an image")
    listed = sources.items

    def vanishing(source):
        items = list(listed(source))
        (photos / "class0/00.png").unlink()
        return iter(items)

    with monkeypatch.context() as patch:
        patch.setattr(sources, "items", vanishing)
        assert "35 images; 0 new, 0 changed, 2 gone, 0 back" in update(path)[0]
    write(photos / "class2/02.png", 2)
    assert "36 images; 0 new, 0 changed, 0 gone, 1 back" in update(path)[0]


def test_a_clock_that_went_back(photos, tmp_path, run, update, weights):
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    write(photos / "class0/00.png", 9)
    os.utime(photos / "class0/00.png", (1, 1))
    assert "0 new, 1 changed, 0 gone" in update(path)[0]
    assert contents(path)["class0/00.png"][2] == code_of(9, weights)


def test_stamps_by_content(photos, tmp_path, run, update):
    by_time, by_content = tmp_path / "t.h5", tmp_path / "c.h5"
    run.encode(photos, by_time)
    run.encode(photos, by_content, "--stamp", "content")
    picture = photos / "class0/00.png"
    status = picture.stat()
    os.utime(picture, (1, 1))
    assert "1 changed" in update(by_time)[0] and "nothing is new" in update(by_content)[0]
    # Other pixels of the same size and time.
    os.utime(picture, ns=(status.st_atime_ns, status.st_mtime_ns))
    update(by_time)
    content = bytearray(picture.read_bytes())
    content[-1] ^= 1
    picture.write_bytes(content)
    os.utime(picture, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert "nothing is new" in update(by_time)[0] and "nothing is new" not in update(by_content)[0]


def test_labels_of_a_table_that_change(photos, tmp_path, run, update):
    table = tmp_path / "list.csv"

    def rows(*lines):
        with table.open("w", newline="") as file:
            csv.writer(file).writerows(lines)

    first, second = "photos/class0/00.png", "photos/class1/01.png"
    rows((first, "a"), (second, "b"), (first, "twice"))
    run.encode(table, tmp_path / "c.h5")
    assert len(index_files.load(tmp_path / "c.h5").codes) == 3
    rows((first, "a"), (second, "c"), (first, "twice"))
    assert "3 images; 0 new, 1 changed, 0 gone" in update(tmp_path / "c.h5")[0]
    index = index_files.load(tmp_path / "c.h5")
    assert index.labels(slice(None)) == [("a",), ("c",), ("twice",)]
    assert "nothing is new" in update(tmp_path / "c.h5")[0]
    rows((first, "a"), (second, "c"), (first, "other"), (second, "d"))
    assert "4 images; 1 new, 1 changed, 0 gone" in update(tmp_path / "c.h5")[0]
    assert index_files.load(tmp_path / "c.h5").labels(slice(2, None)) == [("other",), ("d",)]
    run.plain("encode", "--output", tmp_path / "c.h5", "--remove", first)
    states = index_files.load(tmp_path / "c.h5").states.tolist()
    assert states == [REMOVED, PRESENT, REMOVED, PRESENT]


def test_an_lmdb(tmp_path, run, update):
    def fill(*digits):
        shutil.rmtree(tmp_path / "lmdb", ignore_errors=True)
        image_database.write_images(
            tmp_path / "lmdb", DIGITS[list(digits)], np.arange(len(digits)), {}
        )

    fill(0, 1, 2)
    run.encode(tmp_path / "lmdb", tmp_path / "c.h5")
    assert "nothing is new" in update(tmp_path / "c.h5")[0]
    fill(0, 5, 2, 3)
    assert "4 images; 1 new, 1 changed, 0 gone" in update(tmp_path / "c.h5")[0]


def test_a_source_that_is_not_there_changes_nothing(photos, tmp_path, run, update):
    """As a drive that is not mounted."""
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    before = path.read_bytes()
    photos.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="photos is not a folder"):
        update(path)
    photos.mkdir()
    with pytest.raises(UserError, match="photos has no images now; the index stays as it is"):
        update(path)
    (photos / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"no image of .*c\.h5 is left in .*delete the index"):
        update(path)
    shutil.rmtree(photos)
    (tmp_path / "elsewhere").rename(photos)
    assert path.read_bytes() == before
    assert "nothing is new" in update(path)[-2]
    with pytest.raises(UserError, match="these are all images of"):
        run.plain("encode", "--output", path, "--remove", *contents(path))


@pytest.mark.parametrize("words", (["--update"], ["--remove", "a.png"]))
def test_an_index_that_does_not_exist_leaves_no_folder(tmp_path, run, words):
    with pytest.raises(UserError, match="x.h5 does not exist; make an index"):
        run.plain("encode", "--output", tmp_path / "no/such/x.h5", *words)
    assert not (tmp_path / "no").exists()


def test_one_process_at_a_time(photos, tmp_path, run, update, monkeypatch):
    """An update and a removal at once would each undo the other's."""
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    with index_claim.claimed(path):
        for words in (["--update"], ["--remove", "class0/00.png"]):
            with pytest.raises(UserError, match="another process is writing to .*c.h5.partial"):
                run.plain("encode", "--output", path, *words)
    assert not (tmp_path / "c.h5.partial").exists()
    write(photos / "new.png", 3)
    rows = index_writer.IndexWriter.rows

    def meanwhile(writer):
        path.write_bytes(path.read_bytes() + b"x")
        return rows(writer)

    with monkeypatch.context() as patch:
        patch.setattr(index_writer.IndexWriter, "rows", meanwhile)
        with pytest.raises(UserError, match="was replaced during its update"):
            update(path)


def test_a_folder_that_a_first_encoding_left_does_not_disturb(
    photos, tmp_path, run, update, monkeypatch
):
    path = tmp_path / "c.h5"
    with monkeypatch.context() as patch:
        patch.setattr(index_writer.IndexWriter, "reset", lambda writer: None)
        run.encode(photos, path)
    assert (tmp_path / "c.h5.partial/state.json").exists()
    assert "nothing is new" in update(path)[0]
    assert not (tmp_path / "c.h5.partial").exists()


def test_labels_of_an_image_that_was_removed(photos, tmp_path, run, update):
    table, path = tmp_path / "list.csv", tmp_path / "c.h5"
    table.write_text("photos/class0/00.png,a\nphotos/class1/01.png,b\n")
    run.encode(table, path)
    run.plain("encode", "--output", path, "--remove", "photos/class0/00.png")
    table.write_text("photos/class0/00.png,other\nphotos/class1/01.png,b\n")
    assert "nothing is new" in update(path)[0]
    assert contents(path)["photos/class0/00.png"][1] == REMOVED


def test_an_index_of_an_older_version(photos, tmp_path, run, update):
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    with h5py.File(path, "r+") as file:
        del file["stamps"], file["states"], file.attrs["stamp_kind"]
    assert index_files.load(path).present() is None
    assert index_files.load(path).states.tolist() == [PRESENT] * 37
    with pytest.raises(UserError, match="does not say when its images changed.*--force"):
        update(path)


@pytest.mark.parametrize(
    "name, values, message",
    [
        ("states", np.zeros(36, np.uint8), "states is uint8 of shape .36"),
        ("states", np.zeros(37), "states is float64"),
        ("states", np.full(37, 3, np.uint8), "it has a state 3"),
        ("stamps", np.zeros(37), "stamps is float64"),
        ("stamp_kind", "moon", "its stamps are by 'moon'"),
    ],
)
def test_damaged_states_and_stamps(photos, tmp_path, run, name, values, message):
    path = tmp_path / "c.h5"
    run.encode(photos, path)
    with h5py.File(path, "r+") as file:
        if name == "stamp_kind":
            file.attrs[name] = values
        else:
            del file[name]
            file[name] = values
    with pytest.raises(UserError, match=message):
        index_files.load(path)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--update", "--bits", "8"], "--bits does not go with --update"),
        (["--update", "--stamp", "time"], "--stamp does not go with --update"),
        (["--update", "--engine", "spark"], "--engine spark does not go with --update"),
        (["--remove", "x", "--images", "y"], "--images does not go with --remove"),
        (["--remove", "x"], "does not exist"),
        (["--update", "--images", "."], "does not exist"),
        ([], "name the images with --images"),
    ],
)
def test_options_that_contradict(tmp_path, run, words, message):
    with pytest.raises(UserError, match=message):
        run.plain("encode", "--output", tmp_path / "c.h5", *words)


def test_another_source(photos, tmp_path, run, update):
    run.encode(photos, tmp_path / "c.h5")
    with pytest.raises(UserError, match=r"c\.h5 is of .*photos; leave --images out"):
        update(tmp_path / "c.h5", "--images", tmp_path)
    assert "nothing is new" in update(tmp_path / "c.h5", "--images", photos)[0]
