"""Codes without training: features of a pretrained network, hashed."""

import contextlib
import importlib
import json
import shutil

import h5py
import numpy as np
import pytest
from PIL import Image

from dnnh import packed_codes
from dnnh.baselines import METHODS
from dnnh.errors import UserError
from dnnh.nets import caffe_encoder, efficientnet, encoder, pretrained, prototxt
from dnnh.nets.net_info import NetInfo
from dnnh.retrieval import feature_hash, image_groups, index_files
from dnnh.retrieval.retriever import QueryEncoder

SIZE = 65
COLORS = {"red": (250, 30, 30), "sky": (90, 160, 250), "grass": (40, 140, 40)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("pretrained") / "efficientnet_lite0.caffemodel"
    path.write_bytes(efficientnet.model())
    return path


def draw(folder):
    """36 pictures of three colors, with noise, and a file that is none."""
    rng = np.random.default_rng(0)
    for i in range(36):
        name = list(COLORS)[i % 3]
        pixels = np.clip(COLORS[name] + rng.normal(0, 40, (40, 50, 3)), 0, 255)
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}/{i:02}.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture
def pictures(tmp_path, monkeypatch, model):
    monkeypatch.setattr(pretrained, "path_of", lambda name: model)
    monkeypatch.setattr(image_groups, "GROUP", 10)
    return draw(tmp_path / "pictures")


@pytest.fixture(scope="module")
def encoded(model, tmp_path_factory):
    """An index of the pictures."""
    folder = tmp_path_factory.mktemp("encoded")
    words = ["--images", draw(folder / "pictures"), "--output", folder / "i.h5", "--bits", 8]
    words += ["--net", "efficientnet_lite0", "--size", SIZE]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "path_of", lambda name: model)
        patch.setattr("sys.argv", ["encode.py", *map(str, words)])
        importlib.import_module("encode").main()
    return folder / "i.h5"


@pytest.fixture
def index_file(encoded, model, tmp_path, monkeypatch):
    """A copy of it."""
    monkeypatch.setattr(pretrained, "path_of", lambda name: model)
    return shutil.copy(encoded, tmp_path / "i.h5")


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
    net = caffe_encoder.CaffeEncoder(
        prototxt.as_text(pretrained.feature_net("efficientnet_lite0", SIZE)), pretrained.path_of("")
    )
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
        code, costs = queries.encode(np.asarray(Image.open(paths[row])))
        assert packed_codes.unpack(code ^ index.codes[row], 8).sum() <= 1
        values = expected.project(features[row : row + 1])
        assert np.abs(costs - np.abs(values)).max() < 1e-3 * np.abs(values).max()


def test_features_by_onnxruntime(pictures, tmp_path, tool):
    """Each runtime searches the other's index."""
    net, here, there = (tmp_path / name for name in ("net.onnx", "c.h5", "o.h5"))
    features = ("--net", "efficientnet_lite0", "--size", SIZE)
    tool("export", *features, "--output", net)
    common = ("--images", pictures, "--bits", 8, "--output")
    tool("encode", *common, here, *features)
    tool("encode", *common, there, "--model", net, "--hash", "itq")
    ours, theirs = map(index_files.load, (here, there))
    assert ours.net == theirs.net
    assert packed_codes.unpack(ours.codes ^ theirs.codes, 8).mean() < 0.02
    query = ("--image", pictures / "red/00.png", "--json", "-", "--index")
    for index, model in ((here, ("--model", net)), (there, ())):
        assert json.loads(tool("search", *query, index, *model))["hits"][0]["distance"] <= 1


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


def test_an_update_hashes_as_before(pictures, tmp_path, encode, monkeypatch, capsys):
    """The method is not fitted again: old and new codes can be compared."""
    encode(pictures, tmp_path / "i.h5", "--bits", 8)
    with contextlib.closing(index_files.load(tmp_path / "i.h5")) as index:
        codes, hasher = index.codes, index.hasher
    Image.new("RGB", (40, 50), (200, 180, 20)).save(pictures / "red/yellow.png")
    command = importlib.import_module("encode")
    words = ["encode.py", "--update", "--output", tmp_path / "i.h5"]
    monkeypatch.setattr("sys.argv", list(map(str, words)))
    command.main()
    assert "37 images; 1 new" in capsys.readouterr().out
    index = index_files.load(tmp_path / "i.h5")
    assert np.array_equal(index.codes[:36], codes)
    assert feature_hash.are_the_same(index.hasher, hasher)
    net = caffe_encoder.CaffeEncoder(
        prototxt.as_text(pretrained.feature_net("efficientnet_lite0", SIZE)), pretrained.path_of("")
    )
    image = Image.open(pictures / "red/yellow.png").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    expected = hasher.encode(net.outputs(np.asarray(image)[np.newaxis]))
    assert packed_codes.unpack(index.codes[36:] ^ expected, 8).sum() <= 1


def search(monkeypatch, capsys, *words):
    command = importlib.import_module("search")
    monkeypatch.setattr("sys.argv", ["search.py", *map(str, words)])
    command.main()
    return capsys.readouterr().out


