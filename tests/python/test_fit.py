"""tools/fit.py: from a folder to an index, interrupted and again. In a copy of the repository,
since its tools run as processes of their own."""

import argparse
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import types

import h5py
import numpy as np
import pytest
from PIL import Image

from dnnh import files, paths, pipeline
from dnnh.data import datasets, folder
from dnnh.errors import UserError
from dnnh.nets import prototxt
from dnnh.nets.specs import net_spec
from dnnh.retrieval import index_files

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(30, 225, (3, 3))


def fill(place, classes=3, count=44, side=40):
    """Images whose colour is of their class alone."""
    for label in range(classes):
        for i in range(count):
            path = place / f"class{label}" / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = RNG.normal(0, 20, (side, side, 3))
            Image.fromarray(np.clip(COLOURS[label] + noise, 0, 255).astype(np.uint8)).save(path)
    return place


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    place = tmp_path_factory.mktemp("clone")
    for name in ("python", "tools"):
        shutil.copytree(
            paths.ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    (place / ".venv").symlink_to(paths.ROOT / ".venv")
    fill(place / "photos")
    return place


def start(clone, *words):
    command = [sys.executable, "tools/fit.py", "--images", "photos", "--name", "mine"]
    command += ["--method", "dnnh", "--size", "32", "--bits", "12", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(clone / "python"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(clone, *words, status=0):
    with start(clone, *words) as process:
        said = process.communicate(timeout=300)[0]
    assert process.returncode == status, said
    return said


def test_from_a_folder_to_an_index_and_again(clone):
    said = run(clone, "--iterations", 3)
    for tool in ("get_data", "make_triplets", "make_prototxt", "evaluate", "encode"):
        assert f"$ python tools/{tool}.py" in said
    assert "$ caffe train -solver" in said and "training: 100%" in said and "loss=" in said
    assert "132 images, 12 bits each" in said and "--index" in said.splitlines()[-1]
    assert (clone / "mine.index.h5").exists()
    assert (clone / "snapshots/mine_dnnh_3iterations_12bit.png").exists()
    (result,) = (clone / "results").glob("*/result.json")
    assert json.loads(result.read_text())["queries"] == 12
    Image.new("RGB", (50, 50)).save(clone / "photos/class0/new.png")
    said = run(clone, "--iterations", 3)
    assert "$ caffe train" not in said and "get_data" not in said and "make_triplets" not in said
    assert said.count("is there already") == 3
    assert "133 images; 1 new, 0 changed, 0 gone" in said
    said = run(clone, "--iterations", 3, "--size", 256, status=1)
    assert "photos at 32x32, not from" in said and "photos at 256x256; give another --name" in said
    other = fill(clone / "more/photos")
    other_index = "--output", clone / "other.index.h5"
    said = run(clone, "--iterations", 3, "--images", other, *other_index, status=1)
    assert f"mine.h5 is there already and was made from {clone}/photos at" in said
    with h5py.File(clone / "data/mine.h5", "a") as file:  # as earlier versions wrote it
        del file.attrs["origin"]
    os.utime(clone / "data/mine.h5", ns=(0, 0))
    assert "$ caffe train" not in run(clone, "--iterations", 3)


def test_a_training_that_was_interrupted_goes_on(clone):
    snapshots = clone / "snapshots"

    def begin(seen):
        log = snapshots / "mine_dnnh_2000iterations_12bit.log"
        process = start(clone, "--iterations", 2000)
        end = time.monotonic() + 200
        while not (log.exists() and seen in log.read_text()):
            if time.monotonic() > end or process.poll() is not None:
                process.kill()
                pytest.fail(f"the log has no '{seen}': {process.communicate()[0]}")
            time.sleep(0.1)
        return process

    def end(process, alone=False):
        caffe = subprocess.run(
            ["pgrep", "-P", str(process.pid)], capture_output=True, text=True
        ).stdout.split()
        for pid in caffe:  # as Ctrl-C on a terminal
            os.kill(int(pid), signal.SIGINT)
        if not alone:
            process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=100)[0]
        assert process.returncode == 1 and "stopped" in said
        return said

    end(begin("Iteration 0 "))
    (state,) = snapshots.glob("mine_dnnh_2000iterations_12bit_iter_*.solverstate")
    said = end(begin("Resuming from"), alone=True)  # caffe alone was told to stop
    assert f"-snapshot {state}" in said


@pytest.mark.parametrize(
    "words, message",
    [
        (["--minutes", "0"], "--minutes 0: from more than 0"),
        (["--minutes", "nan"], "--minutes nan"),
        (["--iterations", "0"], "--iterations 0: 1 or more"),
        (["--name", "No Name"], "small letters"),
        (["--bits", "7"], "7 bits: codes have 8 to 64 bits"),
        (["--method", "dnnh_plus"], "dnnh_plus: images of your own take dnnh, dnnh_fc"),
        (["--output", "."], "is a folder, and the index becomes a file; name another"),
    ],
)
def test_options_out_of_range(monkeypatch, words, message):
    command = importlib.import_module("fit")
    monkeypatch.setattr("sys.argv", ["fit.py", "--images", "x", "--name", "mine", *words])
    with pytest.raises(UserError, match=message):
        command.parse_arguments()


@pytest.fixture
def own(home, monkeypatch):
    """Prepares a data set of one's own images."""
    monkeypatch.setattr(paths, "ROOT", home)
    monkeypatch.setattr(paths, "SNAPSHOTS", home / "snapshots")
    monkeypatch.setattr(paths, "PROTOTXT", home / "prototxt")

    def prepare(side=32, **images):
        dataset = folder.prepare_folder(fill(home / "photos", **images), "mine", side)
        datasets.save(dataset)
        return datasets.path_of("mine")

    return prepare


def test_minutes_become_iterations(own, monkeypatch):
    fit = importlib.import_module("fit")
    data_set = own()
    measured = []

    def train(solver, log, options):
        measured.append(prototxt.read_solver(solver).max_iter)
        assert solver.with_name("net.prototxt").exists() and options == []
        return 0.5

    monkeypatch.setattr(pipeline, "train", train)
    spec = net_spec("mine", "dnnh", 12)
    assert fit.iterations_in(spec, 2.5, data_set) == 300
    assert fit.iterations_in(spec, 2.5, data_set) == 300 and measured == [1 + fit.MEASURED]
    assert fit.iterations_in(spec, 0.01, data_set) == fit.LEAST
    for known in paths.SNAPSHOTS.glob("*minutes.json"):
        known.write_text("half a fi")
    assert fit.iterations_in(spec, 2.5, data_set) == 300 and len(measured) == 3


@pytest.mark.parametrize("same", ["both", "weights", "bits", "both, but without stamps"])
def test_an_index_of_other_codes_is_replaced(tmp_path, monkeypatch, same):
    """One model file may have several lengths: the same weights are not the same codes."""
    fit = importlib.import_module("fit")
    (model := tmp_path / "model.caffemodel").write_bytes(b"weights")
    (output := tmp_path / "mine.index.h5").write_bytes(b"")
    weights = files.sha256(model) if same != "bits" else "others"
    net = types.SimpleNamespace(weights=weights, bits=24 if same != "weights" else 48)
    stamps = None if "without" in same else []
    index = types.SimpleNamespace(net=net, stamps=stamps, close=lambda: None)
    monkeypatch.setattr(index_files, "load", lambda path: index)
    commands = []
    monkeypatch.setattr(pipeline, "run_tool", lambda *words: commands.append(words))
    arguments = argparse.Namespace(output=output, images=tmp_path, bits=24)
    fit.encode(arguments, ["--bits", 24], model)
    ((tool, *words),) = commands
    assert tool == "encode.py" and ("--update" in words) == (same == "both")
    assert ("--force" in words) == (same != "both")


@pytest.mark.parametrize("side, seen", [(32, 32), (256, 224)])
def test_a_pretrained_net_of_ones_own(own, side, seen):
    """As many outputs as classes, and as many images of each in a batch as there are."""
    own(side)
    spec = net_spec("mine", "dnnh_pretrained", 48)
    assert spec.config.batch.classes == 3 and spec.config.batch.images_per_class == 18
    net = prototxt.train_net(spec)
    classes = {
        layer.inner_product_param.num_output
        for layer in net.layer
        if "classes" in layer.name and layer.type == "InnerProduct"
    }
    assert classes == {3}
    assert spec.config.input.size == seen and spec.config.input.resize == 129
    assert prototxt.solver(spec).snapshot == 300  # a killed training loses a fifth at most


def test_images_with_several_labels_have_no_pretrained_net(own, home, monkeypatch):
    fill(home / "photos")
    lines = [f"photos/class{c}/{i:02}.png,a{c},b" for c in range(3) for i in range(44)]
    (home / "list.csv").write_text("\n".join(lines) + "\n")
    datasets.save(folder.prepare_folder(home / "list.csv", "mine", 32))
    with pytest.raises(UserError, match="'mine' has no net of the method 'dnnh_pretrained'"):
        net_spec("mine", "dnnh_pretrained", 48)
    assert net_spec("mine", "dnnh", 48).config.classes == 10
