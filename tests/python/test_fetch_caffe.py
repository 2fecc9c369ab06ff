"""cmake/fetch_caffe.sh: both sources of Caffe, and one sentence where one fails."""

import hashlib
import os
import re
import shutil
import subprocess
import tarfile

import pytest

from dnnh import paths

SCRIPT = paths.ROOT / "cmake/fetch_caffe.sh"
TARBALL = "caffe_1.0.0+git20180821.99bd997.orig.tar.gz"
NEEDS = (
    *("awk", "cat", "cut", "find", "id", "mkdir", "mv", "rm", "sh", "sha256sum", "sort", "tar"),
    *("touch", "xargs", "gzip"),
)
FILES = {"LICENSE": b"terms\n", "src/caffe/proto/caffe.proto": b'syntax = "proto2";\r\n'}


@pytest.fixture
def machine(tmp_path):
    """A PATH with the programs that the script needs, but for apt-get and git."""
    (tmp_path / "bin").mkdir()
    for name in NEEDS:
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    return tmp_path


def add_apt(machine, body):
    path = machine / "bin/apt-get"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def git(repository, *words):
    author = {
        f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    return subprocess.run(
        ["git", "-C", repository, "-c", "core.autocrlf=false", *words],
        env={"PATH": os.environ["PATH"], "HOME": str(repository), **author},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.fixture
def repository(machine):
    """A repository with FILES as its first commit, and git in PATH."""
    folder = machine / "repository"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    git(folder, "init", "-q")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    (machine / "bin/git").symlink_to(shutil.which("git"))
    return folder


def pinned(machine, **pins):
    """A copy of the script that expects another commit, or other files."""
    text = SCRIPT.read_text()
    for name, value in pins.items():
        text, count = re.subn(rf"(?m)^{name}=.*", f"{name}={value}", text)
        assert count == 1
    script = machine / "fetch_caffe.sh"
    script.write_text(text)
    script.chmod(0o755)
    return script


def files_sha256(files):
    lines = [
        f"{hashlib.sha256(content).hexdigest()}  ./{name}\n"
        for name, content in sorted(files.items())
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def fetch(machine, script=SCRIPT, repository="file:///nowhere/caffe.git"):
    return subprocess.run(
        [script, machine / "work", machine / "caffe"],
        text=True,
        env={
            "PATH": str(machine / "bin"),
            "CAFFE_REPOSITORY": str(repository),
            "HOME": str(machine),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def failure(machine, *arguments):
    """The one line that the script prints when it fails; it leaves nothing half-made."""
    done = fetch(machine, *arguments)
    assert done.returncode == 1
    assert {path.name for path in machine.iterdir()} <= {
        *("bin", "work", "repository", "fetch_caffe.sh")
    }
    assert not (machine / "work/git").exists()
    lines = [line for line in done.stdout.splitlines() if line.startswith("fetch_caffe: ")]
    assert len(lines) == 1
    assert "CAFFE_SOURCE_DIR=/path/to/caffe" in lines[0] or "disk full" in lines[0]
    return lines[0]


def test_neither_apt_nor_git(machine):
    said = failure(machine)
    assert "apt-get is not on this machine; git is not on this machine; check the netw" in said


def test_no_archive_named(machine):
    add_apt(machine, "exit 0")
    assert "the machine's apt sources name no Debian archive" in failure(machine)


@pytest.mark.parametrize("fails", ["update", "source"])
def test_no_network_or_no_such_package(machine, repository, fails):
    add_apt(
        machine,
        f"""
        case "$*" in
          indextargets*) echo "http://archive.invalid/ main" ;;
          *{fails}*) echo "no route to archive.invalid"; exit 100 ;;
        esac""",
    )
    said = failure(machine)
    assert "no archive of the machine's apt sources gave the source package" in said
    assert "no route" in (machine / "work/apt/log").read_text()
    assert "git could not fetch commit 99bd997" in said and "file:///nowhere/caffe.git" in said
    assert "nowhere" in (machine / "work/git.log").read_text()


def test_what_an_interruption_leaves_is_not_taken_for_the_whole(machine):
    add_apt(
        machine,
        f"""
        case "$*" in
          indextargets*) echo "http://archive.invalid/ main" ;;
          *" source --download-only "*) echo "a part" > {TARBALL}; kill -INT $PPID; exit 100 ;;
        esac""",
    )
    fetch(machine)
    assert list((machine / "work").rglob(TARBALL))
    add_apt(machine, 'case "$*" in indextargets*) echo "http://archive.invalid/ main" ;; esac')
    assert "no archive of the machine's apt sources gave" in failure(machine)
    assert not list((machine / "work").rglob(TARBALL))


def test_wrong_checksum(machine):
    (machine / "work").mkdir()
    (machine / "work" / TARBALL).write_bytes(b"something else")
    said = failure(machine)
    assert f"{TARBALL} has sha256 " in said and "not e0eb3f06794f" in said


@pytest.fixture
def tarball(machine):
    (machine / "work").mkdir()
    path = machine / "work" / TARBALL
    with tarfile.open(path, "w:gz") as archive:
        archive.add(SCRIPT, "LICENSE")
    return path


def test_files_of_an_archive_that_differ(machine, tarball):
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    said = failure(machine, pinned(machine, tarball_sha256=digest))
    assert "have the hash " in said and "not 40e059ef5413038c" in said


def test_a_disk_that_is_full(machine, tarball):
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    (machine / "bin/tar").unlink()
    (machine / "bin/tar").write_text("#!/bin/sh\nexit 2\n")
    (machine / "bin/tar").chmod(0o755)
    said = failure(machine, pinned(machine, tarball_sha256=digest))
    assert "could not be unpacked" in said and "is the disk full?" in said


def test_the_repository_where_no_archive_has_it(machine, repository):
    # The pinned commit is fetched, not the newest one.
    commit = git(repository, "rev-parse", "HEAD")
    (repository / "LICENSE").write_text("other terms\n")
    git(repository, "commit", "-q", "-a", "-m", "second")
    (machine / ".gitconfig").write_text("[core]\n\tautocrlf = true\n")
    script = pinned(machine, commit=commit, files_sha256=files_sha256(FILES))
    done = fetch(machine, script, repository.as_uri())
    assert done.returncode == 0, done.stdout
    for name, content in FILES.items():
        assert (machine / "caffe" / name).read_bytes() == content
    assert sorted(path.name for path in (machine / "caffe").iterdir()) == ["LICENSE", "src"]
    # Nothing is fetched again, but where another version is pinned.
    (machine / "caffe/LICENSE").write_text("touched\n")
    assert fetch(machine, script).returncode == 0
    assert (machine / "caffe/LICENSE").read_text() == "touched\n"
    second = git(repository, "rev-parse", "HEAD")
    others = {**FILES, "LICENSE": b"other terms\n"}
    script = pinned(machine, commit=second, files_sha256=files_sha256(others))
    assert fetch(machine, script, repository.as_uri()).returncode == 0
    assert (machine / "caffe/LICENSE").read_text() == "other terms\n"


def test_a_repository_with_other_files(machine, repository):
    commit = git(repository, "rev-parse", "HEAD")
    said = failure(machine, pinned(machine, commit=commit), repository.as_uri())
    assert f"the files of commit {commit}" in said and "not 40e059ef5413038c" in said


def test_a_repository_that_gives_another_commit(machine, repository):
    # As a name, `main` passes for what is asked for.
    git(repository, "branch", "-M", "main")
    said = failure(machine, pinned(machine, commit="main"), repository.as_uri())
    assert f"gave commit {git(repository, 'rev-parse', 'HEAD')}, not main" in said
