"""What tools say where they cannot have the GPU that was asked for, and that they ask for it.

No GPU is needed: without one, or in a build without CUDA, there is a sentence. The codes of a
GPU beside those of the CPU are compared by tests/on_gpu.sh.
"""

import pathlib
import re
import subprocess
import sys
import types

import caffe
import pytest

from dnnh import paths
from dnnh.errors import UserError
from dnnh.nets import pycaffe

NONE = "this build of Caffe has no CUDA|there is no NVIDIA driver"
NO_GPU = caffe._caffe.gpu_problem(0)
needs_no_gpu = pytest.mark.skipif(not NO_GPU, reason="there is a GPU")


def test_there_is_no_such_gpu():
    with pytest.raises(UserError, match=f"^--gpu 99: ({NONE}|there is no GPU 99)"):
        pycaffe.use(99)


def test_a_gpu_is_taken_before_the_mode_is_set(monkeypatch):
    calls = []
    fake = types.SimpleNamespace(
        _caffe=types.SimpleNamespace(gpu_problem=lambda gpu: ""),
        set_device=lambda gpu: calls.append(gpu),
        set_mode_gpu=lambda: calls.append("gpu"),
        set_mode_cpu=lambda: calls.append("cpu"),
    )
    monkeypatch.setattr(pycaffe, "load", lambda: fake)
    pycaffe.use(3)
    pycaffe.use(None)
    assert calls == [3, "gpu", "cpu"]


@needs_no_gpu
def test_each_tool_asks_for_the_gpu(photos, tmp_path, run):
    index = tmp_path / "c.h5"
    run.encode(photos, index)
    image = photos / "class0/00.png"
    options = ["--dataset", "digits", "--bits", 12]
    for command in (
        ["evaluate", *options],
        ["search", "--index", index, "--image", image],
        ["serve", "--index", index, "--port", 0],
        ["encode", *options, "--images", photos, "--output", tmp_path / "d.h5"],
    ):
        with pytest.raises(UserError, match=f"^--gpu 0: ({NONE})"):
            run(*command, "--gpu", 0)
    assert not list(tmp_path.glob("d.h5*"))


def test_codes_that_exist_need_no_gpu(tmp_path, run):
    with pytest.raises(UserError, match="--gpu is for encoding an image"):
        run.plain("search", "--index", tmp_path, "--queries", tmp_path, "--gpu", 0)


@pytest.mark.parametrize(
    ("gpu", "sentence"),
    [
        ("99", f"{NONE}|there is no GPU 99"),
        ("x", "-gpu x: give the numbers of GPUs, for example 0 or 0,1, or all"),
        ("0,", f"-gpu 0,: give the numbers|{NONE}"),
    ],
)
def test_caffe_reports_why(gpu, sentence):
    caffe_program = pathlib.Path(sys.executable).with_name("caffe")
    command = [caffe_program, "train", "-solver", "prototxt/cifar10_solver.prototxt", "-gpu", gpu]
    done = subprocess.run(command, capture_output=True, text=True, cwd=paths.ROOT)
    assert done.returncode != 0
    assert re.search(sentence, done.stderr)


@pytest.mark.skipif("no CUDA" in NO_GPU, reason="this build has no CUDA")
@needs_no_gpu
def test_a_build_with_cuda_is_quiet_on_the_cpu():
    code = "import caffe; caffe.set_random_seed(1); caffe.set_mode_cpu()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
