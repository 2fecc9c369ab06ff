"""A user's own images, in folders or by a table; and hostile ones."""

import importlib
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from dnnh import atomic_files, paths
from dnnh.data import datasets, folder, image_database, image_files, sources, splits
from dnnh.errors import UserError
from dnnh.nets import prototxt, specs

RNG = np.random.default_rng(0)


def picture(path, size=(40, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = RNG.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    Image.fromarray(pixels.squeeze(), mode).save(path)
    return path


def photos(root, count=12):
    """Two classes, of several formats, sizes and colours."""
    kinds = [
        ("a.jpg", "RGB"),
        ("b.png", "RGBA"),
        ("c.bmp", "RGB"),
        ("d.gif", "L"),
        ("e.tiff", "CMYK"),
        ("f.webp", "RGB"),
    ]
    for i in range(count):
        name, mode = kinds[i % len(kinds)]
        picture(root / "cats" / "deeper" / f"{i:02}{name}", (20 + i, 50), mode)
        picture(root / "dogs" / f"{i:02}{name}", (64, 64), mode)
    (root / "dogs" / ".hidden").write_text("x")
    (root / "stray.txt").write_text("not in a class folder")
    return root


def test_class_folders(tmp_path, home):
    dataset = folder.prepare_folder(photos(tmp_path / "photos"), "pets", 32)
    assert dataset.classes == ("cats", "dogs") and dataset.images.shape == (24, 32, 32, 3)
    picture(tmp_path / "photos/cats/.thumbnails/x.png")
    assert len(folder.prepare_folder(tmp_path / "photos", "pets", 32).images) == len(dataset.images)
    # Images that are encoded have the same labels.
    assert {item.labels for item in sources.items(tmp_path / "photos") if item.labels} == {
        ("cats",),
        ("dogs",),
    }
    (tmp_path / "photos/cats/deeper/00a.jpg").write_bytes(b"broken")
    (skipped,) = datasets.save(dataset)
    assert "00a.jpg is not a readable image" in skipped
    loaded = datasets.load("pets")
    assert loaded.source == "photos, resized to 32x32"
    assert np.bincount(loaded.labels).tolist() == [11, 12]
    assert loaded.images[5:7].shape == (2, 32, 32, 3) and datasets.image_side("pets") == 32


def test_a_table_with_one_label_or_several(tmp_path, home):
    for i in range(4):
        picture(tmp_path / f"images/{i}.png")
    table = tmp_path / "table.csv"
    table.write_text(
        "\ufeffimages/0.png,cat\r\n\r\nimages/1.png, dog\r\nimages/2.png,cat\r\n", "utf-8"
    )
    dataset = folder.prepare_folder(table, "pets", 256)
    assert dataset.labels.tolist() == [0, 1, 0] and dataset.classes == ("cat", "dog")
    table.write_text('images/0.png,cat,"big, grey"\nimages/1.png,dog\nimages/3.png,dog,dog,\n')
    dataset = folder.prepare_folder(table, "pets", 256)
    assert dataset.classes == ("big, grey", "cat", "dog")
    assert dataset.labels.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert datasets.save(dataset) == [] and len(datasets.load("pets").images) == 3


def test_the_same_image_twice_comes_once(tmp_path, home):
    """Or it could be a query and trained on."""
    photos(tmp_path / "photos")
    data = (tmp_path / "photos/cats/deeper/00a.jpg").read_bytes()
    for name in ("cats/copy.jpg", "dogs/copy.jpg"):
        (tmp_path / "photos" / name).write_bytes(data)
    skipped = datasets.save(folder.prepare_folder(tmp_path / "photos", "pets", 32))
    assert len(skipped) == 2 and all("is the same image as" in text for text in skipped)
    assert [text.endswith("which has other labels") for text in skipped] == [False, True]
    assert len(datasets.load("pets").images) == 24


def test_a_row_that_names_the_columns(tmp_path):
    photos(tmp_path)
    rows = "dogs/00a.jpg,a\ndogs/01b.png,b\n"
    for header in ("path,label", "image.path,label", "file name,class.name", "a" * 300):
        (tmp_path / "t.csv").write_text(f"{header}\n{rows}")
        dataset = folder.prepare_folder(tmp_path / "t.csv", "pets", 32)
        assert dataset.classes == ("a", "b") and len(dataset.images) == 2
    # An image that is missing is no header.
    (tmp_path / "t.csv").write_text(f"missing.jpg,a\n{rows}")
    assert len(folder.prepare_folder(tmp_path / "t.csv", "pets", 32).images) == 3


def test_a_row_for_each_label(tmp_path):
    photos(tmp_path)
    rows = ["dogs/00a.jpg,dog", "dogs/01b.png,dog", "dogs/00a.jpg,pet", "dogs/00a.jpg,dog"]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    dataset = folder.prepare_folder(tmp_path / "t.csv", "pets", 32)
    assert dataset.classes == ("dog", "pet")
    assert [path.name for path in dataset.images.paths] == ["00a.jpg", "01b.png"]
    assert dataset.labels.tolist() == [[1, 1], [1, 0]]


def test_a_list_as_caffe_has_it(tmp_path):
    """For its ImageData layer and convert_imageset: a path, a space and a number."""
    photos(tmp_path)
    shutil.copy(tmp_path / "dogs/00a.jpg", tmp_path / "dogs/a b 7")
    (tmp_path / "list.txt").write_text("dogs/00a.jpg 3\ndogs/01b.png 12\ndogs/a b 7 3\n")
    dataset = folder.prepare_folder(tmp_path / "list.txt", "pets", 32)
    assert dataset.classes == ("12", "3")
    assert [path.name for path in dataset.images.paths] == ["00a.jpg", "01b.png", "a b 7"]
    # A file whose name ends with a number is not mistaken for a list.
    (tmp_path / "t.csv").write_text("dogs/a b 7,x\ndogs/00a.jpg,y\n")
    dataset = folder.prepare_folder(tmp_path / "t.csv", "pets", 32)
    assert dataset.classes == ("x", "y")


def test_folders_that_are_splits(tmp_path):
    """As torchvision's data sets have them: the folders in them are the classes."""
    photos(tmp_path / "photos")
    (tmp_path / "photos").rename(tmp_path / "train")
    photos(tmp_path / "Val")
    (tmp_path / "both").mkdir()
    (tmp_path / "train").rename(tmp_path / "both/train")
    (tmp_path / "Val").rename(tmp_path / "both/Val")
    dataset = folder.prepare_folder(tmp_path / "both", "pets", 32)
    assert dataset.classes == ("cats", "dogs") and len(dataset.images) == 48
    labels = [item.labels for item in sources.items(tmp_path / "both")]
    assert labels.count(("cats",)) == labels.count(("dogs",)) == 24
    (tmp_path / "both/unlabeled").mkdir()
    for read in (
        lambda path: folder.prepare_folder(path, "pets", 32),
        lambda path: [*sources.items(path)],
    ):
        with pytest.raises(UserError, match="has splits with classes in them .* and 'unlabeled'"):
            read(tmp_path / "both")
    # Beside another class, one train is a train; and splits without classes are classes.
    shutil.rmtree(tmp_path / "both/Val")
    (tmp_path / "both/unlabeled").rename(tmp_path / "both/ship")
    picture(tmp_path / "both/ship/a.png")
    assert folder.prepare_folder(tmp_path / "both", "pets", 32).classes == ("ship", "train")
    for name in ("test", "valid"):
        picture(tmp_path / f"split/{name}/a.png")
    assert folder.prepare_folder(tmp_path / "split", "pets", 32).classes == ("test", "valid")


def test_images_in_no_class_folder_are_counted(tmp_path, capsys):
    photos(tmp_path / "photos")
    for i in range(3):
        picture(tmp_path / f"photos/{i}.png")
    folder.prepare_folder(tmp_path / "photos", "pets", 32)
    assert "3 images of " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,cat,dog\ndogs/00a.jpg,1,0\ndogs/01b.png,0,1\n", "has columns of 0 and 1; write"),
        ("dogs/00a.jpg,1,0,1\ndogs/01b.png,0,0,0\n", "has columns of 0 and 1"),  # no label
        ('dogs/00a.jpg,"cat\ndogs/01b.png,cat"\n', "row 1 has a cell of several lines"),
        ("dogs/00a.jpg 0 1 0\ndogs/01b.png 1 0 0\n", "line 1 has several numbers"),
        ("dogs/00a.jpg 0\ndogs/01b.png\n", "line 2 is 'dogs/01b.png', not a path and a number"),
        (",path,label\n0,dogs/00a.jpg,a\n", "row 1 has no path .* paths are in the first column"),
    ],
)
def test_tables_that_are_no_such_thing(tmp_path, text, message):
    photos(tmp_path)
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        folder.prepare_folder(tmp_path / "t.csv", "pets", 32)


