"""The commands, run as a user runs them."""

import importlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import caffe
import h5py
import numpy as np
import pytest

import built
from dnnh import files, packed_codes, paths
from dnnh.baselines import cnnh
from dnnh.data import datasets, image_database, splits
from dnnh.errors import UserError
from dnnh.evaluation import codes as codes_files
from dnnh.evaluation import results
from dnnh.evaluation.codes import Codes
from dnnh.nets import caffe_encoder, configs, model_files, net_config, onnx_encoder, prototxt
from dnnh.nets.specs import net_spec
from dnnh.paths import ROOT
from random_nets import normalized_net

TOOLS = sorted(path.name for path in (ROOT / "tools").glob("*.py"))


def run(name, *arguments, status=0):
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / name, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def call(monkeypatch, name, *arguments):
    """Run a tool in this process, which has another configuration than the tools themselves."""
    tool = importlib.import_module(name)
    monkeypatch.setattr("sys.argv", [f"{name}.py", *map(str, arguments)])
    tool.main()


@pytest.mark.parametrize("tool", TOOLS)
def test_help_has_examples(tool):
    assert f"python tools/{tool}" in run(tool, "--help")


@pytest.mark.parametrize(
    "tool, arguments, message",
    [
        ("get_data.py", ("cifar10", "--force", "--from", "nowhere"), "nowhere does not exist"),
        (
            "make_triplets.py",
            ("--dataset", "digits", "--sampling", "materialized", "--triplets", 0),
            "0 triplets",
        ),
        (
            "make_triplets.py",
            ("--dataset", "digits", "--sampling", "listed", "--triplet-seed", -1),
            "seed -1",
        ),
        (
            "make_triplets.py",
            ("--dataset", "digits", "--triplets", 10),
            "--triplets goes with --sampling listed or materialized",
        ),
        (
            "make_triplets.py",
            ("--dataset", "digits", "--sampling", "materialized", "--encoding", "png"),
            "materialized triplets are raw",
        ),
        ("make_triplets.py", ("--dataset", "digits", "--output", "/proc/x/db"), "/proc"),
        ("make_prototxt.py", ("--dataset", "cifar10", "--bits", 100), "100 bits"),
        ("make_prototxt.py", ("--schedule", "0"), "0 iterations"),
        ("make_prototxt.py", ("--method", "dnnh_minimal", "--schedule", "16"), "steps of its own"),
        (
            "make_target_codes.py",
            ("--dataset", "digits"),
            "data set 'digits' has no net of the method 'cnnh",
        ),
        ("evaluate.py", ("--dataset", "digits", "--bits", 9), "no trained net 'digits_dnnh_9bit'"),
        ("evaluate.py", ("--dataset", "digits", "--model", "nowhere"), "nowhere does not exist"),
        ("evaluate.py", ("--codes", "README.md"), "README.md is not a readable codes file"),
        ("evaluate.py", ("--codes", "README.md", "--bits", 12), "--bits is for encoding"),
        (
            "evaluate.py",
            ("--dataset", "digits", "--all-lengths"),
            "lengths that are trained together",
        ),
        (
            "evaluate.py",
            ("--codes", "README.md", "--json", "tests/../README.md"),
            "README.md would be written over what is read",
        ),
        ("evaluate.py", ("--note", "two\nlines"), "--note is one line of at most 200 letters"),
        (
            "evaluate.py",
            ("--unweighted", "--note", "x" * 180),
            "--note is one line of at most 152 letters; this one has 180",
        ),
        ("plot_log.py", ("README.md", "--output", "README.md"), "pictures are .png"),
        (
            "search.py",
            ("--index", "README.md", "--image", "x.png", "--html", "x.png"),
            "x.png would be written over what is read",
        ),
        ("plot_log.py", ("README.md",), "no figures of a training"),
        ("get_data.py", ("cifar10", "--force", "--from", "/dev/zero"), "is a device"),
        ("get_data.py", ("folder", "--name", "photos"), "your own images need --from and --name"),
        ("get_data.py", ("digits", "--size", 256), "--size is for your own images"),
        ("get_data.py", ("digits", "--name", "x"), "--name is for your own images"),
        ("get_data.py", ("digits", "--url", "x"), "--url is for a download"),
        ("get_data.py", ("folder", "--from", "tests", "--name", "svhn"), "of another data set"),
        ("get_data.py", ("nuswide", "--force"), "NUS-WIDE cannot be downloaded by a program"),
        ("make_triplets.py", ("--dataset", "no_such"), "unknown data set 'no_such'"),
        (
            "baselines.py",
            ("--method", "itq", "--dataset", "digits", "--bits", 80, "--features", "pixels"),
            "80 principal directions are asked of 64 features that vary along 61",
        ),
        ("make_triplets.py", ("--dataset", "digits", "--output", "/"), "--output /: give the name"),
    ],
)
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
    said = run(
        "evaluate.py",
        "--codes",
        tmp_path / "codes.h5",
        "--json",
        tmp_path / "out.json",
        "--output",
        tmp_path / "results",
    )
    assert "MAP                        1.0000" in said
    assert (tmp_path / "out.json").read_text() == (tmp_path / "results/result.json").read_text()
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == [
        "curves.csv",
        "precision_at.pdf",
        "precision_at.png",
        "precision_recall.pdf",
        "precision_recall.png",
        "report.html",
        "result.json",
    ]


