"""What `caffe train` reads: image and triplet databases, written atomically."""

import io
import json

import caffe
import h5py
import lmdb
import numpy as np
import pytest
from caffe.proto.caffe_pb2 import Datum
from PIL import Image

from dnnh import atomic_files
from dnnh.data import image_database, triplets
from dnnh.errors import UserError

LABELS = np.repeat(np.arange(5), 20)


def records_of(path):
    with (
        lmdb.open(str(path), readonly=True, lock=False) as database,
        database.begin() as transaction,
    ):
        return [(key, Datum.FromString(value)) for key, value in transaction.cursor()]


def read_by_layer(path, images, options=""):
    """What the layer TripletData brings in 20 batches, with the labels."""
    net_path = path.with_suffix(".prototxt")
    net_path.write_text(f"""layer {{ name: "x" type: "TripletData" top: "images"
      top: "labels" param {{ lr_mult: 0 decay_mult: 0 }}
      triplet_data_param {{ source: "{path}" batch_size: 10 {options} }} }}""")
    net = caffe.Net(str(net_path), caffe.TRAIN)
    batches = []
    for _ in range(20):
        net.forward()
        batches.append((net.blobs["images"].data.copy(), net.blobs["labels"].data.copy()))
    return [np.concatenate(parts) for parts in zip(*batches)]


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (100, 6, 5, 3), dtype=np.uint8)


def test_records_are_of_the_rows_that_are_asked_for(tmp_path, images):
    rows = np.array([7, 3, 99])
    image_database.write_images(tmp_path / "db", images, LABELS[rows], {}, rows=rows)
    records = [datum for _, datum in records_of(tmp_path / "db")]
    assert [datum.label for datum in records] == LABELS[rows].tolist()
    for row, datum in zip(rows, records, strict=True):
        planes = np.frombuffer(datum.data, np.uint8).reshape(3, 6, 5)
        assert (planes.transpose(1, 2, 0) == images[row]).all()


def test_records_hold_the_three_images_plane_by_plane(tmp_path, images):
    drawn = triplets.draw_triplets(LABELS, 2500, seed=0)
    image_database.write_materialized_triplets(tmp_path / "db", images, drawn, {"seed": 0})
    records = [datum for _, datum in records_of(tmp_path / "db")]
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
        image_database.write_materialized_triplets(tmp_path / name, images, drawn, {})
    assert (tmp_path / "a/data.mdb").read_bytes() == (tmp_path / "b/data.mdb").read_bytes()


def test_a_failure_leaves_the_old_database_and_nothing_else(tmp_path, images, monkeypatch):
    drawn = triplets.draw_triplets(LABELS, 50, seed=0)
    image_database.write_materialized_triplets(tmp_path / "db", images, drawn, {})
    before = (tmp_path / "db/data.mdb").read_bytes()

    def full(*arguments):
        raise lmdb.DiskError("no space left on device")

    monkeypatch.setattr(image_database, "_append", full)
    with pytest.raises(UserError, match="no space left.*nothing is left"):
        image_database.write_materialized_triplets(tmp_path / "db", images, drawn, {})
    assert [p.name for p in tmp_path.iterdir()] == ["db"]
    assert (tmp_path / "db/data.mdb").read_bytes() == before


def test_a_disk_that_is_too_small_is_seen_beforehand(tmp_path, images, monkeypatch):
    monkeypatch.setattr(
        atomic_files.shutil, "disk_usage", lambda path: type("usage", (), {"free": 1000})
    )
    with pytest.raises(UserError, match="the disk has 1,000 bytes free; make room, ask for less"):
        image_database.write_materialized_triplets(
            tmp_path / "db", images, triplets.draw_triplets(LABELS, 50), {}
        )
    assert not list(tmp_path.iterdir())


def test_another_folder_is_left_alone(tmp_path, images):
    drawn = triplets.draw_triplets(LABELS, 50)
    image_database.write_materialized_triplets(tmp_path / "mine", images, drawn, {})
    (tmp_path / "mine/thesis.tex").write_text("precious")
    with pytest.raises(
        UserError, match="mine exists and is not a database that tools/make_triplets.py has written"
    ):
        image_database.write_materialized_triplets(tmp_path / "mine", images, drawn, {})
    assert (tmp_path / "mine/thesis.tex").read_text() == "precious"


