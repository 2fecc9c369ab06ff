"""cmake/fetch_caffe.sh where something is missing: a sentence, and nothing left."""

import shutil
import subprocess

import pytest

from dnnh import paths

SCRIPT = paths.ROOT / "cmake/fetch_caffe.sh"
TARBALL = "caffe_1.0.0+git20180821.99bd997.orig.tar.gz"
NEEDS = ("awk", "cut", "id", "mkdir", "mv", "rm", "sh", "sha256sum", "sort", "tar", "touch")


@pytest.fixture
def machine(tmp_path):
    """A PATH with the programs that the script needs, but for apt-get."""
    (tmp_path / "bin").mkdir()
    for name in NEEDS:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    return tmp_path


def add_apt(machine, body):
    path = machine / "bin/apt-get"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def fetch(machine):
    done = subprocess.run(
        [SCRIPT, machine / "work", machine / "caffe"],
        text=True,
        env={"PATH": str(machine / "bin")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 1
    assert not (machine / "caffe").exists()
    assert "CAFFE_SOURCE_DIR=/path/to/caffe" in done.stdout
    return done.stdout


def test_no_apt(machine):
    assert "apt-get, which fetches Caffe's source, is not on this mach" in fetch(machine)


def test_no_archive_named(machine):
    add_apt(machine, "exit 0")
    assert "the machine's apt sources name no Debian archive" in fetch(machine)


@pytest.mark.parametrize("fails", ["update", "source"])
def test_no_network_or_no_such_package(machine, fails):
    add_apt(
        machine,
        f"""
        case "$*" in
          indextargets*) echo "http://archive.invalid/ main" ;;
          *{fails}*) echo "no route to archive.invalid"; exit 100 ;;
        esac""",
    )
    said = fetch(machine)
    assert "no archive of this machine's apt sources gave the source package" in said
    assert "no route" in (machine / "work/apt/log").read_text()


def test_what_an_interruption_leaves_is_not_taken_for_the_whole(machine):
    add_apt(
        machine,
        f"""
        case "$*" in
          indextargets*) echo "http://archive.invalid/ main" ;;
          *" source --download-only "*) echo "a part" > {TARBALL}; kill -INT $PPID; exit 100 ;;
        esac""",
    )
    subprocess.run(
        [SCRIPT, machine / "work", machine / "caffe"],
        env={"PATH": str(machine / "bin")},
        capture_output=True,
    )
    assert list((machine / "work").rglob(TARBALL))
    add_apt(machine, 'case "$*" in indextargets*) echo "http://archive.invalid/ main" ;; esac')
    assert "no archive of this machine's apt sources gave" in fetch(machine)
    assert not list((machine / "work").rglob(TARBALL))


def test_wrong_checksum(machine):
    (machine / "work").mkdir()
    (machine / "work" / TARBALL).write_bytes(b"something else")
    said = fetch(machine)
    assert f"{TARBALL} has sha256 " in said and "not e0eb3f06794f" in said