def train(folder, net, iterations, snapshot=None, expect=0, rate=0.01, **environment):
    """Run `caffe train` as a user does; returns its log."""
    prototxt.write(folder / "net.prototxt", net)
    (folder / "solver.prototxt").write_text(
        f'net: "{folder}/net.prototxt" base_lr: {rate} lr_policy: "fixed" '
        f"max_iter: {iterations} display: 1 snapshot: 2 "
        f'snapshot_prefix: "{folder}/net" random_seed: 1'
    )
    command = [ROOT / ".venv/bin/caffe", "train", "-solver", folder / "solver.prototxt"]
    if snapshot:
        command += ["-snapshot", snapshot]
    done = subprocess.run(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == expect, done.stderr
    return done.stderr


def losses(log):
    return np.array(re.findall(r"Iteration \d+ .*loss = (\S+)", log), float)


def digits_net(database, method="dnnh", sampling="online"):
    """The digits' net of 12 bits, its data layer reading ``database``."""
    net = prototxt.train_net(net_spec("digits", method, 12, sampling=sampling))
    data = net.layer[0]
    if sampling == "materialized":
        data.data_param.source = str(database)
    else:
        data.triplet_data_param.source = str(database)
    if sampling == "listed":
        data.triplet_data_param.triplet_file = f"{database}/triplets.h5"
    return net


def set_config(monkeypatch, method, **changes):
    """Give the digits' data set a net of another method."""
    config = replace(configs.CONFIGS["digits"]["dnnh_minimal"], **changes)
    monkeypatch.setitem(configs.CONFIGS["digits"], method, config)
    return config


def test_images_train_codes_report(tmp_path):
    """The whole pipeline in small: a net that has learned nothing much, but all of the steps."""
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
    said = run(
        "evaluate.py",
        "--dataset",
        "digits",
        "--bits",
        12,
        "--model",
        tmp_path / "net_iter_4.caffemodel",
        "--output",
        tmp_path / "results",
    )
    assert "200 queries, 1,597 in the database" in said
    with h5py.File(tmp_path / "results/codes.h5") as file:
        assert file["query_codes"].shape == (200, 2)
        assert file["database_codes"].shape == (1597, 2)
        assert file.attrs["method"] == "dnnh"


def test_the_other_samplings_train_too(tmp_path):
    """Listed and materialized triplets of the same seed bring the same images."""
    images = {}
    for sampling in ("listed", "materialized"):
        folder = tmp_path / sampling
        folder.mkdir()
        options = ["--dataset", "digits", "--sampling", sampling, "--triplets", 100]
        run("make_triplets.py", *options, "--output", folder / "triplets")
        log = train(folder, digits_net(folder / "triplets", "dnnh_minimal", sampling), 2)
        assert "Iteration 1 " in log
        net = caffe.Net(str(folder / "net.prototxt"), caffe.TRAIN)
        images[sampling] = []
        for _ in range(3):  # around the end of the list
            net.forward(end="pixels")
            images[sampling].append(net.blobs["images"].data.copy())
    assert np.array_equal(images["listed"], images["materialized"])
    assert np.any(images["materialized"][0] != images["materialized"][1])


@pytest.mark.skipif(not built.has_onednn(), reason="this build is without oneDNN")
def test_onednn_trains_as_caffe_itself_does(tmp_path, monkeypatch):
    """One seed, with the layers on oneDNN and with Caffe's own: a net with batch
    normalization, which learns something in 50 iterations."""
    run("make_triplets.py", "--dataset", "digits", "--output", tmp_path / "images")
    head = net_config.EncodingHead(beta=0.5)
    set_config(monkeypatch, "dnnh_bn", batch_norm=True, head=head)
    net = digits_net(tmp_path / "images", "dnnh_bn")
    stock, ours = (losses(train(tmp_path, net, 50, DNNH_ONEDNN=choice)) for choice in ("0", "1"))
    assert len(stock) == 50 and stock[-10:].mean() < 0.96 * stock[:5].mean()
    assert np.abs(ours / stock - 1).max() < 1e-3
    # Each resumes from the same snapshot.
    stock, ours = (
        losses(train(tmp_path, net, 54, tmp_path / "net_iter_50.solverstate", DNNH_ONEDNN=choice))
        for choice in ("0", "1")
    )
    assert len(stock) == 4 and np.abs(ours / stock - 1).max() < 1e-3


def test_a_net_is_exported(tmp_path, capsys):
    spec = net_spec("digits", bits=12)
    deploy, digits = prototxt.deploy_text(spec), datasets.load("digits").images
    net = normalized_net(deploy, digits[:100])
    net.save(str(tmp_path / "net.caffemodel"))
    names = ("--dataset", "digits", "--bits", 12, "--model", tmp_path / "net.caffemodel")
    output = tmp_path / "net.onnx"
    said = run("export.py", *names, "--output", output, "--compare", 150)
    assert re.search(r"150 images: \d of 1,800 bits differ from Caffe's, 0 of them", said)
    size = output.stat().st_size
    assert f"{output}: {size:,} bytes" in said
    said = run("export.py", *names, "--output", output, "--compare", 0, status=1)
    assert "--compare 0: it is 1 or more" in said
    said = run("export.py", *names, "--output", tmp_path / "net.caffemodel", status=1)
    assert "net.caffemodel" in said and model_files.read(tmp_path / "net.caffemodel").layer
    names = ("--dataset", "digits", "--bits", 13, "--model", tmp_path / "net.caffemodel")
    assert "does not fit the net" in run("export.py", *names, "--output", output, status=1)
    assert output.stat().st_size == size  # the last one that was right
    for blob in (net.params["encode"][0], net.params["normalize"][0]):  # all bits but their biases
        blob.data[...] *= -1
    net.save(str(tmp_path / "other.caffemodel"))
    other = caffe_encoder.CaffeEncoder(deploy, tmp_path / "other.caffemodel", fuse=False)
    with pytest.raises(SystemExit):
        importlib.import_module("export").compare(spec, onnx_encoder.read(output), other, 150)
    count = re.search(r"150 images: (\d+) of 1,800 bits differ", capsys.readouterr().out)
    assert count and int(count[1]) > 1700


def test_a_model_is_released(tmp_path):
    deploy, digits = prototxt.deploy_text(net_spec("digits", bits=12)), datasets.load("digits")
    net = normalized_net(deploy, digits.images[:100])
    snapshot, released = tmp_path / "net.caffemodel", tmp_path / "released.caffemodel.h5"
    net.save(str(snapshot))
    names = ("--dataset", "digits", "--bits", 12, "--model", snapshot, "--output")
    said = run("release_model.py", *names, released)
    images = digits.images[splits.load_split(digits).training]
    codes, halved = (
        caffe_encoder.CaffeEncoder(deploy, path).encode(images) for path in (snapshot, released)
    )
    count = np.bitwise_count(codes ^ halved).sum()
    assert count and f"\n{count:,} of {12 * len(images):,} bits differ\n" in said
    assert f"SHA-256 {files.sha256(released)}" in said
    assert f"evaluate.py --dataset digits --method dnnh --bits 12 --model {released}" in said
    (weights,) = (
        model_files.values_of(layer.blobs[0])
        for layer in model_files.read(released).layer
        if layer.name == "conv1"
    )
    assert np.array_equal(weights, net.params["conv1"][0].data.astype(np.float16).ravel())
    assert "net.caffemodel" in run("release_model.py", *names, snapshot, status=1)
    net.params["conv1"][0].data[...] = 1e5
    net.save(str(snapshot))
    before = released.read_bytes()
    assert "beyond 65504" in run("release_model.py", *names, released, status=1)
    assert released.read_bytes() == before
    short = snapshot.rename(tmp_path / "digits_dnnh_300iterations_12bit_iter_300.caffemodel")
    names = ("--dataset", "digits", "--bits", 12, "--output", released)
    assert "is of the schedule 300; name that with --sch" in run(
        "release_model.py", *names, "--model", short, status=1
    )
    for name in ("validation", "seed2"):
        other = short.rename(tmp_path / f"digits_dnnh_{name}_12bit_iter_300.caffemodel")
        short = other
        said = run("release_model.py", *names, "--model", other, status=1)
        assert "released weights have --split test and training seed 1" in said


VARIANTS = {  # of the digits' net
    "dnnh_fc": {"head": net_config.EncodingHead(fully_connected=True)},
    "dnnh_two_towers": {"towers": net_config.TWO_TOWERS},
    "dnnh_plus": {
        "joint_lengths": (8, 12),
        "batch": net_config.ImagesPerClass(classes=10, images_per_class=4),
        "loss": net_config.TripletLoss(classification_weight=1),
        "batch_norm": True,
    },
    "dsrh": {
        "batch": net_config.ImagesPerClass(classes=10, images_per_class=4),
        "head": net_config.SigmoidHead(),
        "loss": net_config.RankingListLoss(margin=4, balance=1),
        "batch_norm": True,
    },
    "drsch": {
        "batch": net_config.ImagesPerClass(classes=10, images_per_class=4),
        "head": net_config.SlopeSigmoidHead(slope=1, gamma=1.1, steps=30),
        "loss": net_config.TripletLoss(margin=6, adjacency=0.1),
        "batch_norm": True,
    },
}


@pytest.mark.parametrize("method", VARIANTS)
def test_variants_train_and_encode(tmp_path, monkeypatch, method):
    """Ablations, other methods, lengths trained together: each of the deploy nets encodes."""
    run("make_triplets.py", "--dataset", "digits", "--output", tmp_path / "images")
    images = datasets.load("digits").images[:50]
    config = set_config(monkeypatch, method, **VARIANTS[method])
    log = train(tmp_path, digits_net(tmp_path / "images", method), 4)
    assert "Iteration 3" in log
    codes = {}
    for bits in config.joint_lengths or (12,):
        spec = net_spec("digits", method, bits)
        for tower in config.towers:
            net = caffe_encoder.CaffeEncoder(
                prototxt.deploy_text(spec, tower), tmp_path / "net_iter_4.caffemodel"
            )
            codes[bits, tower] = net.encode(images)
            assert (net.bit_weights is not None) == (method == "drsch")
            assert codes[bits, tower].shape == (50, packed_codes.code_bytes(bits))
    if method == "dnnh_two_towers":  # two nets indeed, each with weights of its own
        assert np.any(codes[12, "query_"] != codes[12, "database_"])


def test_the_two_stages_of_cnnh(tmp_path, monkeypatch):
    """Target codes are made of labels, and a net learns them."""
    set_config(
        monkeypatch,
        "cnnh_star",
        batch=net_config.ImagesWithTargetCodes(images=32),
        head=net_config.SigmoidHead(),
        batch_norm=True,
    )
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    call(monkeypatch, "make_target_codes", "--dataset", "digits", "--bits", 12)
    images = tmp_path / "data/digits_train_12bit_codes_lmdb"
    digits = datasets.load("digits")
    rows = splits.load_split(digits).training
    target_codes = cnnh.approximate_codes(digits.labels[rows], 12)
    train(tmp_path, digits_net(images, "cnnh_star"), 150, rate=0.1)
    spec = net_spec("digits", "cnnh_star", 12)
    net = caffe_encoder.CaffeEncoder(
        prototxt.deploy_text(spec), tmp_path / "net_iter_150.caffemodel"
    )
    codes = net.encode(digits.images[rows])
    assert (packed_codes.unpack(codes, 12) == target_codes).mean() > 0.95


def test_the_demo(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("demo"), "ITERATIONS", {"digits": 20})
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    call(monkeypatch, "demo")
    folder = tmp_path / "demo_digits"
    result = results.read_result(folder / "result.json")
    assert result.note.startswith("A shortened training run: 20 iterations")
    assert result.metrics.map > 2 * result.metrics.map_random
    assert {"report.html", "training.png", "training.log"} <= {p.name for p in folder.iterdir()}


def test_weights_are_averaged(tmp_path, monkeypatch, capsys):
    net = caffe_encoder.build(prototxt.deploy_net(net_spec("digits", bits=12)))
    for value in (1, 2):
        net.params["encode"][0].data[...] = value
        net.save(str(tmp_path / f"{value}.caffemodel"))
    models = [tmp_path / "1.caffemodel", tmp_path / "2.caffemodel"]
    output = tmp_path / "mean.caffemodel"
    words = ("--dataset", "digits", "--bits", 12, "--models", *models, "--output", output)
    call(monkeypatch, "average_weights", *words)
    (encode,) = [layer for layer in model_files.read(output).layer if layer.name == "encode"]
    assert set(encode.blobs[0].data) == {1.5}
    printed = capsys.readouterr().out
    assert "averaged 1.caffemodel, 2.caffemodel\n" in printed
    assert f"evaluate.py --dataset digits --method dnnh --bits 12 --model {output}" in printed


def test_initial_weights_are_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "PROTOTXT", tmp_path / "prototxt")
    words = ("--dataset", "mnist", "--method", "dnnh_two_towers", "--bits", 12)
    call(monkeypatch, "make_initial_weights", *words)
    written = "snapshots/mnist_dnnh_two_towers_12bit_initial.caffemodel"
    layers = {layer.name for layer in model_files.read(tmp_path / written).layer}
    assert {"query_conv1", "database_conv1"} <= layers
    solver = "prototxt/generated/mnist/dnnh_two_towers_12bit_solver.prototxt"
    make = "python tools/make_prototxt.py --dataset mnist --method dnnh_two_towers --bits 12"
    said = capsys.readouterr().out
    assert f"  {make}\n  caffe train -solver {solver} -weights {written}\n" in said


