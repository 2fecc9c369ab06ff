"""How the programs of a bundle start. tests/in_bare_root.sh runs a whole one."""

import os
import subprocess

import pytest

from dnnh.paths import ROOT


@pytest.fixture
def bundle(tmp_path, request):
    """A bundle for glibc 2.36 whose one program prints what it gets."""
    folder = tmp_path / "a folder/dnnh"
    for name in ("bin", "libexec"):
        (folder / name).mkdir(parents=True)
    text = (ROOT / "cmake/start_bundled.sh").read_text()
    start = folder / "bin/start"
    start.write_text(
        text.replace("@GLIBC@", "36").replace("@CUDA@", getattr(request, "param", "0"))
    )
    program = folder / "libexec/caffe"
    program.write_text('#!/bin/sh\necho "$*,$PYTHONHOME,$PYTHONPATH,$PYTHONNOUSERSITE"\n')
    for path in (start, program):
        path.chmod(0o755)
    (folder / "bin/caffe").symlink_to("start")
    (folder / "bin/nothing").symlink_to("start")
    return folder


@pytest.fixture
def machine(tmp_path):
    """Replaces what the programs of a machine say about it."""
    programs = tmp_path / "programs"
    programs.mkdir()

    def says(program, answer):
        (programs / program).write_text(f"#!/bin/sh\n{answer}\n")
        (programs / program).chmod(0o755)
        return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}

    return says


def start(program, *words, env=None, cwd=None):
    return subprocess.run([program, *words], env=env, cwd=cwd, capture_output=True, text=True)


def test_settings_of_other_pythons_are_removed(bundle):
    env = {**os.environ, "PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere"}
    assert start(bundle / "bin/caffe", "train", "-x", env=env).stdout == "train -x,,,1\n"


def test_from_anywhere(bundle, tmp_path):
    (tmp_path / "caffe").symlink_to(bundle / "bin/caffe")
    env = {**os.environ, "PATH": f"{bundle / 'bin'}:{os.environ['PATH']}"}
    for program, folder in (
        ("./bin/caffe", bundle),
        ("./caffe", bundle / "bin"),
        ("caffe", tmp_path),
        (tmp_path / "caffe", tmp_path),
    ):
        assert start(program, "x", env=env, cwd=folder).stdout == "x,,,1\n", program


def test_a_machine_without_any_program(bundle, tmp_path):
    """uname, getconf and readlink are programs of their own."""
    env = {"PATH": str(tmp_path / "nothing")}
    done = start("/bin/sh", bundle / "bin/caffe", "x", env=env)
    assert (done.stdout, done.stderr) == ("x,,,1\n", "")


@pytest.mark.parametrize(
    ("program", "answer", "expected"),
    [
        ("uname", "echo aarch64", "this bundle is for x86-64 Linux; this machine is aarch64"),
        ("getconf", "echo glibc 2.35", "needs glibc 2.36 or newer; this machine has glibc 2.35: "),
    ],
)
def test_another_machine(bundle, machine, program, answer, expected):
    done = start(bundle / "bin/caffe", env=machine(program, answer))
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("dnnh: ") and expected in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_newer_glibc(bundle, machine):
    assert start(bundle / "bin/caffe", env=machine("getconf", "echo glibc 2.41")).returncode == 0


def test_a_program_that_is_not_in_it(bundle):
    done = start(bundle / "bin/nothing")
    assert done.returncode == 1 and "there is no program nothing in " in done.stderr


@pytest.mark.parametrize("bundle", ["1"], indirect=True)
def test_libraries_of_cuda(bundle, machine):
    (bundle / "libexec/caffe").write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH"\n')
    found = start("/bin/sh", bundle / "bin/caffe", env={"PATH": "/nowhere"}).stdout.strip()
    assert found == f"{bundle}/bin/../cuda"  # an empty part would be the current folder
    env = machine("python3", "echo /a/lib:/b/lib") | {"LD_LIBRARY_PATH": "/c"}
    env["PATH"] = f"{bundle / 'bin'}:{env['PATH']}"
    assert start("caffe", env=env).stdout == f"{bundle}/bin/../cuda:/c:/a/lib:/b/lib\n"
