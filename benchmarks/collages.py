"""Images of 256x256 with several labels, made of CIFAR-10's: to try NUS-WIDE's nets on.

  python benchmarks/collages.py --output /tmp/collages
  python tools/get_data.py folder --from /tmp/collages/collages.csv --name collages --size 256

Each is four images of CIFAR-10, each image in one collage only, enlarged to 128x128, side by
side; its labels are those of the four. Beside the images and their table, pixels.npy has the
collages at 16x16, for the methods that hash vectors (--features).
"""

import argparse
import csv
import pathlib

import numpy as np
from PIL import Image
from tqdm import tqdm

from dnnh import datasets, errors, paths

SIDE, SMALL = 128, 16


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--collages", type=int, default=15_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.output.exists():
        raise errors.UserError(f"{arguments.output} is there already; name a new folder")
    dataset = datasets.load("cifar10")
    most = len(dataset.images) // 4
    if not 1 <= arguments.collages <= most:
        raise errors.UserError(f"--collages {arguments.collages}: 1 to {most:,} can be made "
                               "of these images")
    fours = np.random.default_rng(arguments.seed).permutation(len(dataset.images))[
        :4 * arguments.collages].reshape(-1, 4)
    with paths.written_whole(arguments.output) as folder:
        (folder / "images").mkdir(parents=True)
        rows, small = [], []
        for number, four in enumerate(tqdm(fours, unit="collage")):
            a, b, c, d = (np.asarray(Image.fromarray(image).resize(
                (SIDE, SIDE), Image.Resampling.BICUBIC)) for image in dataset.images[four])
            collage = Image.fromarray(np.vstack([np.hstack([a, b]), np.hstack([c, d])]))
            name = f"images/{number:05}.jpg"
            collage.save(folder / name, quality=90)
            small.append(np.asarray(collage.resize((SMALL, SMALL))).ravel())
            rows.append([name, *sorted({dataset.classes[label]
                                        for label in dataset.labels[four]})])
        with (folder / "collages.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        np.save(folder / "pixels.npy", np.stack(small).astype(np.float32) / 255)
    print(f"{arguments.output}: {len(rows):,} collages ({dataset.source})")


if __name__ == "__main__":
    errors.run(main)
