"""The commands, run as a user runs them."""

import dataclasses
import importlib
import json
import os
import pathlib
import re
import subprocess
import sys

import caffe
import h5py
import numpy as np
import pytest

from dnnh import cnnh, databases, datasets, encoder, nets, ranking, recipes, splits
from dnnh.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = sorted(path.name for path in (ROOT / "tools").glob("*.py"))


def run(name, *arguments, status=0):
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / name, *map(str, arguments)], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


@pytest.mark.parametrize("tool", TOOLS)
def test_help_has_examples(tool):
    assert f"python tools/{tool}" in run(tool, "--help")


@pytest.mark.parametrize("tool, arguments, message", [
    ("get_data.py", ("cifar10", "--force", "--from", "nowhere"), "nowhere does not exist"),
    ("make_triplets.py", ("--dataset", "digits", "--layout", "dense", "--triplets", 0),
     "0 triplets"),
    ("make_triplets.py", ("--dataset", "digits", "--layout", "indexed", "--seed", -1),
     "seed -1"),
    ("make_triplets.py", ("--dataset", "digits", "--triplets", 10),
     "--triplets goes with --layout indexed or dense"),
    ("make_triplets.py", ("--dataset", "digits", "--layout", "dense", "--encoding",
                          "png"), "dense triplets are raw"),
    ("make_triplets.py", ("--dataset", "digits", "--output", "/proc/x/db"), "/proc"),
    ("make_prototxt.py", ("--dataset", "cifar10", "--bits", 100), "100 bits"),
    ("make_prototxt.py", ("--bits", 16), "need --dataset"),
    ("make_prototxt.py", ("--iterations", 16), "need --dataset"),
    ("make_codes.py", ("--dataset", "digits"), "there is no net 'digits_cnnh'"),
    ("evaluate.py", ("--dataset", "digits", "--bits", 9), "no trained net 'digits_9bit'"),
    ("evaluate.py", ("--dataset", "digits", "--model", "nowhere"), "nowhere is not there"),
    ("evaluate.py", ("--codes", "README.md"), "README.md is not a readable codes file"),
    ("evaluate.py", ("--codes", "README.md", "--bits", 12), "--bits is about coding"),
    ("evaluate.py", ("--codes", "README.md", "--json", "tests/../README.md"),
     "README.md would be written over what is read"),
    ("evaluate.py", ("--note", "two\nlines"), "--note is one line of at most 200 letters"),
    ("plot_log.py", ("README.md", "--output", "README.md"), "pictures are .png"),
    ("search.py", ("--codes", "README.md", "--image", "x.png", "--html", "x.png"),
     "x.png would be written over what is read"),
    ("plot_log.py", ("README.md",), "no figures of a training"),
    ("get_data.py", ("cifar10", "--force", "--from", "/dev/zero"), "is a device"),
    ("get_data.py", ("folder", "--name", "photos"), "your own images need --from and --name"),
    ("get_data.py", ("folder", "--from", "tests", "--name", "svhn"), "of another data set"),
    ("get_data.py", ("nuswide", "--force"), "NUS-WIDE cannot be downloaded by a program"),
    ("make_triplets.py", ("--dataset", "no_such"), "unknown data set 'no_such'"),
    ("baselines.py", ("--method", "itq", "--dataset", "digits", "--bits", 80, "--features",
                      "pixels"), "80 principal directions are asked of 64 features that vary along 61"),
    ("make_triplets.py", ("--dataset", "digits", "--output", "/"),
     "--output /: give the name"),
])
def test_a_users_mistake_is_one_sentence(tool, arguments, message):
    said = run(tool, *arguments, status=1)
    assert message in said and "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("error: ")


def test_evaluate_reads_any_codes_file(tmp_path):
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "codes.h5", "w") as file:
        labels = {"query": rng.integers(4, size=8), "database": rng.integers(4, size=300)}
        for side, values in labels.items():
            file[f"{side}_labels"] = values
            file[f"{side}_codes"] = values.astype(np.uint8)[:, np.newaxis]
        file.attrs.update(bits=8, dataset="mine", method="label", seed=3)
    said = run("evaluate.py", "--codes", tmp_path / "codes.h5",
               "--json", tmp_path / "out.json", "--output", tmp_path / "results")
    assert "MAP                        1.0000" in said
    assert (tmp_path / "out.json").read_text() == (
        tmp_path / "results/result.json").read_text()
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == [
        "curves.csv", "precision_at.pdf", "precision_at.png", "precision_radius2.pdf",
        "precision_radius2.png", "precision_recall.pdf", "precision_recall.png",
        "report.html", "result.json"]


def train(folder, net, iterations, snapshot=None, expect=0, rate=0.01, **environment):
    """Run `caffe train` as a user does; returns its log."""
    (folder / "net.prototxt").write_text(net)
    (folder / "solver.prototxt").write_text(
        f'net: "{folder}/net.prototxt" base_lr: {rate} lr_policy: "fixed" '
        f'max_iter: {iterations} display: 1 snapshot: 2 '
        f'snapshot_prefix: "{folder}/net" random_seed: 1')
    command = [ROOT / ".venv/bin/caffe", "train", "-solver", folder / "solver.prototxt"]
    if snapshot:
        command += ["-snapshot", snapshot]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, **environment})
    assert done.returncode == expect, done.stderr
    return done.stderr