def test_names_in_both_forms_of_unicode(tmp_path):
    """macOS decomposes letters in names of files."""
    for i, name in enumerate(("caf\u00e9", "cafe\u0301", "tea")):
        picture(tmp_path / f"split/{'train' if i % 2 else 'val'}/{name}/a.png")
    assert folder.prepare_folder(tmp_path / "split", "pets", 32).classes == ("caf\u00e9", "tea")


@pytest.mark.parametrize(
    "name", ["__MACOSX/cats/._a.jpg", "cats/@eaDir/a.jpg", "cats/Thumbs.db", "$RECYCLE.BIN/a.jpg"]
)
def test_what_other_programs_leave_is_passed_over(tmp_path, name):
    photos(tmp_path / "photos")
    before = [item.name for item in sources.items(tmp_path / "photos")]
    path = tmp_path / "photos" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(tmp_path / "photos/cats/deeper/00a.jpg", path)
    assert [item.name for item in sources.items(tmp_path / "photos")] == before
    dataset = folder.prepare_folder(tmp_path / "photos", "pets", 32)
    assert dataset.classes == ("cats", "dogs") and len(dataset.images) == 24


def test_pipes_and_devices_are_not_waited_for(tmp_path, home):
    import os

    photos(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "t.csv").write_text("dogs/00a.jpg,a\ndogs/01b.png,b\npipe.png,a\n/dev/tty,b\n")
    skipped = datasets.save(folder.prepare_folder(tmp_path / "t.csv", "pets", 32))
    assert len(skipped) == 2 and all("cannot be read" in text for text in skipped)
    with pytest.raises(UserError, match="neither a folder nor a file"):
        folder.prepare_folder(tmp_path / "pipe.png", "pets", 32)