def test_prototxt_of_another_training_run(tmp_path, monkeypatch, tool):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(paths, "PROTOTXT", tmp_path / "prototxt")
    words = ("--dataset", "cifar10", "--bits", 16, "--split", "validation", "--train-seed", 2)
    name = "prototxt/generated/cifar10/dnnh_validation_seed2_16bit_solver.prototxt"
    assert f"caffe train -solver {name}\n" in tool("make_prototxt", *words)
    solver = prototxt.read_solver(tmp_path / name)
    assert solver.random_seed == 2 and list(solver.test_iter) == [50]
    assert solver.snapshot_prefix == "snapshots/cifar10_dnnh_validation_seed2_16bit"


def test_lengths_that_are_encoded_together_are_those_encoded_alone(monkeypatch, tmp_path):
    evaluate = importlib.import_module("evaluate")
    set_config(monkeypatch, "dnnh", joint_lengths=(12, 9, 48))
    digits, model = datasets.load("digits"), tmp_path / "net.caffemodel"
    caffe.set_random_seed(1)
    net = caffe_encoder.build(prototxt.joint_deploy_net(net_spec("digits", bits=12)))
    net.blobs["images"].data[...] = digits.images[:100].transpose(0, 3, 1, 2)
    net.forward()
    for bits in (9, 12, 48):  # half of the bits are 1
        outputs = net.blobs[f"{bits}bit_encode"].data.mean(axis=0)
        net.params[f"{bits}bit_encode"][1].data[...] -= outputs
    net.save(str(model))

    def encode(*options):
        command = ["evaluate.py", "--dataset", "digits", "--model", str(model), *options]
        monkeypatch.setattr("sys.argv", command)
        return [codes for codes, _ in evaluate.encode(evaluate.parse_arguments())]

    together = encode("--all-lengths")
    assert [codes.bits for codes in together] == [12, 9, 48]
    for codes in together:
        (alone,) = encode("--bits", str(codes.bits))
        assert np.array_equal(codes.query_codes, alone.query_codes)
        assert np.array_equal(codes.database_codes, alone.database_codes)
        assert 0.3 < packed_codes.unpack(alone.query_codes, codes.bits).mean() < 0.7
    for option in (["--bits", "12"], ["--json", "x.json"], ["--output", "x"]):
        with pytest.raises(UserError, match=f"{option[0]} is for one length"):
            encode("--all-lengths", *option)


