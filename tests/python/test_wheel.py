"""The wheel, installed where there is no Caffe, no compiler and no package that it does not name."""

import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import zipfile

import pytest
from PIL import Image

import browsers
from dnnh.data import datasets
from dnnh.nets import caffe_encoder, onnx_export, prototxt
from dnnh.nets.specs import net_spec
from dnnh.paths import ROOT
from exported import METADATA

sys.path.insert(0, str(ROOT / "cmake"))
import bundle

SPEC = net_spec("digits", bits=12)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing is left among the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("python", "tools"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
        )
    command = "-m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir built ."
    subprocess.run([sys.executable, *command.split()], cwd=folder, check=True)
    (path,) = (folder / "built").iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs a command of an environment with the wheel and what it requires, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = environment / "lib" / version / "site-packages"
    zipfile.ZipFile(wheel).extractall(packages)
    for distribution in bundle.dependencies("dnnh", ("onnx", "serve")):
        for name in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            target = packages / name
            if not target.exists():
                target.symlink_to(distribution.locate_file(name))
    script = environment / "bin/dnnh"
    script.write_text(
        f"#!{environment}/bin/python\nfrom dnnh.console import main\nmain()\n", encoding="utf-8"
    )
    script.chmod(0o755)
    variables = {"PATH": str(environment / "bin"), "HOME": str(folder), "OMP_NUM_THREADS": "1"}

    def start(*words, **options):
        command = [environment / "bin" / words[0], *map(str, words[1:])]
        return subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(*words, status=0):
        process = start(*words)
        output, problems = process.communicate(timeout=120)
        assert process.returncode == status, problems
        return output if status == 0 else problems

    run.start, run.folder = start, folder
    return run


@pytest.fixture(scope="module")
def model(installed):
    """A model that tools/export.py could have written, and photos."""
    net = caffe_encoder.build(prototxt.deploy_net(SPEC))
    net.save(str(installed.folder / "net.caffemodel"))
    exported = onnx_export.export(
        prototxt.deploy_text(SPEC), installed.folder / "net.caffemodel", METADATA
    )
    path = installed.folder / "net.onnx"
    path.write_bytes(exported)
    (installed.folder / "photos").mkdir()
    for i, image in enumerate(datasets.load("digits").images[:30]):
        Image.fromarray(image[..., 0]).save(installed.folder / f"photos/{i:02}.png")
    return path


def test_it_is_pure_python_and_has_the_commands(wheel):
    assert wheel.name.endswith("-py3-none-any.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "dnnh/retrieval/static/app.js" in names and "dnnh/templates/base.html" in names
    tools = {path.name for path in (ROOT / "tools").glob("*.py")}
    assert {name.rpartition("/")[2] for name in names if "dnnh/tools/" in name} == tools
    (scripts,) = [name for name in names if name.endswith("entry_points.txt")]
    assert b"dnnh = dnnh.console:main" in zipfile.ZipFile(wheel).read(scripts)


def test_images_to_hits_without_caffe(installed, model):
    assert "No module named 'caffe'" in installed("python", "-c", "import caffe", status=1)
    said = installed(
        "dnnh", "encode", "--images", "photos", "--output", "i.h5", "--model", "net.onnx"
    )
    assert "i.h5: 30 images, 12 bits each" in said
    said = installed(
        "dnnh", "search", "--index", "i.h5", "--image", "photos/07.png", "--model", "net.onnx"
    )
    assert re.search(r"^  0  07\.png", said, re.MULTILINE)
    problem = installed("dnnh", "search", "--index", "i.h5", "--image", "photos/07.png", status=1)
    assert "name those with --model" in problem
    assert "*.onnx in snapshots/" in problem  # where onnx, the default runtime, looks


@pytest.fixture(scope="module")
def address(installed, model):
    words = ("dnnh", "encode", "--images", "photos", "--output", "p.h5", "--model", "net.onnx")
    installed(*words)
    server = installed.start(
        "dnnh", "serve", "--index", "p.h5", "--model", "net.onnx", "--port", "0"
    )
    try:
        yield server.stdout.readline().strip()
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 0, server.stderr.read()
    finally:
        server.kill()
        server.communicate()


def test_the_page_without_caffe(installed, address):
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert b"app.js" in answer.read()
    photo = (installed.folder / "photos/03.png").read_bytes()
    with urllib.request.urlopen(f"{address}/search", photo, timeout=60) as answer:
        assert len(json.load(answer)["hits"]) == 20


@browsers.needed
def test_the_page_without_caffe_in_a_browser(installed, address, tmp_path):
    with browsers.opened(tmp_path) as browser:
        browser.get(address)
        browsers.until(lambda: len(browsers.texts(browser, "#hits button")) == 24)
        photo = installed.folder / "photos/03.png"
        browser.find_element("id", "file").send_keys(str(photo))
        browsers.until(lambda: browsers.texts(browser, "#title") == ["Most similar to 03.png"])
        browsers.until(lambda: len(browsers.distances(browser)) == 20)
        found = zip(browsers.texts(browser, "#hits .name"), browsers.distances(browser))
        assert dict(found)["03.png"] == 0
        browser.save_screenshot(str(tmp_path / "page.png"))


def test_codes_are_evaluated_without_caffe(installed):
    script = (
        "import numpy as np\n"
        "from dnnh.evaluation.codes import Codes, save\n"
        "codes = np.arange(100, dtype=np.uint8)[:, None]\n"
        "labels = np.arange(100) // 10\n"
        "save('codes.h5', Codes(codes[:9], codes, labels[:9], labels, 8, 'own', 'mine', 0))\n"
    )
    installed("python", "-c", script)
    assert "MAP" in installed("dnnh", "evaluate", "--codes", "codes.h5", "--json", "r.json")
    assert json.loads((installed.folder / "r.json").read_text())["queries"] == 9


def test_what_needs_caffe_says_so(installed, model):
    names = ("--dataset", "digits", "--bits", "12", "--model", "net.caffemodel")
    problem = installed(
        "dnnh", "encode", "--images", "photos", "--output", "c.h5", *names, status=1
    )
    assert problem.startswith("error: pycaffe cannot be imported") and problem.count("\n") == 1


def test_commands_and_messages_have_the_name_they_are_called_by(installed):
    listed = installed("dnnh", "--help")
    assert re.search(r"^  encode +Encode any number of images", listed, re.MULTILINE)
    shown = installed("dnnh", "encode", "--help")
    assert "usage: dnnh encode" in shown and "  dnnh encode --images photos" in shown
    assert "tools/" not in installed("dnnh", "search", "--help")
    Image.new("L", (8, 8)).save(installed.folder / "x.png")
    problem = installed("dnnh", "search", "--index", "no.h5", "--image", "x.png", status=1)
    assert "no.h5" in problem and "dnnh encode" in problem and "tools/" not in problem
    assert "'paint' is not a command of dnnh" in installed("dnnh", "paint", status=1)


def test_every_supported_python_is_named():
    """What pyright checks for is the oldest Python that the package installs on."""
    text = (ROOT / "pyproject.toml").read_text()
    oldest = re.search(r'requires-python = ">=([\d.]+)"', text)[1]
    assert f'pythonVersion = "{oldest}"' in text
    assert f'target-version = "py{oldest.replace(".", "")}"' in text
    assert importlib.metadata.version("dnnh") in text
    assert os.access(ROOT / "LICENSE", os.R_OK)