def test_many_queries_need_the_hash_of_the_index(pictures, tmp_path, encode, monkeypatch, capsys):
    """Methods that were fitted to different images give codes that cannot be compared."""
    encode(pictures, tmp_path / "i.h5", "--bits", 8)
    reds = pictures / "red"
    encode(reds, tmp_path / "own.h5", "--bits", 8)
    queries = ["--index", tmp_path / "i.h5", "--json", "-", "--queries"]
    with pytest.raises(UserError, match="cannot be compared; encode the queries with --hash-of"):
        search(monkeypatch, capsys, *queries, tmp_path / "own.h5")
    command = importlib.import_module("encode")
    words = ["--images", reds, "--output", tmp_path / "q.h5", "--hash-of", tmp_path / "i.h5"]
    monkeypatch.setattr("sys.argv", ["encode.py", *map(str, words)])
    command.main()
    capsys.readouterr()
    results = json.loads(search(monkeypatch, capsys, *queries, tmp_path / "q.h5"))
    assert len(results) == len(list(reds.iterdir()))
    for result in results:
        assert result["hits"][0]["distance"] <= 1
    one, other = index_files.load(tmp_path / "i.h5"), index_files.load(tmp_path / "q.h5")
    assert one.net == other.net and feature_hash.are_the_same(one.hasher, other.hasher)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--bits", "8"], "--bits is as the index has it"),
        (["--net", "efficientnet_lite0"], "--hash-of does not go with --net"),
        (["--method", "dnnh"], "--method is as the index has it"),
    ],
)
def test_options_beside_hash_of(monkeypatch, words, message):
    command = importlib.import_module("encode")
    start = ["encode.py", "--images", "x", "--output", "y", "--hash-of", "z.h5"]
    monkeypatch.setattr("sys.argv", start + words)
    with pytest.raises(UserError, match=message):
        command.main()


def test_the_network_is_not_replaced(pictures, encode, model):
    with pytest.raises(UserError, match="efficientnet_lite0.caffemodel"):
        encode(pictures, model, "--force")
    assert model.stat().st_size > 10_000_000


def test_a_supervised_method_is_fitted_to_labelled_images(monkeypatch):
    """Few of many images have labels: a sample is one of these."""
    monkeypatch.setattr(feature_hash, "MAX_FITTED", 10)
    labels = [()] * 1000 + [("a",), ("b", "a")] * 20
    rows, multi_hot = feature_hash._labelled(labels, "ksh")
    assert len(rows) == 10 and rows.min() >= 1000
    assert np.array_equal(multi_hot, [[1, row % 2] for row in rows])


def test_too_many_classes(monkeypatch):
    monkeypatch.setattr("dnnh.limits.CLASSES", 3)
    with pytest.raises(UserError, match="5 different labels; sdh learns from at most 3 classes"):
        feature_hash._labelled([(str(i),) for i in range(5)], "sdh")


def test_an_index_of_hashed_features_takes_no_model(index_file, tmp_path):
    index = index_files.load(index_file)
    with pytest.raises(UserError, match="leave out --model"):
        QueryEncoder(index, tmp_path / "x.caffemodel")


def test_methods_that_need_labels(pictures, tmp_path, encode):
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in pictures.rglob("*.png"):
        path.rename(flat / path.name)
    with pytest.raises(
        UserError, match="ksh learns from labels, and the images have 0 .*itq.*features are kept"
    ):
        encode(flat, tmp_path / "i.h5", "--hash", "ksh", "--bits", 8)
    assert not (tmp_path / "i.h5").exists()
    assert "resuming after 36 images" in encode(flat, tmp_path / "i.h5", "--bits", 8)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--method", "dnnh"], "--method does not go with --net"),
        (["--engine", "spark"], "--net is for this process, not for --engine spark"),
        (["--size", "224"], "images of 224 pixels a side"),
        (["--size", "3201"], r"images of 3201 pixels a side: .* up to 513"),
        (["--bits", "64"], "itq: 36 samples are too few for 64 bits"),
    ],
)
def test_options_that_contradict(pictures, tmp_path, encode, options, message):
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
        (lambda group: group.__delitem__("mean"), "not one of 1,280 features"),
        (lambda group: group.__delitem__("projection"), "not the parameters of itq"),
        (
            lambda group: replace(group, "projection", np.ones((1280, 7))),
            r"values of shape \(3, 7\)",
        ),
        (lambda group: replace(group, "projection", np.ones((9, 8))), "not the parameters of itq"),
        (
            lambda group: replace(group, "projection", np.full((1280, 8), np.nan)),
            "projection that are not numbers up to 1e\\+100",
        ),
        (lambda group: replace(group, "mean", "text"), "hash/mean has no numbers"),
        (
            lambda group: replace(group, "mean", np.zeros((2, 1280))),
            "i.h5 .*not one of 1,280 features.*make one with",
        ),
        (lambda group: replace(group, "mean", np.full(1280, 1e150)), "not numbers up to"),
        (
            lambda group: [replace(group, name, np.zeros(9)) for name in ("mean", "projection")],
            "i.h5 .*not one of 1,280 features",
        ),
        (
            lambda group: group.create_dataset("x", data=np.zeros(9_000_000)),
            "has more than 64,000,000 bytes",
        ),
    ],
)
def test_a_damaged_method(index_file, change, message):
    with h5py.File(index_file, "a") as file:
        change(file["hash"])
    with pytest.raises(UserError, match=message):
        index_files.load(index_file)


@pytest.mark.parametrize(
    "net, message",
    [
        (
            NetInfo(8, "imagenet", "efficientnet_lite0", "65 pixels", "0" * 64),
            "other weights than .*efficientnet_lite0",
        ),
        (NetInfo(8, "imagenet", "vgg", "65 pixels", "0" * 64), "features of 'vgg', unknown here"),
        (NetInfo(8, "imagenet", "efficientnet_lite0", "short", "0" * 64), "'short' is not a size"),
    ],
)
def test_an_index_of_another_network(index_file, net, message):
    index = index_files.load(index_file)
    index.net = net
    with pytest.raises(UserError, match=message):
        QueryEncoder(index)
