"""The build on machines that have other programs or too old ones, and in a tree that was moved."""

import os
import pathlib
import shutil
import subprocess

import pytest

import built
from dnnh.paths import ROOT

CAFFE = built.caffe_source()
FOREIGN = ("protoc", "h5cc", "h5c++", "h5pcc", "patch", "pkg-config")


def configure(build: pathlib.Path, *options: object, **environment: str):
    return subprocess.run(
        [
            shutil.which("cmake", path="/usr/bin:/bin") or "cmake",
            *("-S", ROOT, "-B", build, "-G", "Ninja", "-DDNNH_TESTS=OFF"),
            f"-DPython3_EXECUTABLE={ROOT / '.venv/bin/python'}",
            f"-DCAFFE_SOURCE_DIR={CAFFE}",
            f"-DDNNH_ONEDNN={'ON' if built.has_onednn() else 'OFF'}",
            *options,
        ],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_other_programs_in_path_are_not_used(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in FOREIGN:
        (programs / name).write_text("#!/bin/sh\necho 'libprotoc 99.0'\n")
        (programs / name).chmod(0o755)
    # Headers and a package file of a library that is newer than Debian's.
    for file in ("include/boost/version.hpp", "include/google/protobuf/stubs/common.h"):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("#error not this one\n#define BOOST_VERSION 199900\n")
    package = tmp_path / "lib/cmake/Boost-1.99/BoostConfig.cmake"
    package.parent.mkdir(parents=True)
    package.write_text('message(FATAL_ERROR "not this one")')
    build = tmp_path / "build"
    completed = configure(build, PATH=f"{programs}:{os.environ['PATH']}", CONDA_PREFIX="")
    assert completed.returncode == 0, completed.stderr
    assert str(tmp_path / "bin") not in (build / "CMakeCache.txt").read_text()
    assert str(tmp_path / "include") not in (build / "build.ninja").read_text()


# What is given to CMake in place of the machine's: a file with its text.
OLD = {
    "protobuf/google/protobuf/stubs/common.h": "#define GOOGLE_PROTOBUF_VERSION 3012004",
    "onednn/oneapi/dnnl/dnnl_version.h": (
        "#define DNNL_VERSION_MAJOR 2\n#define DNNL_VERSION_MINOR 2"
    ),
    "gcc.cmake": "set(CMAKE_CXX_COMPILER_VERSION 9.4)",
}


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("CMAKE_PROJECT_INCLUDE={}/gcc.cmake", "is GNU 9.4; this needs 11 or newer: name another"),
        ("Protobuf_INCLUDE_DIR={}/protobuf", "are version 3.12.4; this needs 3.19 or newer"),
        (
            "DNNH_ONEDNN=ON -DONEDNN_LIBRARY=/x -DONEDNN_INCLUDE_DIR={}/onednn",
            "is version 2.2; this needs 2.6 or a later 2 or 3, or",
        ),
        ("CAFFE_SOURCE_DIR={}", "is not a checkout of BVLC Caffe (src/caffe/proto/caffe.proto is"),
        ("CMAKE_DISABLE_FIND_PACKAGE_HDF5=ON", "HDF5 was not found: install libhdf5-dev"),
        ("CMAKE_DISABLE_FIND_PACKAGE_Boost=ON", "libboost-python-dev"),
    ],
)
def test_what_is_too_old_or_missing(tmp_path, option, expected):
    for name, text in OLD.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    completed = configure(tmp_path / "build", *f"-D{option.format(tmp_path)}".split())
    assert completed.returncode != 0
    assert expected in " ".join(completed.stderr.split())
    assert not (tmp_path / "build/build.ninja").exists()


def test_a_python_that_is_too_old(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n')
    python.chmod(0o755)
    made = subprocess.run(
        ["make", "SKIP_PACKAGES=1", f"SYSTEM_PYTHON={python}", ".venv/installed"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "is too old or missing (Python 3.9.2); this needs Python 3.10 or newer" in made.stderr
    assert made.returncode != 0 and not (tmp_path / ".venv/pyvenv.cfg").exists()


def test_packages_without_root(tmp_path):
    (tmp_path / "packages.txt").write_text("# those\nno-such-package\n")
    for name, answer in {"id": "echo 1000", "sudo": "exit 1"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [ROOT / "cmake/install_packages.sh", tmp_path / "packages.txt"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "needs root: run 'sudo apt-get install no-such-package', then make aga" in done.stderr


def test_a_moved_tree_is_noticed(tmp_path):
    old, new = tmp_path / "old[&|", tmp_path / "new&"
    environment = old / ".venv/bin"
    environment.mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", old)
    (old / "cmake").mkdir()
    shutil.copy(ROOT / "cmake/relocate.py", old / "cmake")
    program = environment / "pytest"
    program.write_text(f"#!{environment / 'python'}\n# {old}-2/bin\n")
    (old / "build").mkdir()
    cache = "build/CMakeCache.txt"
    (old / cache).touch()

    def make_in(tree: pathlib.Path) -> str:
        return subprocess.run(
            ["make", ".venv/made-in"], cwd=tree, capture_output=True, text=True, check=True
        ).stdout

    assert "building again" not in make_in(old)
    assert (old / cache).exists()
    old.rename(new)
    assert f"This tree was at {old}; building again here" in make_in(new)
    text = f"#!{new / '.venv/bin/python'}\n# {old}-2/bin\n"
    assert (new / ".venv/bin/pytest").read_text() == text
    assert not (new / cache).exists()
    assert "building again" not in make_in(new)