def test_colours_of_every_kind(tmp_path):
    """16 bits keep their range, and what is transparent becomes white."""
    grey = np.arange(0, 60_000, 600, dtype=np.uint16).reshape(10, 10)
    Image.fromarray(grey).save(tmp_path / "g.png")
    image = image_files.decode_image((tmp_path / "g.png").read_bytes(), "g")
    assert np.abs(image[..., 0].astype(int) - grey // 257).max() <= 1
    for brightest, expected in ((255, 0), (256, 0), (4095, 15), (65535, 255)):  # the same scale
        Image.fromarray(np.full((4, 4), brightest, np.uint16)).save(tmp_path / "d.png")
        image = image_files.decode_image((tmp_path / "d.png").read_bytes(), "d")
        assert image.max() == expected
        pgm = b"P5 1 1 65535\n" + brightest.to_bytes(2, "big")
        assert image_files.decode_image(pgm, "p").max() == expected
    Image.fromarray(np.full((4, 4), 200, np.int32)).save(tmp_path / "i.tiff")  # 8 bits in 32
    image = image_files.decode_image((tmp_path / "i.tiff").read_bytes(), "i")
    assert image.max() == 200
    hidden = np.zeros((4, 4, 4), np.uint8)
    hidden[..., 0], hidden[:, :2, 3] = 200, 255
    Image.fromarray(hidden).save(tmp_path / "h.png")
    image = image_files.decode_image((tmp_path / "h.png").read_bytes(), "h")
    assert image[0, 0].tolist() == [200, 0, 0] and image[0, 3].tolist() == [255, 255, 255]
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "f.tiff")
    with pytest.raises(UserError, match="f is not a readable image: its values are fractions"):
        image_files.decode_image((tmp_path / "f.tiff").read_bytes(), "f")