def test_queries_are_encoded_by_the_first_tower(monkeypatch):
    """Section 4.4: P encodes queries, Q the database."""
    evaluate = importlib.import_module("evaluate")
    set_config(monkeypatch, "dnnh_two_towers", towers=net_config.TWO_TOWERS)

    class FakeEncoder:
        bit_weights = None

        def __init__(self, deploy, weights, gpu):
            output = re.search(r'top: "(\w+_codes)"', deploy)[1]
            self.code = {"query_codes": 1, "database_codes": 2}[output]

        def encode(self, images, description, rows):
            return np.full((len(rows), 2), self.code, np.uint8)

    monkeypatch.setattr(evaluate, "CaffeEncoder", FakeEncoder)
    command = "evaluate.py --dataset digits --method dnnh_two_towers --bits 12 --model"
    monkeypatch.setattr("sys.argv", [*command.split(), str(ROOT / "README.md")])
    ((codes, _),) = evaluate.encode(evaluate.parse_arguments())
    assert (codes.query_codes == 1).all() and (codes.database_codes == 2).all()
    assert len(codes.query_codes) == 200


@pytest.mark.parametrize("split_name", ["test", "validation"])
def test_other_images_than_the_queries(monkeypatch, split_name):
    """No query of the protocol is among them, whatever is ranked."""
    evaluate = importlib.import_module("evaluate")
    digits = datasets.load("digits")
    split = splits.load_split(digits)
    trained = split.training if split_name == "test" else split.validation_training
    for queries in (None, "held-out", "training"):
        command = f"evaluate.py --dataset digits --split {split_name}"
        command += f" --queries {queries}" if queries else ""
        monkeypatch.setattr("sys.argv", command.split())
        arguments = evaluate.parse_arguments()
        evaluate.cli.fill_in_defaults(arguments)
        images, database, protocol = evaluate.images_of(arguments, digits, split)
        if queries is None and split_name == "test":
            assert np.array_equal(images, split.queries) and protocol == "paper"
            continue
        assert not np.isin(split.queries, np.union1d(images, database)).any()
        if queries is None:
            assert images is database is split.validation_queries
            continue
        assert protocol == ("paper, " if split_name == "test" else "validation, ") + queries
        assert np.array_equal(np.union1d(images, database), split.database)
        assert not np.isin(images, database).any()
        assert np.isin(images, trained).all() == (queries == "training")
        assert np.isin(images, trained).any() == (queries == "training")


