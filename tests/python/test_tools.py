"""The commands, run as a user runs them."""

import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest

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
    ("make_triplets.py", ("--dataset", "digits", "--triplets", 0), "0 triplets"),
    ("make_triplets.py", ("--dataset", "digits", "--seed", -1), "seed -1"),
    ("make_triplets.py", ("--dataset", "digits", "--triplets", 10, "--output",
                          "/proc/x/db"), "/proc"),
    ("make_prototxt.py", ("--dataset", "cifar10", "--bits", 100), "100 bits"),
    ("make_prototxt.py", ("--bits", 16), "need --dataset"),
    ("evaluate.py", ("--dataset", "digits", "--bits", 9), "no trained net 'digits_9bit'"),
    ("evaluate.py", ("--dataset", "digits", "--model", "nowhere"), "nowhere is not there"),
    ("evaluate.py", ("--codes", "README.md"), "README.md is not a readable codes file"),
    ("plot_log.py", ("README.md",), "no figures of a training"),
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


def test_triplets_train_codes_report(tmp_path):
    """The main job in small: a net that has learnt nothing much, but everything."""
    run("make_triplets.py", "--dataset", "digits", "--triplets", 200,
        "--output", tmp_path / "triplets")
    net = (ROOT / "prototxt/digits_12bit_train_test.prototxt").read_text()
    (tmp_path / "net.prototxt").write_text(
        net.replace("data/digits_train_lmdb", str(tmp_path / "triplets")))
    (tmp_path / "solver.prototxt").write_text(
        f'net: "{tmp_path}/net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 4 '
        f'display: 1 snapshot: 2 snapshot_prefix: "{tmp_path}/net" random_seed: 1')
    caffe = ROOT / ".venv/bin/caffe"
    with (tmp_path / "training.log").open("w") as log:
        subprocess.run([caffe, "train", "-solver", tmp_path / "solver.prototxt"],
                       stderr=log, check=True)
        # Killed after 2 iterations and resumed, it goes on where it was.
        subprocess.run([caffe, "train", "-solver", tmp_path / "solver.prototxt",
                        "-snapshot", tmp_path / "net_iter_2.solverstate"],
                       stderr=log, check=True)
    run("plot_log.py", tmp_path / "training.log")
    assert (tmp_path / "training.log.png").stat().st_size > 10_000
    text = (tmp_path / "training.log").read_text()
    assert "epsilon = 0.5 from iteration 0" in text
    assert "epsilon = 0.5 from iteration 2" in text
    for name in ("distinct_codes", "bit_mean_min", "bit_mean_max", "clipped", "active"):
        assert f"{name} = " in text
    said = run("evaluate.py", "--dataset", "digits", "--bits", 12, "--model",
               tmp_path / "net_iter_4.caffemodel", "--output", tmp_path / "results")
    assert "200 queries, 1,597 in the database" in said
    with h5py.File(tmp_path / "results/codes.h5") as file:
        assert file["query_codes"].shape == (200, 2)
        assert file["database_codes"].shape == (1597, 2)
        assert file.attrs["method"] == "DNNH"
