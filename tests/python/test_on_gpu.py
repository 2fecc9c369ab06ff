"""tests/on_gpu.sh, rehearsed with this build in place of a bundle, and a few images."""

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

import built
from dnnh.paths import ROOT

sys.path.append(str(ROOT / "tests/gpu"))  # before the first import of a module there

import gpu_parts
import make_bundle

IMAGES = 130


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """An archive as make_bundle.py makes it, whose programs are links to this build's."""
    folder = tmp_path_factory.mktemp("bundle")
    for place, names in (("bin", make_bundle.PROGRAMS), ("lib", make_bundle.LIBRARIES)):
        (folder / place).mkdir()
        for name in names:
            (folder / place / os.path.basename(name)).symlink_to(built.BUILD / name)
    make_bundle.copy_texts(folder)
    random, digest = np.random.default_rng(0), hashlib.sha256()
    labels = [i % 10 for i in range(IMAGES)]
    with tarfile.open(folder / "images.tar", "w") as archive:
        for i in range(IMAGES):
            jpeg = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(jpeg, "JPEG")
            digest.update(make_bundle.planes(np.asarray(Image.open(jpeg))))
            entry = tarfile.TarInfo(f"{i}.jpg")
            entry.size = len(jpeg.getvalue())
            archive.addfile(entry, io.BytesIO(jpeg.getvalue()))
    about = {"labels": labels, "sha256": digest.hexdigest()}
    (folder / "images.json").write_text(json.dumps(about))
    (folder / "cpu_losses.json").write_text(json.dumps([1.0] * 200))
    return folder


def on_gpu(bundle, output, *arguments):
    work = bundle / "work"
    shutil.rmtree(work, ignore_errors=True)
    return subprocess.run(
        [sys.executable, bundle / "on_gpu.py", bundle, output, *arguments],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", ["layer_tests", "first_losses", "encoding", "paper_schedule"])
def test_each_part_alone(bundle, tmp_path, name):
    done = on_gpu(bundle, tmp_path, "--rehearse", "--parts", name)
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "gpu.json").read_text())
    part = results["parts"][name]
    assert results["rehearsal"] and part["state"] == "done"
    result = part["result"]
    if name == "first_losses":
        assert len(result["gpu"]) == len(result["cpu"]) == 3
    elif name == "layer_tests":
        assert result["passed"] > 50
    elif name == "encoding":
        assert result["dnnh"] > 0 and result["dnnh_plus"] > 0
    else:
        assert result["iterations"] == 2 and (tmp_path / result["model"]).exists()
    assert f"| {name} | done |" in (tmp_path / "gpu.md").read_text()


def test_a_part_that_fails_does_not_stop_the_next(bundle, tmp_path):
    done = on_gpu(bundle, tmp_path, "--rehearse", "--parts", "memcheck", "first_losses")
    assert done.returncode == 1
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert parts["memcheck"]["reason"] == "compute-sanitizer needs a GPU"
    assert parts["first_losses"]["state"] == "done"


def test_a_part_whose_result_is_wrong_has_failed(bundle, tmp_path):
    about = (bundle / "images.json").read_text()
    (bundle / "images.json").write_text(about.replace('"sha256": "', '"sha256": "0'))
    try:
        done = on_gpu(bundle, tmp_path, "--rehearse", "--parts", "first_losses")
    finally:
        (bundle / "images.json").write_text(about)
    assert done.returncode == 1
    part = json.loads((tmp_path / "gpu.json").read_text())["parts"]["first_losses"]
    assert "other pixels" in part["reason"]


def test_what_was_not_reached_is_reported(bundle, tmp_path):
    done = on_gpu(bundle, tmp_path, "--rehearse", "--seconds", "30", "--parts", "encoding")
    assert done.returncode == 1
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert parts["encoding"]["state"] == "not reached"


def test_a_training_that_is_interrupted_resumes_elsewhere(bundle, tmp_path, monkeypatch):
    def train(output, resume, seconds):
        shutil.rmtree(bundle / "work", ignore_errors=True)
        arguments = argparse.Namespace(rehearse=True, resume=resume, seconds=seconds)
        check = gpu_parts.Check(bundle, output, arguments)
        check.limit = check.end
        output.mkdir()
        solver = check.solver
        iterations = gpu_parts.iteration_of(resume) + 2 if resume else 1000
        settings = {"max_iter": iterations, "display": 1, "snapshot": 2}
        monkeypatch.setattr(check, "solver", lambda name, **_: solver(name, **settings))
        if resume is None:  # until there is a snapshot, however slow the machine is
            left = check.left
            states = check.work
            monkeypatch.setattr(
                check,
                "left",
                lambda: 0.0 if list(states.glob("paper_iter_*.solverstate")) else left(),
            )
        result = {}
        check.paper_schedule(result)
        return result

    first = train(tmp_path / "first", None, seconds=120)
    assert first["interrupted"] and first["iterations"] > 0
    (state,) = (tmp_path / "first").glob("*.solverstate")  # the newest alone
    assert first["iterations"] == gpu_parts.iteration_of(state)
    moved = (tmp_path / "first").rename(tmp_path / "moved") / state.name
    second = train(tmp_path / "second", moved, seconds=60)
    assert second["iterations"] == first["iterations"] + 2
    assert f"Resuming from {state.name}" in (tmp_path / "second/paper.log").read_text()


@pytest.mark.parametrize("lines", [[], ['{"name": "PyTorch", "milliseconds": 7}']])
def test_pytorch_that_fails_is_reported(bundle, tmp_path, monkeypatch, lines):
    """With the figures that it had printed; without any the part has failed."""

    def run(*words):
        raise gpu_parts.Failure("it ended with 1", "\n".join([*lines, "Traceback"]))

    shutil.rmtree(bundle / "work", ignore_errors=True)
    monkeypatch.setattr(gpu_parts, "run", run)
    arguments = argparse.Namespace(rehearse=True, resume=None, seconds=9)
    check = gpu_parts.Check(bundle, tmp_path, arguments)
    if lines:
        expected = {"PyTorch": 7, "incomplete": "it ended with 1"}
        assert check._torch_step("dnnh", tf32=False) == expected
    else:
        with pytest.raises(gpu_parts.Failure, match="ended with 1"):
            check._torch_step("dnnh", tf32=False)