def losses(log):
    return np.array(re.findall(r"Iteration \d+ .*loss = (\S+)", log), float)


def digits_net(database, layout="fresh", variant=""):
    """The digits' net, its data layer reading ``database``."""
    spec = nets.net_spec("digits", variant, bits=12, layout=layout)
    return nets.train_test(spec).replace(
        nets.database_of("digits", "train", layout), str(database))


def test_images_train_codes_report(tmp_path):
    """The main job in small: a net that has learnt nothing much, but everything."""
    run("make_triplets.py", "--dataset", "digits", "--output", tmp_path / "images")
    net = digits_net(tmp_path / "images")
    log = train(tmp_path, net, 4)
    whole = (tmp_path / "net_iter_4.caffemodel").read_bytes()
    # Killed after 2 iterations and resumed, it goes on where it was: with the same
    # triplets, to the same weights.
    log += train(tmp_path, net, 4, tmp_path / "net_iter_2.solverstate")
    assert (tmp_path / "net_iter_4.caffemodel").read_bytes() == whole
    (tmp_path / "training.log").write_text(log)
    run("plot_log.py", tmp_path / "training.log")
    assert (tmp_path / "training.log.png").stat().st_size > 10_000
    assert "epsilon = 0.5 from iteration 0" in log
    assert "epsilon = 0.5 from iteration 2" in log
    for name in ("distinct_codes", "bit_mean_min", "bit_mean_max", "clipped", "active"):
        assert f"{name} = " in log
    said = run("evaluate.py", "--dataset", "digits", "--bits", 12, "--model",
               tmp_path / "net_iter_4.caffemodel", "--output", tmp_path / "results")
    assert "200 queries, 1,597 in the database" in said
    with h5py.File(tmp_path / "results/codes.h5") as file:
        assert file["query_codes"].shape == (200, 2)
        assert file["database_codes"].shape == (1597, 2)
        assert file.attrs["method"] == "DNNH"


def test_the_other_layouts_train_too(tmp_path):
    """A list and whole triplets of the same seed bring the same images."""
    images = {}
    for layout in ("indexed", "dense"):
        folder = tmp_path / layout
        folder.mkdir()
        run("make_triplets.py", "--dataset", "digits", "--layout", layout,
            "--triplets", 100, "--output", folder / "triplets")
        log = train(folder, digits_net(folder / "triplets", layout), 2)
        assert "Iteration 1 " in log
        net = caffe.Net(str(folder / "net.prototxt"), caffe.TRAIN)
        images[layout] = []
        for _ in range(3):                         # around the end of the list
            net.forward(end="pixels")
            images[layout].append(net.blobs["images"].data.copy())
    assert np.array_equal(images["indexed"], images["dense"])
    assert np.any(images["dense"][0] != images["dense"][1])


def test_onednn_trains_as_caffe_itself_does(tmp_path, monkeypatch):
    """One seed, with the layers on oneDNN and with Caffe's own: a normalized net,
    which learns something in 50 iterations."""
    run("make_triplets.py", "--dataset", "digits", "--output", tmp_path / "images")
    recipe = dataclasses.replace(nets.RECIPES["digits", ""], normalize=True)
    monkeypatch.setitem(nets.RECIPES, ("digits", "bn"), recipe)
    net = digits_net(tmp_path / "images", variant="bn")
    stock, ours = (losses(train(tmp_path, net, 50, DNNH_ONEDNN=choice))
                   for choice in ("0", "1"))
    assert len(stock) == 50 and stock[-10:].mean() < 0.96 * stock[:5].mean()
    assert np.abs(ours / stock - 1).max() < 1e-3
    # What one wrote, the other goes on from.
    stock, ours = (losses(train(tmp_path, net, 54, tmp_path / "net_iter_50.solverstate",
                                DNNH_ONEDNN=choice)) for choice in ("0", "1"))
    assert len(stock) == 4 and np.abs(ours / stock - 1).max() < 1e-3