@pytest.mark.parametrize(
    "name, message",
    [
        ("mnist", "'mnist' is the name of another data set"),
        ("my_photos", "take small letters"),
        ("../x", "take small letters"),
        ("", "take small letters"),
        ("Pets", "small letters"),
    ],
)
def test_names(tmp_path, name, message):
    with pytest.raises(UserError, match=message):
        folder.prepare_folder(tmp_path, name, 32)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: path.mkdir(), "has no folder with images"),
        (lambda path: (path / "a").mkdir(parents=True), "has no folder with images"),
        (lambda path: picture(path / "a/x.png"), "has images of 1 classes; from 2 to 10,000"),
        (lambda path: path.write_text(""), "is empty; a path and at least one label"),
        (
            lambda path: path.write_text("a.png\n"),
            "row 1 has no label for a.png; a path and at least",
        ),
        (lambda path: path.write_text("a.png,x\n,y\n"), "row 2 has no path"),
        (lambda path: path.write_text("x" * 1_000_001), "has a line of 1,000,000 letters"),
        (lambda path: path.write_text('a.png,"x\n'), "is not a CSV file that can be read"),
        (
            lambda path: path.write_bytes(b"\xff\xfe\x00a"),
            "not a CSV file in UTF-8 .*give its folder",
        ),
        (
            lambda path: picture(path / "a/x.png") and (path / "all").symlink_to("."),
            "all is a link to .*, which it lies in; remove it",
        ),
        (
            lambda path: picture(path / "caf\udce9/x.png") and picture(path / "b/x.png"),
            r"'caf.udce9' is not a name that can be written",
        ),
        (lambda path: None, "is neither a folder nor a file"),
    ],
)
def test_what_is_no_collection(tmp_path, make, message):
    make(tmp_path / "x")
    with pytest.raises(UserError, match=message):
        folder.prepare_folder(tmp_path / "x", "pets", 32)


def test_a_size_that_there_is_no_net_for(tmp_path):
    with pytest.raises(UserError, match="size 64: there are nets for 32 and 256"):
        folder.prepare_folder(tmp_path, "pets", 64)


def test_splits_and_nets_of_ones_own(tmp_path, home):
    datasets.save(folder.prepare_folder(photos(tmp_path / "photos"), "pets", 32))
    split = splits.make_split(datasets.load("pets"))
    assert [len(part) for part in (split.queries, split.training, split.database)] == [2, 12, 22]
    spec = specs.net_spec("pets", "dnnh_two_towers", 16)
    assert spec.name == "pets_dnnh_two_towers_16bit"
    assert spec.config is specs.net_spec("cifar10", "dnnh_two_towers").config
    train_test = prototxt.texts(spec)[spec.files["train_test"]]
    # Fewer images than a batch has may be held out.
    held_out = specs.net_spec("pets", "dnnh", 16, split="validation")
    assert not held_out.has_held_out_loss
    assert "TEST" not in prototxt.texts(held_out)[held_out.files["train_test"]]
    assert 'source: "data/pets_train_images_lmdb"' in train_test
    message = (
        "'pets' has no net of the method 'dnnh_plus'; its methods: dnnh, dnnh_fc, dnnh_pretrained"
    )
    with pytest.raises(UserError, match=message):
        specs.net_spec("pets", "dnnh_plus")
    with pytest.raises(UserError, match="unknown data set 'birds'.*and your own, once"):
        specs.net_spec("birds")
    datasets.save(folder.prepare_folder(tmp_path / "photos", "large", 256))
    assert specs.net_spec("large").config is specs.net_spec("nuswide").config
    few = photos(tmp_path / "few", 8)
    datasets.save(folder.prepare_folder(few, "few", 32))
    with pytest.raises(UserError, match="class 'cats' of few has 8 images; at least 10"):
        splits.make_split(datasets.load("few"))


