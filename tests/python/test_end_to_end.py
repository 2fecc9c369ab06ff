"""From official files, in miniature, to a report: every data set, as a user would."""

import importlib
import io
import json
import re
import subprocess

import numpy as np
import pytest
import scipy.io
import test_mnist
import test_nuswide
from PIL import Image

from dnnh import paths
from dnnh.data import datasets, folder, mnist, nuswide, splits, svhn
from dnnh.nets.specs import net_spec

REPOSITORY = paths.ROOT  # tests set paths.ROOT to a temporary folder
RNG = np.random.default_rng(0)
COUNT, CLASSES, CONCEPTS = 140, 10, 4
QUERIES, TRAINING = 2, 7  # of a class
# What an image looks like is of its class alone: nets can learn it, and pixels tell it.
COLOURS = RNG.integers(30, 225, (CLASSES, 3))
LABELS = np.arange(COUNT) % CLASSES


def picture(label, side, channels=3):
    noise = RNG.normal(0, 20, (side, side, channels))
    return np.clip(COLOURS[label][:channels] + noise, 0, 255).astype(np.uint8)


def jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG")
    return file.getvalue()


def of_svhn(place, monkeypatch):
    parts = {"train_32x32.mat": 60, "extra_32x32.mat": 50, "test_32x32.mat": 30}
    monkeypatch.setattr(svhn, "COUNTS", parts)
    for name, count in parts.items():
        labels = np.arange(count) % CLASSES
        scipy.io.savemat(
            place / name,
            {
                "X": np.stack([picture(label, 32) for label in labels], axis=3),
                "y": (labels + 1).astype(np.uint8)[:, np.newaxis],
            },
        )
    return svhn.prepare_svhn(place)


def of_mnist(place, monkeypatch):
    parts = {"train": 100, "t10k": 40}
    monkeypatch.setattr(mnist, "PARTS", parts)
    for part, count in parts.items():
        labels = (np.arange(count) % CLASSES).astype(np.uint8)
        images = np.stack([picture(label, 28, 1)[..., 0] for label in labels])
        (place / f"{part}-images-idx3-ubyte").write_bytes(test_mnist.idx(images))
        (place / f"{part}-labels-idx1-ubyte").write_bytes(test_mnist.idx(labels))
    return mnist.prepare_mnist(place)


def of_nuswide(place, monkeypatch):
    for module, name, value in (
        (nuswide, "IMAGES", COUNT),
        (nuswide, "CONCEPTS", CONCEPTS + 1),
        (nuswide, "FREQUENT", CONCEPTS),
        (nuswide, "WORDS", 7),
        (test_nuswide, "WORDS", RNG.integers(0, 9, (COUNT, 7))),
        (test_nuswide, "NAMES", [f"a\\{i:04}_{i}.jpg" for i in range(COUNT)]),
        # The first concept is the rarest, and none of the four; some have two.
        (
            test_nuswide,
            "LABELS",
            np.array(
                [
                    [i == 0, *(c in (i % CONCEPTS, i % 7) for c in range(CONCEPTS))]
                    for i in range(COUNT)
                ],
                np.uint8,
            ),
        ),
    ):
        monkeypatch.setattr(module, name, value)
    test_nuswide.write(
        place,
        files={f"images/a/{i:04}_{i}.jpg": jpeg(picture(i % CONCEPTS, 40)) for i in range(COUNT)},
    )
    return nuswide.prepare_nuswide(place)


def of_folder(place, monkeypatch):
    for i, label in enumerate(LABELS):
        path = place / f"class{label}" / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture(label, 40)).save(path)
    return folder.prepare_folder(place, "photos", 32)


@pytest.mark.parametrize(
    ("prepare", "method", "iterations"),
    [
        (of_svhn, "dnnh", 3),
        (of_mnist, "dnnh_two_towers", 3),
        (of_nuswide, "dnnh", 1),
        (of_folder, "dnnh_fc", 3),
    ],
)
def test_from_files_to_a_report(home, monkeypatch, capsys, prepare, method, iterations):
    monkeypatch.setattr(paths, "ROOT", home)
    monkeypatch.setattr(paths, "PROTOTXT", home / "prototxt")
    (home / "snapshots").mkdir()
    (home / "official").mkdir()
    dataset = prepare(home / "official", monkeypatch)
    classes = len(dataset.classes)
    per_class = (QUERIES, TRAINING * CLASSES // classes)
    monkeypatch.setitem(splits.PER_CLASS, dataset.name, per_class)
    assert datasets.save(dataset) == [] and len(dataset.labels) == COUNT

    def run(tool, *arguments):
        command = [tool, "--dataset", dataset.name, *map(str, arguments)]
        monkeypatch.setattr("sys.argv", command)
        importlib.import_module(tool).main()
        return capsys.readouterr().out

    net = ("--method", method, "--schedule", "short", "--bits", 12)
    run("make_triplets")
    run("make_prototxt", *net)
    spec = net_spec(dataset.name, method, 12, "short")
    solver = spec.files["solver"]
    solver.write_text(re.sub(r"max_iter: \d+", f"max_iter: {iterations}", solver.read_text()))
    command = [REPOSITORY / ".venv/bin/caffe", "train", "-solver", solver]
    trained = subprocess.run(command, cwd=home, capture_output=True, text=True)
    assert "Optimization Done" in trained.stderr, trained.stderr[-2000:]
    said = run("evaluate", *net)
    assert f"{spec.name}_iter_{iterations}.caffemodel" in said
    result = json.loads(next((home / "results").glob("*/result.json")).read_text())
    queries = QUERIES * classes
    assert result["queries"] == queries and result["database"] == COUNT - queries
    hot = dataset.labels if dataset.labels.ndim == 2 else np.eye(classes)[dataset.labels]
    chance = (hot @ hot.T > 0).mean()
    assert chance < result["map_random"] < result["map"] - 0.1 <= 0.9