def test_changed_codes_say_so(tmp_path, monkeypatch, capsys):
    """The result says so, and the folder has the codes that were ranked."""
    evaluate = importlib.import_module("evaluate")
    rng = np.random.default_rng(0)
    bits, labels = rng.random((60, 12)) < 0.5, np.arange(60) % 3
    packed = packed_codes.pack(bits)
    weights = rng.random(12).astype(np.float32)
    weighted = Codes(
        packed[:6], packed[6:], labels[:6], labels[6:], 12, "x", "y", 0, bit_weights=weights
    )
    codes_files.save(tmp_path / "whole.h5", weighted)
    command = f"evaluate.py --codes {tmp_path}/whole.h5 --output {tmp_path}/result"
    kept = np.sort(np.argsort(-weights)[:5])
    unweighted = "Ranked by Hamming distance without bit weights. Mine."
    for options, note, cut_from, ranked in (
        ("--keep-bits 5", None, 12, kept),
        ("--unweighted --note Mine.", unweighted, None, None),
    ):
        monkeypatch.setattr("sys.argv", f"{command} {options}".split())
        evaluate.main()
        result = results.read_result(tmp_path / "result/result.json")
        codes = codes_files.load(tmp_path / "result/codes.h5")
        assert (result.note, result.cut_from, codes.cut_from) == (note, cut_from, cut_from)
        cut = ", 5 bits cut from 12, " if cut_from else ", 12 bits, "
        assert cut in capsys.readouterr().out
        assert (codes.bit_weights is None) == (ranked is None)
        expected = bits[:6] if ranked is None else bits[:6, ranked]
        assert (packed_codes.unpack(codes.query_codes, codes.bits) == expected).all()
    (tmp_path / "whole.h5").rename(tmp_path / "result/codes.h5")
    command = command.replace("whole.h5", "result/codes.h5")
    monkeypatch.setattr("sys.argv", f"{command} --keep-bits 5".split())
    with pytest.raises(UserError, match="codes.h5 would be written over what is read"):
        evaluate.main()
    assert codes_files.load(tmp_path / "result/codes.h5").bits == 12


