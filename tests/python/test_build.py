"""The build where a machine has other programs first in PATH, and in a tree that was moved."""

import os
import pathlib
import shutil
import subprocess

import pytest

from dnnh.paths import ROOT

CAFFE = ROOT / "build/caffe"
FOREIGN = ("protoc", "h5cc", "h5c++", "h5pcc", "patch", "pkg-config")


@pytest.mark.skipif(not CAFFE.exists(), reason="Caffe's source was not fetched by this build")
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
    completed = subprocess.run(
        [
            "/usr/bin/cmake",
            *("-S", ROOT, "-B", build, "-G", "Ninja", "-DDNNH_TESTS=OFF"),
            f"-DPython3_EXECUTABLE={ROOT / '.venv/bin/python'}",
            f"-DCAFFE_SOURCE_DIR={CAFFE}",
        ],
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "CONDA_PREFIX": ""},
        capture_output=True,
        text=True,
    )
    assert completed.returncode == 0, completed.stderr
    assert str(tmp_path / "bin") not in (build / "CMakeCache.txt").read_text()
    assert str(tmp_path / "include") not in (build / "build.ninja").read_text()


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
