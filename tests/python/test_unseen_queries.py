"""No query is trained on, fitted to or chosen by: which images the tools take."""

import dataclasses

import numpy as np
import pytest

from dnnh import paths
from dnnh.baselines.base import Hasher
from dnnh.data import datasets, sources, splits
from dnnh.errors import UserError
from dnnh.evaluation import results
from dnnh.nets import averaging, prototxt
from dnnh.nets.specs import net_spec
from random_nets import normalized_net

DIGITS = ("--dataset", "digits", "--bits", 12)


@pytest.fixture
def digits():
    return datasets.load("digits")


@pytest.fixture
def model(digits, tmp_path):
    path = tmp_path / "digits_dnnh_12bit_iter_5.caffemodel"
    deploy = prototxt.deploy_text(net_spec("digits", bits=12))
    normalized_net(deploy, digits.images[:100]).save(str(path))
    return path


@pytest.mark.parametrize("options", [("--split-seed", 1), ("--protocol", "50k")])
def test_models_are_of_one_split(tool, options):
    with pytest.raises(UserError, match="are trained for split seed 0 of the protocols"):
        tool("evaluate", *DIGITS, *options)


def test_models_of_another_split_are_refused(tool, model, tmp_path):
    for name in ("evaluate", "make_pseudo_labels"):
        with pytest.raises(UserError, match="trained with --split test, by its name"):
            tool(name, *DIGITS, "--method", "dnnh", "--model", model, "--split", "validation")
    with pytest.raises(UserError, match="trained with --split test, by its name"):
        options = ("--models", model, "--output", tmp_path / "averaged.caffemodel")
        tool("average_weights", *DIGITS, *options, "--split", "validation")
    assert not (tmp_path / "averaged.caffemodel").exists()


def test_released_models_of_other_images_are_refused(tool, model, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    released = paths.MODELS / "results/released.json"
    released.parent.mkdir(parents=True)
    tool("evaluate", *DIGITS, "--model", model, "--json", released)
    tool("evaluate", *DIGITS, "--model", model)  # of the same images
    of_others = {"source": "made up", "images_sha256": None}
    result = dataclasses.replace(results.read_result(released), **of_others)
    results.write_result(released, result)
    with pytest.raises(UserError, match="trained on 'made up'; .*or say so with --note"):
        tool("evaluate", *DIGITS, "--model", model)
    with pytest.raises(UserError, match="trained on 'made up'; .*and name it with --model"):
        options = ("--method", "dnnh", "--model", model, "--output", tmp_path / "images")
        tool("make_pseudo_labels", *DIGITS, *options)
    assert not (tmp_path / "images").exists()
    said = tool("evaluate", *DIGITS, "--model", model, "--note", "Other images.")
    assert "Other images." in said


@pytest.mark.parametrize("sampling", ["online", "listed"])
@pytest.mark.parametrize("split_name", ["test", "validation"])
def test_only_training_images_are_written(tool, digits, tmp_path, split_name, sampling):
    options = ["--dataset", "digits", "--split", split_name, "--sampling", sampling]
    options += ["--triplets", 9] * (sampling == "listed")
    tool("make_triplets", *options, "--output", tmp_path / "images")
    split = splits.load_split(digits)
    parts = {"images": split.training}
    if split_name == "validation":
        parts = {
            "images_validation_train": split.validation_training,
            "images_validation_test": split.validation_queries,
        }
    assert {path.name for path in tmp_path.iterdir()} == set(parts)
    for name, rows in parts.items():
        for item, row in zip(sources.items(tmp_path / name), rows, strict=True):
            assert item.labels == (str(digits.labels[row]),)
            assert (item.read() == digits.images[row]).all()


def test_methods_are_fitted_to_the_split(tool, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    split = splits.load_split(digits)
    fit, fitted = Hasher.fit, {}

    def noted(method, features, labels):
        fitted[method.name] = features.copy()
        return fit(method, features, labels)

    monkeypatch.setattr(Hasher, "fit", noted)
    options = ("--features", "pixels", "--method", "lsh", "sdh", "--bits", 8)
    tool("baselines", "--dataset", "digits", *options)
    pixels = digits.images.reshape(-1, 64).astype(np.float32) / 255
    for name, rows in (("lsh", split.database), ("sdh", split.training)):
        assert np.array_equal(fitted[name], pixels[rows])


@pytest.mark.parametrize("split_name", ["test", "validation"])
def test_statistics_are_of_the_training_images(tool, digits, tmp_path, monkeypatch, split_name):
    seen = []

    def averaged(spec, models, images):
        seen.append(images)
        return b"x"

    monkeypatch.setattr(averaging, "averaged", averaged)
    options = ("--models", tmp_path / "a.caffemodel", "--output", tmp_path / "m.caffemodel")
    tool("average_weights", *DIGITS, "--split", split_name, *options)
    _, rows = splits.load_split(digits).trained_on(split_name)
    assert np.array_equal(seen[0], digits.images[rows])