@pytest.mark.parametrize("split_name", ["test", "validation"])
def test_pseudo_labels_are_of_no_query(tmp_path, monkeypatch, capsys, split_name):
    """Labels of training images as they are, and of half of the others by their codes."""
    command = importlib.import_module("make_pseudo_labels")
    digits = datasets.load("digits")
    split = splits.load_split(digits)
    encoded = []

    class FakeEncoder:
        def __init__(self, deploy, weights, gpu):
            pass

        def relaxed_codes(self, images, description, rows):
            encoded.append(rows)
            return np.eye(10, dtype=np.float32)[digits.labels[rows]]

    monkeypatch.setattr(command, "CaffeEncoder", FakeEncoder)
    words = f"make_pseudo_labels.py --dataset digits --method dnnh --split {split_name}"
    output = tmp_path / "images"
    monkeypatch.setattr(
        "sys.argv", [*words.split(), "--model", str(ROOT / "README.md"), "--output", str(output)]
    )
    command.main()
    assert "Of these, 1.000 have the right class" in capsys.readouterr().out
    unlabelled, labelled = encoded
    trained = split.training if split_name == "test" else split.validation_training
    assert np.array_equal(labelled, trained)
    assert not np.isin(unlabelled, np.union1d(split.queries, split.training)).any()
    assert len(unlabelled) == len(digits.labels) - len(split.queries) - len(split.training)
    layout = image_database.read_layout(output)
    assert layout["labelled"] == len(trained)
    assert 0.45 < layout["pseudo_labelled"] / len(unlabelled) <= 0.5
    assert layout["model_sha256"] == files.sha256(ROOT / "README.md")
    command_line = [*words.split(), "--model", str(ROOT / "README.md"), "--output", str(output)]
    monkeypatch.setattr("sys.argv", [*command_line, "--share", "0.0001"])
    with pytest.raises(
        UserError, match="--share 0.0001 of .* images is less than one of each of 10"
    ):
        command.main()
    assert image_database.read_layout(output) == layout


