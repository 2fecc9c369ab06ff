"""Write random triplets as an LMDB that `caffe train` reads.

  python tools/make_triplets.py                        CIFAR-10, 5,000 images
  python tools/make_triplets.py --dataset digits
  python tools/make_triplets.py --split validation     4,000 images, and held-out
                                                       triplets of the other 1,000
  python tools/make_triplets.py --triplets 10000 --seed 3 --output /tmp/triplets

A record is a Datum of the query, the similar and the dissimilar image, one
behind the other on the channel axis. Only training images of the protocol are in it,
none of its queries.
"""

import argparse
import pathlib
import time

import numpy as np

from dnnh import datasets, errors, nets, paths, splits, triplets
from dnnh.errors import UserError

DEFAULT_COUNT = 100_000
MAX_COUNT = 100_000_000
HELD_OUT_COUNT = 5_000


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10",
                        choices=sorted(datasets.PREPARERS))
    parser.add_argument("--split", default="train", choices=["train", "validation"],
                        help="train: all training images (default); validation: "
                        "four fifths of them, and triplets of the rest for TEST")
    parser.add_argument("--protocol", default="paper", choices=splits.PROTOCOLS)
    parser.add_argument("--triplets", type=int, default=DEFAULT_COUNT,
                        help="how many (default 100,000)")
    parser.add_argument("--split-seed", type=int, default=0,
                        help="which queries and training images (default 0)")
    parser.add_argument("--seed", type=int, default=0,
                        help="which triplets of them (default 0)")
    parser.add_argument("--output", type=pathlib.Path,
                        help="the database to write (default: where the nets in "
                        "prototxt/ look for it)")
    arguments = parser.parse_args()
    count = arguments.triplets
    if arguments.seed < 0:
        raise UserError(f"--seed {arguments.seed}: seeds are 0 or more")
    if count > MAX_COUNT:
        raise UserError(f"{count:,} triplets: at most {MAX_COUNT:,} go into a database")
    if arguments.output is None and not splits.is_the_nets(
            arguments.protocol, arguments.split_seed):
        raise UserError("the nets in prototxt/ are for split seed 0 of the protocols "
                        "'paper' and '54k'; give another split's triplets a place of "
                        "their own with --output")

    dataset = datasets.load(arguments.dataset)
    split = splits.load_split(dataset, arguments.protocol, arguments.split_seed)
    if arguments.split == "train":
        parts = [("train", split.training, count)]
    else:
        parts = [("validation_train", split.validation_training, count),
                 ("validation_test", split.validation_queries,
                  min(count, HELD_OUT_COUNT))]
    for part, members, part_count in parts:
        output = paths.ROOT / nets.database_of(arguments.dataset, part)
        if arguments.output:
            output = arguments.output if len(parts) == 1 else (
                arguments.output.with_name(f"{arguments.output.name}_{part}"))
        write(dataset, split, part, members, part_count, arguments.seed, output)


def write(dataset, split, part, members, count, seed, output):
    """Draw and write one database, and say what is in it."""
    drawn = triplets.draw_triplets(dataset.labels[members], count, seed)
    counts = np.bincount(dataset.labels[members][drawn[:, 0]],
                         minlength=len(dataset.classes))
    about = {
        "dataset": dataset.name, "source": dataset.source, "part": part,
        "protocol": split.protocol, "split_seed": split.seed, "seed": seed,
        "images": len(members),
        "queries_per_class": dict(zip(dataset.classes, counts.tolist()))}
    start = time.perf_counter()
    pad = nets.RECIPES[dataset.name, ""].pad
    images = np.pad(dataset.images[members], ((0, 0), (pad, pad), (pad, pad), (0, 0)),
                    mode="reflect")
    triplets.write_lmdb(output, images, drawn, about)
    seconds = time.perf_counter() - start
    print(f"{output}: {count:,} triplets of {len(members):,} images "
          f"({dataset.source}), "
          f"{count / seconds:,.0f} triplets a second")
    for key, value in triplets.read_layout(output).items():
        print(f"  {key}: {value}")


if __name__ == "__main__":
    errors.run(main)
