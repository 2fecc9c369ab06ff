"""Make the archive that tests/on_gpu.sh runs on a machine with a GPU.

  .venv/bin/python tests/gpu/make_bundle.py build-gpu-check dnnh-gpu-check \\
      --images cifar10-jpeg.tar.xz

BUILD is a build with CUDA but without OpenCV, HDF5 and oneDNN. The archive, NAME.tar.xz in it,
has its programs with their libraries (those of CUDA are the machine's), prototxts, PyTorch's
side of the comparison, the losses of the first 200 iterations on the CPU, and the 5,000 training
images of data/cifar10_train_images_lmdb as JPEG: the files of --images whose pixels are the
same. `make gpu-bundle` runs this.
"""

import argparse
import hashlib
import io
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile

import lmdb
import numpy as np
from PIL import Image
from tqdm import tqdm

from dnnh import paths
from dnnh.data import datums
from dnnh.nets import specs

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / folder) for folder in ("cmake", "benchmarks", "tests/gpu")]

import bundle  # noqa: E402
import gpu_parts  # noqa: E402

import torch_net  # noqa: E402

MIB = 1 << 20
LARGEST = 24 * MIB
PROGRAMS = ("bin/caffe", "tests/layers/test_layers", "gpu_check")
LIBRARIES = ("libcaffe.so", "layers/libdnnh_layers.so")
PROTOTXTS = {
    "cifar10_solver": "cifar10_solver",
    "cifar10_train_test": "cifar10_train_test",
    "dnnh_deploy": "cifar10_deploy",
    "dnnh_plus_deploy": "cifar10/dnnh_plus_48bit_deploy",
    "nuswide_solver": "nuswide/dnnh_short_48bit_solver",
    "nuswide/dnnh_short_48bit_train_test": "nuswide/dnnh_short_48bit_train_test",
}
NETS = {"dnnh": ("cifar10", "dnnh"), "nuswide": ("nuswide", "dnnh")}
# Newer ones than Debian's may be there, which the libraries of CUDA need.
OF_COMPILER = ("libstdc++.so.6", "libgcc_s.so.1")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("name", help="of the archive, without its suffix")
    parser.add_argument("--images", type=pathlib.Path, required=True, help="CIFAR-10 as JPEG files")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    folder = build / "bundle/dnnh"
    shutil.rmtree(folder.parent, ignore_errors=True)
    try:
        copy_programs(build, folder)
        copy_texts(folder)
        copy_images(arguments.images, folder)
        (folder / "cpu_losses.json").write_text(json.dumps(cpu_losses(folder)), encoding="utf-8")
        archive = bundle.pack(folder, build / f"{arguments.name}.tar.xz")
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
    size = archive.stat().st_size
    print(f"{archive}: {size / MIB:.1f} MiB")
    if size > LARGEST:
        sys.exit(f"error: it may have {LARGEST / MIB:.0f} MiB")


def copy_programs(build: pathlib.Path, folder: pathlib.Path) -> None:
    for place, names in (("bin", PROGRAMS), ("lib", LIBRARIES)):
        (folder / place).mkdir(parents=True)
        for name in names:
            shutil.copy2(build / name, folder / place)
            bundle.run("strip", "--strip-unneeded", folder / place / pathlib.Path(name).name)
    bundle.copy_libraries(folder)
    for name in OF_COMPILER:
        (folder / "lib" / name).unlink(missing_ok=True)


def copy_texts(folder: pathlib.Path) -> None:
    for name, source in PROTOTXTS.items():
        target = folder / "prototxt" / f"{name}.prototxt"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / "prototxt" / f"{source}.prototxt", target)
    for name in ("on_gpu.py", "gpu_parts.py"):
        shutil.copy2(ROOT / "tests/gpu" / name, folder)
    shutil.copy2(ROOT / "benchmarks/torch_net.py", folder)
    nets = {name: torch_net.describe(specs.net_spec(*net)) for name, net in NETS.items()}
    (folder / "nets.json").write_text(json.dumps(nets), encoding="utf-8")


def copy_images(source: pathlib.Path, folder: pathlib.Path) -> None:
    """The training images' own JPEG files, in the order of the LMDB, and their labels."""
    jpegs = {}
    with tarfile.open(source) as archive:
        for entry in tqdm(archive, desc="reading images", unit=" files"):
            if entry.name.endswith(".jpg"):
                file = archive.extractfile(entry)
                assert file
                data = file.read()
                jpegs[planes(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))] = data
    labels, digest = [], hashlib.sha256()
    with (
        lmdb.open(
            str(paths.DATA / "cifar10_train_images_lmdb"), readonly=True, lock=False
        ) as database,
        database.begin() as transaction,
        tarfile.open(folder / "images.tar", "w") as images,
    ):
        for _, record in transaction.cursor():
            datum = datums.parse(record)
            data = jpegs.get(datum.data)
            if data is None:
                sys.exit(
                    f"error: {source} lacks an image of {database.path()}; prepare CIFAR-10 from it"
                )
            entry = tarfile.TarInfo(f"{len(labels):05}.jpg")
            entry.size = len(data)
            images.addfile(entry, io.BytesIO(data))
            labels.append(datum.label)
            digest.update(datum.data)
    about = {"labels": labels, "sha256": digest.hexdigest()}
    (folder / "images.json").write_text(json.dumps(about), encoding="utf-8")


def planes(image: np.ndarray) -> bytes:
    return image.transpose(2, 0, 1).tobytes()


def cpu_losses(folder: pathlib.Path) -> list[float]:
    """The loss of each of the first iterations of the paper's schedule, by this machine's Caffe."""
    text = (ROOT / "prototxt/cifar10_solver.prototxt").read_text(encoding="utf-8")
    settings = {"max_iter": gpu_parts.FIRST, "display": 1, "average_loss": 1, "snapshot": 0}
    solver = folder / "cpu_solver.prototxt"
    solver.write_text(
        gpu_parts.edited(text, **settings, snapshot_after_train=False), encoding="utf-8"
    )
    found = []
    with subprocess.Popen(
        [ROOT / ".venv/bin/caffe", "train", "-solver", solver],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        with tqdm(total=gpu_parts.FIRST, desc="losses on the CPU", unit=" iterations") as progress:
            for line in process.stderr:
                of_line = gpu_parts.losses(line)
                found += of_line
                progress.update(len(of_line))
    if process.returncode:
        sys.exit(f"error: caffe train ended with {process.returncode}")
    solver.unlink()
    return found


if __name__ == "__main__":
    main()
