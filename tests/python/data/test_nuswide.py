"""NUS-WIDE's files, in miniature; and hostile ones."""

import io

import h5py
import numpy as np
import pytest
from PIL import Image

from dnnh import paths
from dnnh.data import datasets, image_files, nuswide, splits
from dnnh.data.dataset import Dataset, EncodedImages, ImageFiles
from dnnh.errors import UserError

RNG = np.random.default_rng(0)
IMAGES, CONCEPTS = 40, 5
NAMES = [f"actor\\{i:04}_{1000 + i}.jpg" for i in range(IMAGES)]
# Concepts 0 to 4 in 4, 8, 12, 16 and 20 images; 3 are labels.
LABELS = np.array(
    [[i % 10 < 2 * (c + 1) // 2 for c in range(CONCEPTS)] for i in range(IMAGES)], np.uint8
)
WORDS = RNG.integers(0, 300, (IMAGES, 7))


@pytest.fixture(autouse=True)
def miniature(monkeypatch):
    for name, value in (
        ("IMAGES", IMAGES),
        ("CONCEPTS", CONCEPTS),
        ("FREQUENT", 3),
        ("WORDS", 7),
        ("SIDE", 16),
    ):
        monkeypatch.setattr(nuswide, name, value)


def jpeg(colour, size=(20, 30), kind="JPEG", **options):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind, **options)
    return file.getvalue()


def write(folder, place=lambda name: f"images/{name.replace(chr(92), '/')}", **changes):
    files = {
        "ImageList/Imagelist.txt": "\r\n".join(NAMES) + "\r\n",
        "Concepts81.txt": "\n".join("abcde"),
        "Low_Level_Features/BoW_int.dat": "\n".join(" ".join(map(str, row)) + " " for row in WORDS),
        # A training part beside the whole, which is not it.
        "Groundtruth/TrainTestLabels/Labels_a.txt": "1\n",
        **{
            f"Groundtruth/AllLabels/Labels_{concept}.txt": "\n".join(map(str, LABELS[:, column]))
            + "\n"
            for column, concept in enumerate("abcde")
        },
        **{place(name): jpeg((6 * i, 0, 0)) for i, name in enumerate(NAMES)},
    }
    files.update(changes.get("files", {}))
    for name, content in files.items():
        if content is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.mark.parametrize(
    "place",
    [
        lambda name: "images/" + name.replace("\\", "/"),
        lambda name: "Flickr/" + name[6:],
        lambda name: "some/where/Flickr/" + name[11:],
    ],
)
def test_whole(tmp_path, home, place):
    dataset = nuswide.prepare_nuswide(write(tmp_path / "nus", place))
    assert dataset.classes == ("e", "d", "c")  # most frequent first
    chosen = np.flatnonzero(LABELS[:, 2:].any(axis=1))
    assert np.array_equal(dataset.labels, LABELS[chosen][:, [4, 3, 2]])
    assert len(chosen) == 20 and dataset.images.shape == (20, 16, 16, 3)
    assert datasets.save(dataset) == []
    loaded = datasets.load("nuswide")
    assert loaded.images[:][:, 8, 8, 0] == pytest.approx(6 * chosen, abs=3)
    assert np.array_equal(loaded.labels, dataset.labels)
    assert np.array_equal(loaded.features["bow"], WORDS[chosen])


def test_missing_and_broken_images_are_skipped_with_a_reason(tmp_path, home):
    files = {
        "images/actor/0000_1000.jpg": None,
        "images/actor/0001_1001.jpg": jpeg((0, 0, 0))[:200],
        "images/actor/0002_1002.jpg": b"",
    }
    write(tmp_path / "nus", files=files)
    skipped = datasets.save(nuswide.prepare_nuswide(tmp_path / "nus"))
    for sentence, wanted in zip(
        skipped,
        (
            "0000_1000.jpg cannot be read (No such file or directory)",
            "0001_1001.jpg is not a readable image",
            "0002_1002.jpg is not a readable image",
        ),
        strict=True,
    ):
        assert wanted in sentence
    loaded = datasets.load("nuswide")
    chosen = np.flatnonzero(LABELS[:, 2:].any(axis=1))[3:]
    assert np.array_equal(loaded.labels, LABELS[chosen][:, [4, 3, 2]])
    assert np.array_equal(loaded.features["bow"], WORDS[chosen])
    assert loaded.images.shape[0] == 17
    assert loaded.images[0][8, 8, 0] == pytest.approx(6 * chosen[0], abs=3)


def test_without_bag_of_words(tmp_path):
    dataset = nuswide.prepare_nuswide(
        write(tmp_path, files={"Low_Level_Features/BoW_int.dat": None})
    )
    assert not dataset.features and dataset.source.endswith("without bag of words")


@pytest.mark.parametrize(
    "files, message",
    [
        ({"ImageList/Imagelist.txt": None}, "has no Imagelist.txt"),
        ({"ImageList/Imagelist.txt": "a\\b.jpg\n"}, "Imagelist.txt has 1 lines; 40"),
        (
            {"ImageList/Imagelist.txt": "\n".join(["..\\x.jpg"] * IMAGES)},
            r"nus: Imagelist.txt has '..\\x.jpg', not 'category\\file.jpg'",
        ),
        (
            {"ImageList/Imagelist.txt": "\n".join(["a" * 300 + "\\x.jpg"] * IMAGES)},
            "images has none of the images of Imagelist.txt",
        ),
        ({"Concepts81.txt": b"\xff\xfe\xff"}, "Concepts81.txt cannot be read"),
        ({"Groundtruth/AllLabels/Labels_a.txt": None}, "has no Labels_a.txt in a folder AllLabels"),
        ({"Groundtruth/AllLabels/Labels_b.txt": "1\n" * 39 + "2\n"}, "a line '2'; each is 0"),
        ({"Low_Level_Features/BoW_int.dat": "1 2\n"}, r"table of shape \(1, 2\)"),
        ({"Low_Level_Features/BoW_int.dat": "\n" * 50}, r"table of shape \(0, 1\)"),
        ({"Low_Level_Features/BoW_int.dat": "1 2\n\n3 4\n"}, r"table of shape \(2, 2\)"),
        ({"Low_Level_Features/BoW_int.dat": "x y\n"}, "is not a table of whole numbers"),
        (
            {"images/" + name.replace("\\", "/"): None for name in NAMES},
            "has no folder Flickr or images",
        ),
    ],
)
def test_what_is_not_nuswide(tmp_path, files, message, recwarn):
    with pytest.raises(UserError, match=message):
        nuswide.prepare_nuswide(write(tmp_path / "nus", files=files))
    assert not recwarn.list


def test_a_folder_without_the_lists_images(tmp_path):
    write(tmp_path, place=lambda name: f"images/x/y/{name[6:]}")
    with pytest.raises(UserError, match="has none of the images of Imagelist.txt, for"):
        nuswide.prepare_nuswide(tmp_path)
    with pytest.raises(UserError, match="is not a folder; name the one"):
        nuswide.prepare_nuswide(tmp_path / "nowhere")


def test_encoded_images_are_like_an_array(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        files = file.create_dataset("files", (5,), h5py.vlen_dtype(np.uint8))
        for i in range(5):
            files[i] = np.frombuffer(jpeg((i, 2 * i, 0), (4, 3), "PNG"), np.uint8)
    images = EncodedImages(tmp_path / "x.h5", (5, 3, 4, 3))
    assert len(images) == 5 and images[2].shape == (3, 4, 3)
    assert images[[4, 1]][:, 0, 0, 1].tolist() == [8, 2]
    assert images[1:3][:, 0, 0, 0].tolist() == [1, 2]
    assert images[np.array([], int)].shape == (0, 3, 4, 3)
    with pytest.raises(IndexError):
        images[5]
    with pytest.raises(ValueError, match="files is object of shape"):
        EncodedImages(tmp_path / "x.h5", (6, 3, 4, 3))
    with pytest.raises(UserError, match="image 0 has the shape"):
        EncodedImages(tmp_path / "x.h5", (5, 4, 4, 3))[0]


def test_images_are_rotated_by_exif_and_resized(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated clockwise
    picture = Image.new("RGB", (60, 40), (0, 0, 0))
    picture.paste((255, 0, 0), (0, 0, 30, 40))  # its left half
    picture.save(tmp_path / "a.jpg", exif=exif)
    ((_, data),) = ImageFiles([tmp_path / "a.jpg"], 8).read([])
    image = image_files.decode_image(data, "a")
    assert image.shape == (8, 8, 3)
    assert image[1, 4, 0] > 200 and image[6, 4, 0] < 50  # now the upper half


def test_none_that_can_be_read(tmp_path, home):
    dataset = Dataset(
        "nuswide", ImageFiles([tmp_path / "a"], 8), np.zeros((1, 2), np.uint8), ("a", "b"), "x"
    )
    with pytest.raises(UserError, match="none of 1 images can be read; the first: .*/a "):
        datasets.save(dataset)
    assert not paths.DATA.joinpath("nuswide.h5").exists()


def test_splits_of_images_with_several_labels(monkeypatch):
    monkeypatch.setitem(splits.PER_CLASS, "nuswide", (3, 10))
    labels = (RNG.random((400, 4)) < [0.3, 0.1, 0.6, 0.5]).astype(np.uint8)
    labels = labels[labels.any(axis=1)]
    dataset = Dataset(
        "nuswide", np.zeros((len(labels), 1, 1, 3), np.uint8), labels, tuple("abcd"), "x"
    )
    split = splits.make_split(dataset)
    assert len(split.queries) == 12 and len(split.training) == 40
    assert labels[split.queries].sum(axis=0).min() >= 3
    assert labels[split.training].sum(axis=0).min() >= 10
    assert len(split.validation_queries) == 8
    assert not set(split.training) & set(split.queries)
    monkeypatch.setitem(splits.PER_CLASS, "nuswide", (30, 100))
    with pytest.raises(UserError, match="class 'b' of nuswide has .* 30 queries and 100"):
        splits.make_split(dataset)


def test_damaged_image_files_of_a_data_set(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("files", (2,), h5py.vlen_dtype(np.uint8))[:] = [
            np.frombuffer(b"0123456789abcdef" * 9, np.uint8)
        ] * 2
    for shape in ((2.0, 3, 4, 3), 2, "x", (2, 3j, 4, 3), (2, 2**31, 3, 3), (2, 3, 3)):
        with pytest.raises(ValueError, match="images are said to have the shape"):
            EncodedImages(tmp_path / "x.h5", shape)
    huge = EncodedImages(tmp_path / "x.h5", (2, 65_535, 65_535, 65_535))
    with pytest.raises(UserError, match="x.h5: image 0 is not a readable image"):
        huge[:]  # 563 TB
    data = (tmp_path / "x.h5").read_bytes()
    start = data.index(b"GCOL")  # the heap that holds the image files
    (tmp_path / "y.h5").write_bytes(data[:start] + b"gone" + data[start + 4 :])
    with pytest.raises(UserError, match="y.h5: image 0 cannot be read .*prepare the data set"):
        EncodedImages(tmp_path / "y.h5", (2, 3, 4, 3))[:]
