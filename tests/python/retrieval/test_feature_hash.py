"""Codes without training: features of a pretrained network, hashed."""

import importlib

import h5py
import numpy as np
import pytest
from PIL import Image

from dnnh import packed_codes
from dnnh.baselines import METHODS
from dnnh.errors import UserError
from dnnh.nets import encoder, pretrained, prototxt
from dnnh.retrieval import feature_hash, image_groups, index_files
from dnnh.retrieval.image_index import NetInfo
from dnnh.retrieval.retriever import QueryEncoder

SIZE = 65
COLORS = {"red": (250, 30, 30), "sky": (90, 160, 250), "grass": (40, 140, 40)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("pretrained") / "efficientnet_lite0.caffemodel"
    path.write_bytes(pretrained.model(pretrained.find_weights()))
    return path


@pytest.fixture
def pictures(tmp_path, monkeypatch, model):
    """36 pictures of three colors, with noise, and a file that is none."""
    monkeypatch.setattr(pretrained, "path_of", lambda name: model)
    monkeypatch.setattr(image_groups, "GROUP", 10)
    rng = np.random.default_rng(0)
    for i in range(36):
        name = list(COLORS)[i % 3]
        pixels = np.clip(COLORS[name] + rng.normal(0, 40, (40, 50, 3)), 0, 255)
        (tmp_path / "pictures" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"pictures/{name}/{i:02}.png")
    (tmp_path / "pictures/broken.jpg").write_bytes(b"no image")
    return tmp_path / "pictures"


@pytest.fixture
def encode(monkeypatch, capsys):
    def encode(source, output, *arguments):
        command = importlib.import_module("encode")
        words = ["--images", source, "--output", output, "--net", "efficientnet_lite0"]
        words += ["--size", SIZE, *arguments]
        monkeypatch.setattr("sys.argv", ["encode.py", *map(str, words)])
        command.main()
        return capsys.readouterr().out

    return encode


@pytest.mark.parametrize("name", feature_hash.HASHES)
def test_images_are_hashed_and_found(pictures, tmp_path, encode, monkeypatch, name):
    """By a method that is fitted to themselves; queries are encoded alike."""
    importlib.import_module("dnnh.baselines.ksh")
    monkeypatch.setattr("dnnh.baselines.ksh.ANCHORS", 20)
    printed = encode(pictures, tmp_path / "i.h5", "--hash", name, "--bits", 8)
    assert "36 images, 8 bits each; 1 skipped" in printed
    index = index_files.load(tmp_path / "i.h5")
    net = encoder.Encoder(prototxt.as_text(pretrained.feature_net(SIZE)), pretrained.path_of(""))
    paths = [pictures / image for image in index.names(slice(None))]
    images = [Image.open(path).resize((SIZE, SIZE), Image.Resampling.BICUBIC) for path in paths]
    features = net.outputs(np.stack([np.asarray(image) for image in images]))
    classes = np.array([list(COLORS).index(path.parent.name) for path in paths])
    expected = METHODS[name](8).fit(features, classes)
    differing = packed_codes.unpack(index.codes ^ expected.encode(features), 8)
    assert differing.mean() < 0.02  # features were computed in other batches
    assert index.net.method == "efficientnet_lite0" and index.net.schedule == "65 pixels"
    queries = QueryEncoder(index)
    for row in (0, 17, 35):
        code = queries.encode(np.asarray(Image.open(paths[row])))
        assert packed_codes.unpack(code ^ index.codes[row], 8).sum() <= 1


def test_an_interrupted_run_is_resumed(pictures, tmp_path, encode, monkeypatch):
    encode(pictures, tmp_path / "whole.h5", "--bits", 8)
    outputs, done = encoder.Encoder.outputs, []

    def stopping(net, images):
        done.append(len(images))
        if len(done) > 2:
            raise KeyboardInterrupt
        return outputs(net, images)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(encoder.Encoder, "outputs", stopping)
        encode(pictures, tmp_path / "i.h5", "--bits", 8)
    assert "resuming after 20 images" in encode(pictures, tmp_path / "i.h5", "--bits", 8)
    whole, resumed = (index_files.load(tmp_path / name) for name in ("whole.h5", "i.h5"))
    assert np.array_equal(whole.codes, resumed.codes)


def test_methods_that_need_labels(pictures, tmp_path, encode):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in pictures.rglob("*.png"):
        path.rename(flat / path.name)
    with pytest.raises(UserError, match="ksh learns from labels, and the images have 0 .*itq"):
        encode(flat, tmp_path / "i.h5", "--hash", "ksh", "--bits", 8)
    assert not (tmp_path / "i.h5").exists()


@pytest.mark.parametrize(
    "options, message",
    [
        (["--method", "dnnh"], "--method is for nets that were trained here"),
        (["--engine", "spark"], "--engine spark encodes with nets that were trained here"),
        (["--size", "224"], "images of 224 pixels a side"),
        (["--bits", "64"], "itq: 36 samples are too few for 64 bits"),
    ],
)
def test_options_that_do_not_go_together(pictures, tmp_path, encode, options, message):
    with pytest.raises(UserError, match=message):
        encode(pictures, tmp_path / "i.h5", *options)
    assert not (tmp_path / "i.h5").exists()


def test_hash_without_a_network(tmp_path, monkeypatch):
    command = importlib.import_module("encode")
    words = ["encode.py", "--images", "x", "--output", "y", "--hash", "itq"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(UserError, match="--hash goes with --net"):
        command.main()


def replace(group, name, array):
    del group[name]
    group[name] = array


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda group: group.attrs.__setitem__("method", "eval"), "method is 'eval'; known ones"),
        (lambda group: group.__delitem__("mean"), "not the parameters of itq"),
        (
            lambda group: replace(group, "projection", np.ones((1280, 7))),
            r"values of shape \(2, 7\)",
        ),
        (lambda group: replace(group, "projection", np.ones((9, 8))), "not the parameters of itq"),
        (
            lambda group: replace(group, "projection", np.full((1280, 8), np.nan)),
            "projection that are not finite numbers",
        ),
        (lambda group: replace(group, "mean", "text"), "mean that are not finite numbers"),
        (
            lambda group: group.create_dataset("x", data=np.zeros(9_000_000)),
            "has more than 64,000,000 bytes",
        ),
    ],
)
def test_a_damaged_method(pictures, tmp_path, encode, change, message):
    encode(pictures, tmp_path / "i.h5", "--bits", 8)
    with h5py.File(tmp_path / "i.h5", "a") as file:
        change(file["hash"])
    with pytest.raises(UserError, match=message):
        index_files.load(tmp_path / "i.h5")


@pytest.mark.parametrize(
    "net, message",
    [
        (NetInfo(8, "imagenet", "efficientnet_lite0", "65 pixels", "0" * 64), "with another eff"),
        (NetInfo(8, "imagenet", "vgg", "65 pixels", "0" * 64), "features of 'vgg', unknown here"),
        (NetInfo(8, "imagenet", "efficientnet_lite0", "short", "0" * 64), "'short' is not a size"),
    ],
)
def test_an_index_of_another_network(pictures, tmp_path, encode, net, message):
    encode(pictures, tmp_path / "i.h5", "--bits", 8)
    index = index_files.load(tmp_path / "i.h5")
    index.net = net
    with pytest.raises(UserError, match=message):
        QueryEncoder(index)
