"""Images become an index, also after interruptions."""

import dataclasses
import fcntl
import json
import os
import shutil

import numpy as np
import pytest

from dnnh import atomic_files, files
from dnnh.data import datasets, image_database, sources
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, encoder, prototxt, specs
from dnnh.nets.net_info import NetInfo
from dnnh.retrieval import image_groups, index_claim, index_files, index_writer

SPEC = specs.net_spec("digits", bits=12)
DIGITS = datasets.load("digits").images


def order():
    """Which digits, in the order of the folder."""
    return sorted(range(37), key=lambda i: (i % 3, i))


def test_a_folder_becomes_an_index(photos, tmp_path, run, weights):
    printed = run.encode(photos, tmp_path / "c.h5")
    assert "37 images, 12 bits each; 2 skipped, which could not be read" in printed
    index = index_files.load(tmp_path / "c.h5")
    net = caffe_encoder.CaffeEncoder(prototxt.deploy_text(SPEC), weights)
    assert np.array_equal(index.codes, net.encode(DIGITS[order()]))
    assert index.names(slice(0, 2)) == ["class0/00.png", "class0/03.png"]
    assert index.labels(36) == [("class2",)]
    assert index.net == NetInfo(12, "digits", "dnnh", SPEC.schedule, files.sha256(weights))
    assert index.source == str(photos)
    assert (tmp_path / "c.h5.skipped.txt").read_text().count("is not a readable image") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "c.h5",
        "c.h5.skipped.txt",
        "photos",
    ]
    with pytest.raises(UserError, match="c.h5 exists already; --force replaces it"):
        run.encode(photos, tmp_path / "c.h5")
    run.encode(photos, tmp_path / "c.h5", "--force")


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_an_index_that_was_resumed_is_the_same_to_the_byte(
    photos, tmp_path, run, stop, monkeypatch
):
    run.encode(photos, tmp_path / "whole.h5")
    outputs, done = encoder.Encoder.outputs, []

    def stopping(net, images):
        done.append(len(images))
        if len(done) > stop:
            raise KeyboardInterrupt
        return outputs(net, images)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(encoder.Encoder, "outputs", stopping)
        run.encode(photos, tmp_path / "c.h5")
    assert not (tmp_path / "c.h5").exists()
    # Killed while it wrote: a part of a group is behind what is complete.
    with (tmp_path / "c.h5.partial/codes").open("ab") as file:
        file.write(b"xyz")
    printed = run.encode(photos, tmp_path / "c.h5")
    assert (f"resuming after {10 * stop} images" in printed) == (stop > 0)
    assert (tmp_path / "c.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_an_index_that_was_interrupted_twice(photos, tmp_path, run, monkeypatch):
    """What was cut off behind the complete part is forgotten, where the next group adds nothing."""
    run.encode(photos, tmp_path / "whole.h5")
    outputs = encoder.Encoder.outputs
    for cut_off in ("a part of a sentence\n", ""):
        calls = iter(range(2))

        def stopping(net, images, calls=calls):
            if next(calls):
                raise KeyboardInterrupt
            return outputs(net, images)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(encoder.Encoder, "outputs", stopping)
            run.encode(photos, tmp_path / "c.h5")
        with (tmp_path / "c.h5.partial/skipped").open("a") as file:
            file.write(cut_off)
    assert "resuming after 20 images" in run.encode(photos, tmp_path / "c.h5")
    assert (tmp_path / "c.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_what_the_state_counts_is_on_the_disk_first(photos, tmp_path, run, monkeypatch):
    fsync, synced = os.fsync, []

    def noted(file):
        synced.append(os.path.basename(os.readlink(f"/proc/self/fd/{file}")))
        fsync(file)

    monkeypatch.setattr(os, "fsync", noted)
    run.encode(photos, tmp_path / "c.h5")
    groups = 4 * [*index_writer.FILES, "state.json"]
    assert synced[: len(groups)] == groups  # then the index itself


def test_what_cannot_be_resumed(photos, tmp_path, run, weights):
    state = tmp_path / "c.h5.partial/state.json"

    def begun(**changes):
        state.parent.mkdir(exist_ok=True)
        (state.parent / index_claim.CLAIM).write_text(index_claim.MARK)
        for name in index_writer.FILES:
            (state.parent / name).touch()
        empty = dataclasses.asdict(index_writer.State(about={}))
        state.write_text(json.dumps({**empty, **changes}))

    begun(about={"bits": 48})
    with pytest.raises(UserError, match="is of another net or other images"):
        run.encode(photos, tmp_path / "c.h5")
    state.write_text("nonsense")
    with pytest.raises(UserError, match="state.json cannot be read .*delete"):
        run.encode(photos, tmp_path / "c.h5")
    about = {
        "bits": 12,
        "dataset": "digits",
        "method": "dnnh",
        "schedule": SPEC.schedule,
        "weights": files.sha256(weights),
        "source": str(photos.resolve()),
        "stamp_kind": "time",
    }
    begun(about=about, complete={"codes": 20, "entries": 0, "skipped": 0})
    with pytest.raises(UserError, match="'codes' has 0 bytes, not 20.; delete"):
        run.encode(photos, tmp_path / "c.h5")
    begun(about=about, complete={"codes": 0})
    with pytest.raises(UserError, match=r"other files\); delete"):
        run.encode(photos, tmp_path / "c.h5")
    begun(about=about, complete={"codes": 0, "entries": 0, "skipped": 0.5})
    with pytest.raises(UserError, match="'skipped' has 0 bytes, not 0.5.; delete"):
        run.encode(photos, tmp_path / "c.h5")
    begun(about=about, encoded="x")
    with pytest.raises(UserError, match="other entries"):
        run.encode(photos, tmp_path / "c.h5")
    for counts in ({"seen": 1}, {"encoded": 2, "skipped": -2}, {"skipped": 10**400}):
        begun(about=about, **counts)
        with pytest.raises(UserError, match="state.json .*are encoded.*delete"):
            run.encode(photos, tmp_path / "c.h5")
    begun(about=about, seen=10**400, encoded=10**400)
    with pytest.raises(UserError, match="state.json .*0 codes have 0 bytes.*delete"):
        run.encode(photos, tmp_path / "c.h5")
    begun(about=about, seen=50, skipped=50, digest="of others")
    with pytest.raises(UserError, match="has other images or labels than .*among the first 50"):
        run.encode(photos, tmp_path / "c.h5")
    begun(about=about)
    with (state.parent / "claim").open("w") as claim:
        fcntl.flock(claim, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is writing to .*c.h5.partial"):
            run.encode(photos, tmp_path / "c.h5")


def test_places_that_cannot_be_written_to(photos, tmp_path, run):
    with pytest.raises(UserError, match="lies in --images .*photos, and would be taken"):
        run.encode(photos, photos / "c.h5")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder is of the other kind"):
        run.encode(photos, tmp_path / "folder", "--force")
    (tmp_path / "folder/thesis.tex").touch()
    with pytest.raises(UserError, match="folder is not an index of encoded images as Parquet"):
        run.encode(photos, tmp_path / "folder", "--force", "--engine", "spark")
    assert (tmp_path / "folder/thesis.tex").exists()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is of the other kind"):
        run.encode(photos, tmp_path / "file", "--force", "--engine", "spark")


def test_an_old_list_of_skipped_images_is_deleted(photos, tmp_path, run):
    run.encode(photos, tmp_path / "c.h5")
    (photos / "broken.jpg").unlink()
    (photos / "class1/zero.png").unlink()
    run.encode(photos, tmp_path / "c.h5", "--force")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.h5", "photos"]


def test_the_expected_file_size_is_about_the_real_one(tmp_path, monkeypatch):
    expected, write = [], atomic_files.write_hdf5_atomically
    monkeypatch.setattr(
        atomic_files,
        "write_hdf5_atomically",
        lambda path, size: expected.append(size) or write(path, size),
    )
    net = NetInfo(12, "digits", "dnnh", SPEC.schedule, "")
    blank = np.zeros((8, 8, 3), np.uint8)
    for length in (1, 10, 200):
        path = tmp_path / f"{length}.h5"
        writer = index_writer.IndexWriter(path, net, "")
        items = [sources.Item(f"{i:0{length}}", ("a",), lambda: blank) for i in range(20_000)]
        for group in image_groups.read_groups(items, SPEC.config.input):
            writer.add(group, lambda images: np.zeros((len(images), 12)))
        writer.finish()
        assert path.stat().st_size < expected[-1] < 2 * path.stat().st_size + 1_000_000


def test_no_image_at_all(tmp_path, run):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty has no image that can be read"):
        run.encode(tmp_path / "empty", tmp_path / "c.h5")
    (tmp_path / "empty/x.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="can be read; the first: .*x.jpg is not a readable"):
        run.encode(tmp_path / "empty", tmp_path / "c.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize("damage", ["nonsense\n", "5\n", "[1, 2]\n", '["a"]\n', ""])
def test_entries_that_were_damaged(photos, tmp_path, run, monkeypatch, damage):
    finish = index_writer.IndexWriter.finish

    def damaged(writer):
        path = writer.folder / "entries"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[:3]) + damage + "".join(lines[4:]))
        return finish(writer)

    monkeypatch.setattr(index_writer.IndexWriter, "finish", damaged)
    with pytest.raises(
        UserError, match=r"entries is damaged in line \d+ .*; delete .*to start again"
    ):
        run.encode(photos, tmp_path / "c.h5")
    assert not (tmp_path / "c.h5").exists()


def test_the_output_may_not_be_the_weights(photos, tmp_path, run, weights):
    before = weights.read_bytes()
    with pytest.raises(UserError, match="would be written over what is read"):
        run.encode(photos, weights, "--force")
    assert weights.read_bytes() == before


def test_a_source_whose_name_is_no_text(tmp_path, run, photos):
    """It is said at the start, not when the index is written."""
    folder = bytes(tmp_path) + b"/\xff"
    os.rename(photos, folder)
    with pytest.raises(UserError, match=r"\\udcff has a name that is not text in UTF-8; rename it"):
        run.encode(os.fsdecode(folder), tmp_path / "c.h5")
    assert not list(tmp_path.glob("c.h5*"))


def interrupt_after(monkeypatch, groups):
    outputs, done = encoder.Encoder.outputs, []

    def stopping(net, images):
        done.append(len(images))
        if len(done) > groups:
            raise KeyboardInterrupt
        return outputs(net, images)

    monkeypatch.setattr(encoder.Encoder, "outputs", stopping)


def replace_an_image(photos):
    shutil.copy(photos / "class1/16.png", photos / "class0/00.png")


def rename_an_image(photos):
    (photos / "class0/00.png").rename(photos / "class0/00x.png")


def change_nothing(photos):
    pass


@pytest.mark.parametrize("change", [replace_an_image, rename_an_image, change_nothing])
def test_images_that_changed_meanwhile(photos, tmp_path, run, monkeypatch, change):
    """Codes of the old ones were mixed with those of the new."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(patch, 2)
        run.encode(photos, tmp_path / "c.h5")
    change(photos)
    if change is change_nothing:
        run.encode(photos, tmp_path / "c.h5")
    else:
        with pytest.raises(UserError, match="has other images or labels than when"):
            run.encode(photos, tmp_path / "c.h5")


def test_labels_and_records_that_changed_meanwhile(photos, tmp_path, run, monkeypatch):
    rows = [f"photos/class{i % 3}/{i:02}.png" for i in range(37)]
    table = tmp_path / "t.csv"
    table.write_text("".join(f"{row},cat\n" for row in rows))
    database, labels = tmp_path / "db", np.zeros(37, np.int64)
    images = np.random.default_rng(0).integers(0, 256, (37, 8, 8, 1), dtype=np.uint8)
    image_database.write_images(database, images, labels, {})
    for source, output in ((table, "c.h5"), (database, "d.h5")):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt_after(patch, 2)
            run.encode(source, tmp_path / output)
    table.write_text("".join(f"{row},tiger\n" for row in rows))
    images[3, 0, 0, 0] ^= 1
    image_database.write_images(database, images, labels, {})
    for source, output in ((table, "c.h5"), (database, "d.h5")):
        with pytest.raises(UserError, match="has other images or labels than when"):
            run.encode(source, tmp_path / output)


def test_a_folder_of_others_is_left_alone(photos, tmp_path, run):
    folder = tmp_path / "c.h5.partial"
    folder.mkdir()
    for name in ("claim", *index_writer.FILES):
        (folder / name).write_text(f"my own {name}")
    with pytest.raises(UserError, match=r"c.h5.partial would be written to, and has other files"):
        run.encode(photos, tmp_path / "c.h5")
    assert (folder / "codes").read_text() == "my own codes" and len(list(folder.iterdir())) == 4
    with pytest.raises(UserError, match="has other files"):
        run.encode(folder, tmp_path / "c.h5")


def test_who_may_read_an_index_stays(photos, tmp_path, run):
    run.encode(photos, tmp_path / "c.h5")
    (tmp_path / "c.h5").chmod(0o600)
    run.encode(photos, tmp_path / "c.h5", "--force")
    assert (tmp_path / "c.h5").stat().st_mode & 0o777 == 0o600


def test_a_link_to_itself_is_skipped(photos, tmp_path, run):
    (photos / "loop").symlink_to("loop")
    assert "37 images, 12 bits each; 3 skipped" in run.encode(photos, tmp_path / "c.h5")


def test_sizes_of_zero_are_no_defaults(photos, tmp_path, run):
    words = ["encode", "--images", photos, "--output", tmp_path / "c.h5", "--net"]
    with pytest.raises(UserError, match="images of 0 pixels a side"):
        run.plain(*words, "efficientnet_lite0", "--size", 0)
    with pytest.raises(SystemExit):
        run.plain("encode", "--images", "", "--output", tmp_path / "c.h5")
    assert "an empty path" in run.stderr()