@pytest.mark.parametrize("encoding", ["raw", "png"])
@pytest.mark.parametrize("channels", [1, 3])
def test_image_records(tmp_path, images, encoding, channels):
    images = images[..., :channels]
    image_database.write_images(tmp_path / "db", images, LABELS, {"seed": 0}, encoding)
    records = records_of(tmp_path / "db")
    assert [key for key, _ in records] == [b"%010d" % i for i in range(100)]
    for (_, datum), image, label in zip(records, images, LABELS, strict=True):
        assert (datum.channels, datum.height, datum.width) == (channels, 6, 5)
        assert datum.label == label
        assert datum.encoded == (encoding == "png")
        if encoding == "raw":
            pixels = np.frombuffer(datum.data, np.uint8).reshape(channels, 6, 5)
            pixels = pixels.transpose(1, 2, 0)
        else:
            pixels = np.array(Image.open(io.BytesIO(datum.data))).reshape(6, 5, channels)
        assert (pixels == image).all()
    layout = image_database.read_layout(tmp_path / "db")
    assert layout["images"] == 100 and layout["seed"] == 0


@pytest.mark.parametrize("encoding", image_database.ENCODINGS)
def test_the_layer_reads_what_was_written(tmp_path, images, encoding):
    images[:, 0, 0, 0] = np.arange(100)  # the first byte is the number
    smooth = np.repeat(np.repeat(images, 8, axis=1), 8, axis=2)  # bearable as JPEG
    image_database.write_images(tmp_path / "db", smooth, LABELS, {}, encoding)
    pixels, labels = read_by_layer(tmp_path / "db", smooth)
    distance = np.abs(
        pixels[:, np.newaxis, :, ::8, ::8].astype(int) - smooth[:, ::8, ::8].transpose(0, 3, 1, 2)
    ).mean(axis=(2, 3, 4))
    number = distance.argmin(axis=1)
    assert distance.min(axis=1).max() <= (3 if encoding == "jpeg" else 0)
    assert (labels == LABELS[number]).all()
    assert len(np.unique(number)) == 100


def test_multi_hot_labels(tmp_path, images):
    hot = np.eye(6, dtype=np.uint8)[np.arange(100) % 6]
    hot[::4, 2] = 1  # these have two labels, or one
    images[:, 0, 0, 0] = np.arange(100)
    image_database.write_images(tmp_path / "db", images, hot, {})
    assert list(records_of(tmp_path / "db")[7][1].float_data) == list(hot[7])
    pixels, labels = read_by_layer(tmp_path / "db", images)
    number = pixels[:, 0, 0, 0].astype(int)
    assert (labels == hot[number]).all()
    query, positive, negative = hot[number].reshape(20, 3, 10, 6).swapaxes(0, 1)
    assert (query & positive).any(axis=-1).all()
    assert not (query & negative).any(axis=-1).any()


def test_a_list_lies_beside_the_images(tmp_path, images):
    images[:, 0, 0, 0] = np.arange(100)
    drawn = triplets.draw_triplets(LABELS, 70, seed=0)
    image_database.write_images(tmp_path / "db", images, LABELS, {}, triplets=drawn)
    with h5py.File(tmp_path / "db/triplets.h5") as file:
        assert (file["triplets"][:] == drawn).all()
        assert file.attrs["images"] == 100
    pixels, _ = read_by_layer(tmp_path / "db", images, f'triplet_file: "{tmp_path}/db/triplets.h5"')
    number = pixels[:, 0, 0, 0].reshape(20, 3, 10).swapaxes(1, 2).reshape(200, 3)
    assert (number == drawn[np.arange(200) % 70]).all()
    # Written again without one, the old list is gone.
    image_database.write_images(tmp_path / "db", images, LABELS, {})
    assert not (tmp_path / "db/triplets.h5").exists()


@pytest.mark.parametrize(
    "change, labels, message",
    [
        (lambda i: i[:0], LABELS[:0], "uint8 of shape"),
        (lambda i: i.astype(float), LABELS, "images is float64"),
        (lambda i: i[..., :2], LABELS, "1 or 3 channels"),
        (lambda i: i, LABELS[:-1], "for 100 images"),
        (lambda i: i, LABELS.astype(float), "labels is float64"),
        (lambda i: i, LABELS + (1 << 24), "at most 2"),
        (lambda i: i, np.full((100, 3), 2), "0 and 1"),
    ],
)
def test_images_that_do_not_fit(tmp_path, images, change, labels, message):
    with pytest.raises(UserError, match=message):
        image_database.write_images(tmp_path / "db", change(images), labels, {})
    assert not list(tmp_path.iterdir())


def test_an_image_one_pixel_high(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 1, 6, 3), dtype=np.uint8)
    image_database.write_images(tmp_path / "db", images, np.array([0, 0, 1, 1]), {}, "png")
    pixels, _ = read_by_layer(tmp_path / "db", images)
    written = {image.transpose(2, 0, 1).tobytes() for image in images}
    assert pixels.shape[1:] == (3, 1, 6)
    assert {image.astype(np.uint8).tobytes() for image in pixels} == written