@pytest.mark.parametrize("in_memory", [atomic_files.MAX_IN_MEMORY, 10])
def test_what_is_refused_replaces_nothing(tmp_path, home, monkeypatch, capsys, in_memory):
    monkeypatch.setattr(paths, "ROOT", home)
    monkeypatch.setattr(atomic_files, "MAX_IN_MEMORY", in_memory)
    photos(tmp_path / "photos", 26)

    def prepare(*more):
        monkeypatch.setattr(
            "sys.argv",
            ["get_data.py", "folder", "--name", "pets", "--from", str(tmp_path / "photos"), *more],
        )
        importlib.import_module("get_data").main()
        return capsys.readouterr().out

    printed = prepare()
    assert "52 images, 2 classes" in printed and "  cats 26, dogs 26\n" in printed
    before = {path: path.read_bytes() for path in (home / "data").iterdir()}
    with pytest.raises(UserError, match="data/pets.h5 is there already"):
        prepare()
    for path in sorted((tmp_path / "photos/cats/deeper").iterdir())[:22]:
        path.write_text("no image")
    with pytest.raises(UserError, match="class 'cats' of pets has 4 images; at least 10"):
        prepare("--force")
    printed = capsys.readouterr().out
    assert printed.count("is not a readable image") == 20 and "22 images are skipped" in printed
    assert {path: path.read_bytes() for path in (home / "data").iterdir()} == before
    photos(tmp_path / "photos", 34)
    for path in sorted((tmp_path / "photos/cats/deeper").iterdir())[:21]:
        path.write_text("no image")
    printed = prepare("--force")
    assert "cats 13, dogs 34" in printed
    skipped = (home / "data/pets_skipped.txt").read_text().splitlines()
    assert len(skipped) == 21 and "pets_skipped.txt" in printed
    assert len(datasets.load("pets").images) == 47


def test_files_go_to_the_database_as_they_are(tmp_path, home):
    datasets.save(folder.prepare_folder(photos(tmp_path / "photos"), "pets", 32))
    dataset = datasets.load("pets")
    rows = np.array([3, 17, 5])
    image_database.write_images(
        tmp_path / "db", dataset.images, dataset.labels[rows], {}, rows=rows
    )
    import lmdb
    from caffe.proto.caffe_pb2 import Datum

    with (
        lmdb.open(str(tmp_path / "db"), readonly=True, lock=False) as database,
        database.begin() as transaction,
    ):
        datums = [Datum.FromString(value) for _, value in transaction.cursor()]
    assert [datum.data for datum in datums] == [dataset.images.encoded(row) for row in rows]
    assert all(datum.encoded for datum in datums)
    assert [datum.label for datum in datums] == [0, 1, 0]
    layout = image_database.read_layout(tmp_path / "db")
    assert layout["record"] == ["image, 3 x 32 x 32 as the data set keeps it", "label"]


def test_paths_of_windows(tmp_path):
    photos(tmp_path)
    (tmp_path / "t.csv").write_text("dogs\\00a.jpg,a\ndogs\\01b.png,b\n")
    dataset = folder.prepare_folder(tmp_path / "t.csv", "pets", 32)
    assert [path.relative_to(tmp_path).as_posix() for path in dataset.images.paths] == [
        "dogs/00a.jpg",
        "dogs/01b.png",
    ]


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    """It is skipped with a reason, as a file is."""
    photos(tmp_path)
    before = [item.name for item in sources.items(tmp_path)]
    scandir = os.scandir

    def refused(path):
        if str(path).endswith("deeper"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    after = [item.name for item in sources.items(tmp_path)]
    assert after == ["cats/deeper", *(name for name in before if "deeper" not in name)]
    (tmp_path / "deeper").mkdir()
    with pytest.raises(UserError, match="/deeper cannot be read; check its permissions"):
        folder.prepare_folder(tmp_path, "pets", 32)
