"""Fixtures of all tests of retrieval: photos, a net, and tools that use both."""

import importlib

import pytest
from PIL import Image

from dnnh.data import datasets
from dnnh.nets import prototxt, specs
from dnnh.retrieval import image_groups
from random_nets import normalized_net

SPEC = specs.net_spec("digits", bits=12)
DIGITS = datasets.load("digits").images


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """An untrained net, but whose bits differ."""
    path = tmp_path_factory.mktemp("weights") / "net.caffemodel"
    normalized_net(prototxt.deploy_text(SPEC), DIGITS[:100]).save(str(path))
    return path


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """37 digits in folders of their classes, and two files that are not images."""
    monkeypatch.setattr(image_groups, "GROUP", 10)
    for i in range(37):
        folder = tmp_path / "photos" / f"class{i % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS[i, :, :, 0]).save(folder / f"{i:02}.png")
    (tmp_path / "photos/broken.jpg").write_bytes(b"no image")
    (tmp_path / "photos/class1/zero.png").write_bytes(b"")
    return tmp_path / "photos"


@pytest.fixture
def run(monkeypatch, capsys, weights):
    """Runs a tool with the net (or, as run.plain, without); returns what it prints."""

    def plain(tool, *arguments):
        command = importlib.import_module(tool)
        monkeypatch.setattr("sys.argv", [f"{tool}.py", *map(str, arguments)])
        command.main()
        captured = capsys.readouterr()
        problems.append(captured.err)
        return captured.out

    problems = []

    def run(tool, *arguments):
        return plain(tool, *arguments, "--model", weights)

    def encode(photos, output, *arguments):
        options = ["--images", photos, "--output", output, "--dataset", "digits", "--bits", 12]
        return run("encode", *options, *arguments)

    run.encode, run.plain, run.said = encode, plain, lambda: problems[-1]
    run.stderr = lambda: capsys.readouterr().err
    return run