def test_baselines_are_fitted_once(home, monkeypatch, capsys):
    command = importlib.import_module("baselines")

    def said(*arguments):
        monkeypatch.setattr(
            "sys.argv", ["baselines.py", "--dataset", "digits", "--features", "pixels", *arguments]
        )
        command.main()
        return capsys.readouterr().out

    first = said("--method", "lsh", "sdh", "--bits", "8", "16")
    assert first.count("fitted and encoded") == 4
    result = json.loads((home / "results/digits_sdh_pixels_paper_16bit/result.json").read_text())
    assert result["map"] > 0.75 and result["method"] == "sdh_pixels"
    assert result["queries"] == 200 and result["features"] == "pixels"
    lsh = json.loads((home / "results/digits_lsh_pixels_paper_16bit/result.json").read_text())
    assert lsh["map"] < 0.6
    assert said("--method", "lsh", "--bits", "8").count("done before") == 1
    assert "fitted and encoded" in said("--method", "lsh", "--bits", "8", "--force")
    assert "fitted and encoded" in said("--method", "lsh", "--bits", "8", "--map-at", "50")
    path = home / "results/digits_lsh_pixels_paper_16bit/result.json"
    path.write_text(path.read_text().replace(lsh["source"], "another copy"))
    assert "fitted and encoded" in said("--method", "lsh", "--bits", "16")
    assert "done before" in said("--method", "lsh", "--bits", "16")
    os.utime(home / "data/digits.h5")  # prepared again
    assert "fitted and encoded" in said("--method", "lsh", "--bits", "16")
    # Another file under the same name is another result.
    vectors = datasets.load("digits").images.reshape(-1, 64).astype(np.float32)
    of_file = ("--method", "lsh", "--bits", "8", "--features", str(home / "f.npy"))
    for scale in (1, 2):
        np.save(home / "f.npy", scale * vectors)
        assert "fitted and encoded" in (printed := said(*of_file))
        assert (f"replaces the result of {home / 'f.npy'}\n" in printed) == (scale == 2)
        assert "done before" in said(*of_file)
    with pytest.raises(UserError, match="gist.npy: .* 'gist' are others; name the file otherwise"):
        said("--method", "lsh", "--features", str(home / "gist.npy"))
    # Another seed is another result, and what one method cannot do leaves the others.
    assert "fitted and encoded" in said("--method", "lsh", "--bits", "8", "--method-seed", "1")
    assert (home / "results/digits_lsh_pixels_seed1_paper_8bit/result.json").exists()
    with pytest.raises(UserError, match="itq_pixels, 80 bits: 80 principal"):
        said("--method", "itq", "lsh", "--bits", "80")
    assert (home / "results/digits_lsh_pixels_paper_80bit/result.json").exists()


def test_baselines_hash_what_the_paper_hashes(monkeypatch):
    command = importlib.import_module("baselines")
    for dataset, expected in (("cifar10", "gist"), ("svhn", "gist"), ("nuswide", "bow")):
        words = f"baselines.py --dataset {dataset} --method ksh --bits 12".split()
        monkeypatch.setattr("sys.argv", words)
        assert command.parse_arguments().features == expected


def test_a_missing_database_is_one_sentence(tmp_path):
    log = train(tmp_path, digits_net(tmp_path / "nowhere"), 4, expect=-6)
    assert "TripletData layer 'triplet_images': there is no image database" in log
    assert "write it with 'python tools/make_triplets.py'" in log
