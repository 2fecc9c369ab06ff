"""How well copies of images are found by tools/duplicates.py.

  python benchmarks/duplicates.py                  1,000 images of CIFAR-10, at 129 and 225 pixels
  python benchmarks/duplicates.py --images 100 --sizes 129

Each image is enlarged to 256x256 pixels; copies are a JPEG file of quality 60 and an image of 180x180
pixels. A group is right if it has one original and at least one of its copies.
"""

import argparse
import io
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dnnh import cli, errors, paths
from dnnh.data import datasets
from dnnh.data.dataset import Images
from dnnh.errors import UserError
from dnnh.retrieval import duplicates, index_files

BITS, RADII = 64, range(5)


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--images", type=int, default=1000, help="(default: 1000)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[129, 225])
    arguments = parser.parse_args()
    images = datasets.load("cifar10").images
    if not 1 <= arguments.images <= len(images):
        raise UserError(f"--images {arguments.images}: 1 to {len(images):,}")
    print("| input resolution | radius | right groups | with both copies | wrong groups |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_images(folder / "images", images, arguments.images)
        for size in arguments.sizes:
            measure(arguments, folder, size)


def write_images(folder: pathlib.Path, images: Images, count: int) -> None:
    """Originals and copies; their names begin with the number of the original."""
    folder.mkdir()
    rows = np.sort(np.random.default_rng(0).choice(len(images), count, replace=False))
    for row, pixels in zip(rows.tolist(), images[rows]):
        image = Image.fromarray(pixels).resize((256, 256), Image.Resampling.BICUBIC)
        image.save(folder / f"{row:05}_a.png")
        jpeg = io.BytesIO()
        image.save(jpeg, "JPEG", quality=60)
        (folder / f"{row:05}_b.jpg").write_bytes(jpeg.getvalue())
        small = image.resize((180, 180), Image.Resampling.BICUBIC)
        small.save(folder / f"{row:05}_c.png")


def measure(arguments: argparse.Namespace, folder: pathlib.Path, size: int) -> None:
    index_path = folder / f"{size}.h5"
    command = [sys.executable, str(paths.TOOLS / "encode.py"), "--images", str(folder / "images")]
    command += ["--net", "efficientnet_lite0", "--size", str(size), "--bits", str(BITS)]
    subprocess.run([*command, "--output", str(index_path)], check=True, stdout=subprocess.DEVNULL)
    index = index_files.load(index_path)
    assert index.codes is not None
    names = index.names(slice(None))
    for radius in RADII:
        right, whole, wrong = counts(duplicates.groups(index.codes, BITS, radius), names)
        print(f"| {size}x{size} | {radius} | {right} | {whole} | {wrong} |")


def counts(groups: list[NDArray[np.int64]], names: list[str]) -> tuple[int, int, int]:
    """How many groups of copies are right, right and whole, and wrong."""
    original = np.array([name[:5] for name in names])
    right = [rows for rows in groups if len(set(original[rows])) == 1]
    return len(right), sum(len(rows) == 3 for rows in right), len(groups) - len(right)


if __name__ == "__main__":
    errors.run(main)