def test_the_ablations_and_lengths_trained_together(tmp_path, monkeypatch):
    """Each trains, and each of its deploy nets codes with its weights."""
    run("make_triplets.py", "--dataset", "digits", "--output", tmp_path / "images")
    plain = nets.RECIPES["digits", ""]
    images = datasets.load("digits").images[:50]
    for variant, changes in (
            ("fc", {"encode": "full"}), ("two", {"subnetworks": recipes.TWO}),
            ("plus", {"lengths": (8, 12), "images_per_class": 4, "classify": 1.0,
                      "normalize": True})):
        recipe = dataclasses.replace(plain, **changes)
        monkeypatch.setitem(nets.RECIPES, ("digits", variant), recipe)
        folder = tmp_path / variant
        folder.mkdir()
        log = train(folder, digits_net(tmp_path / "images", variant=variant), 4)
        assert "Iteration 3" in log
        codes = {}
        for bits in recipe.lengths or (12,):
            spec = nets.net_spec("digits", variant, bits)
            for subnetwork in recipe.subnetworks:
                net = encoder.Encoder(nets.deploy(spec, subnetwork),
                                      folder / "net_iter_4.caffemodel")
                codes[bits, subnetwork] = net.encode(images)
                assert codes[bits, subnetwork].shape == (50, -(-bits // 8))
        if variant == "two":             # two nets indeed, each with weights of its own
            assert np.any(codes[12, "query_"] != codes[12, "database_"])


def test_the_two_stages_of_cnnh(tmp_path, monkeypatch):
    """Codes are made of labels, and a net learns to give them."""
    monkeypatch.setitem(nets.RECIPES, ("digits", "cnnh"), dataclasses.replace(
        nets.RECIPES["digits", ""], two_stage=True, normalize=True, images=32, triplets=0))
    digits = datasets.load("digits")
    rows = splits.load_split(digits).training
    codes = cnnh.approximate_codes(digits.labels[rows], 12)
    databases.write_images(tmp_path / "coded", digits.images[rows], codes, {})
    spec = nets.net_spec("digits", "cnnh", bits=12)
    net = nets.train_test(spec).replace(
        nets.database_of("digits", "train", coded=12), str(tmp_path / "coded"))
    train(tmp_path, net, 150, rate=0.1)
    found = encoder.Encoder(nets.deploy(spec), tmp_path / "net_iter_150.caffemodel").encode(
        digits.images[rows])
    assert (ranking.unpack(found, 12) == codes).mean() > 0.95


def test_queries_are_coded_by_the_first_subnetwork(monkeypatch):
    """Section 4.4: P codes queries, Q the database."""
    evaluate = importlib.import_module("evaluate")
    monkeypatch.setitem(nets.RECIPES, ("digits", "two"), dataclasses.replace(
        nets.RECIPES["digits", ""], subnetworks=recipes.TWO))

    class FakeEncoder:
        def __init__(self, deploy, weights):
            self.codes = {"query_codes": 1, "database_codes": 2}[
                re.search(r'top: "(\w+_codes)"', deploy)[1]]

        def encode(self, images, description, rows):
            return np.full((len(rows), 2), self.codes, np.uint8)

    monkeypatch.setattr(evaluate.encoder, "Encoder", FakeEncoder)
    monkeypatch.setattr("sys.argv", ["evaluate.py", "--dataset", "digits", "--variant",
                                     "two", "--bits", "12", "--model", "README.md"])
    coded, _, _ = evaluate.encode(evaluate.parse_arguments())
    assert (coded.query_codes == 1).all() and (coded.database_codes == 2).all()
    assert len(coded.query_codes) == 200


def test_baselines_are_fitted_once(home, monkeypatch, capsys):
    command = importlib.import_module("baselines")

    def said(*arguments):
        monkeypatch.setattr("sys.argv", ["baselines.py", "--dataset", "digits",
                                         "--features", "pixels", *arguments])
        command.main()
        return capsys.readouterr().out

    first = said("--method", "lsh", "sdh", "--bits", "8", "16")
    assert first.count("learnt and coded") == 4
    result = json.loads((home / "results/digits_SDH_pixels_paper_16bit/result.json").read_text())
    assert result["map"] > 0.75 and result["method"] == "SDH (pixels)"
    assert result["queries"] == 200 and result["features"] == "pixels"
    lsh = json.loads((home / "results/digits_LSH_pixels_paper_16bit/result.json").read_text())
    assert lsh["map"] < 0.6
    assert said("--method", "lsh", "--bits", "8").count("done before") == 1
    assert "learnt and coded" in said("--method", "lsh", "--bits", "8", "--force")
    assert "learnt and coded" in said("--method", "lsh", "--bits", "8", "--top", "50")
    path = home / "results/digits_LSH_pixels_paper_16bit/result.json"
    path.write_text(path.read_text().replace(lsh["source"], "another copy"))
    assert "learnt and coded" in said("--method", "lsh", "--bits", "16")
    assert "done before" in said("--method", "lsh", "--bits", "16")
    # Another seed is another result, and what one method cannot do leaves the others.
    assert "learnt and coded" in said("--method", "lsh", "--bits", "8", "--seed", "1")
    assert (home / "results/digits_LSH_pixels_seed_1_paper_8bit/result.json").exists()
    with pytest.raises(UserError, match=r"ITQ \(pixels\), 80 bits: 80 principal"):
        said("--method", "itq", "lsh", "--bits", "80")
    assert (home / "results/digits_LSH_pixels_paper_80bit/result.json").exists()


def test_a_missing_database_is_one_sentence(tmp_path):
    log = train(tmp_path, digits_net(tmp_path / "nowhere"), 4, expect=-6)
    assert "TripletData layer 'triplet_images': there is no image database" in log
    assert "write it with 'python tools/make_triplets.py'" in log
