"""Multi-label images of 256x256, made of CIFAR-10's: to try NUS-WIDE's nets on.

  python benchmarks/collages.py --output /tmp/collages
  python tools/get_data.py folder --from /tmp/collages/collages.csv --name collages --size 256

A collage is four images of CIFAR-10, enlarged to 128x128, in two rows; no image is in two
collages. Its labels are those of the four. Besides the images and their table, pixels.npy has the
collages at 16x16, as features for the shallow hashing methods (--features).
"""

import csv

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from dnnh import atomic_files, cli, errors
from dnnh.data import datasets

SIDE = 128  # of an image in a collage
FEATURE_SIDE = 16  # of the collages in pixels.npy


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("--output", type=cli.path, required=True)
    parser.add_argument("--collages", type=int, default=15_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.output.exists():
        raise errors.UserError(f"{arguments.output} is there already; name a new folder")
    dataset = datasets.load("cifar10")
    most = len(dataset.images) // 4
    if not 1 <= arguments.collages <= most:
        raise errors.UserError(
            f"--collages {arguments.collages}: 1 to {most:,} can be made of these images"
        )
    order = np.random.default_rng(arguments.seed).permutation(len(dataset.images))
    groups = order[: 4 * arguments.collages].reshape(-1, 4)
    with atomic_files.write_atomically(arguments.output) as folder:
        (folder / "images").mkdir(parents=True)
        table, features = [], []
        for number, group in enumerate(tqdm(groups, unit="collage")):
            collage = collage_of(dataset.images[group])
            name = f"images/{number:05}.jpg"
            collage.save(folder / name, quality=90)
            small = collage.resize((FEATURE_SIDE, FEATURE_SIDE))
            features.append(np.asarray(small).ravel())
            labels = sorted({dataset.classes[label] for label in dataset.labels[group]})
            table.append([name, *labels])
        with (folder / "collages.csv").open("w", newline="") as file:
            csv.writer(file).writerows(table)
        np.save(folder / "pixels.npy", np.stack(features).astype(np.float32) / 255)
    print(f"{arguments.output}: {len(table):,} collages ({dataset.source})")


def collage_of(images: NDArray[np.uint8]) -> Image.Image:
    """Four images, shape (4, 32, 32, 3), enlarged, in two rows."""
    a, b, c, d = (
        np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        for image in images
    )
    return Image.fromarray(np.vstack([np.hstack([a, b]), np.hstack([c, d])]))


if __name__ == "__main__":
    errors.run(main)
