"""Write what `caffe train` reads: training images, or triplets of them.

  python tools/make_triplets.py                        CIFAR-10, 5,000 images
  python tools/make_triplets.py --dataset digits
  python tools/make_triplets.py --split validation     4,000 images, and the other
                                                       1,000 for the TEST phase
  python tools/make_triplets.py --layout indexed --triplets 1000000 --seed 3
  python tools/make_triplets.py --layout dense --output /tmp/triplets

--layout fresh (the default) writes each image once, with its label; the nets in
prototxt/ draw triplets from the labels while they train. indexed writes a list of
triplets beside the images, three numbers each, for nets that are to follow one.
dense writes whole triplets, for Caffe's own Data layer. `make_prototxt.py --layout`
makes the nets for these two, of `digits` and of the variants `bare` and `lai`. Only
training images of the protocol are written, none of its queries.
"""

import argparse
import pathlib
import time

import numpy as np

from dnnh import databases, datasets, errors, nets, paths, recipes, splits, triplets
from dnnh.errors import UserError

DEFAULT_COUNT = 100_000
MAX_COUNT = 100_000_000
HELD_OUT_COUNT = 5_000


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10", help="(default: cifar10)")
    parser.add_argument("--layout", default="fresh", choices=nets.LAYOUTS,
                        help="see above (default: fresh)")
    parser.add_argument("--split", default="train", choices=["train", "validation"],
                        help="train: all training images (default); validation: "
                        "four fifths of them, and the rest for TEST")
    parser.add_argument("--protocol", default="paper", choices=splits.PROTOCOLS,
                        help="which images train: README.md, Measuring (default: paper)")
    parser.add_argument("--encoding", choices=databases.ENCODINGS,
                        help="how images are kept (fresh, indexed; default: as the data set "
                        "keeps them, raw if they are small)")
    parser.add_argument("--triplets", type=int,
                        help="how many (indexed, dense; default 100,000)")
    parser.add_argument("--split-seed", type=int, default=0,
                        help="which queries and training images (default 0)")
    parser.add_argument("--seed", type=int,
                        help="which triplets of them (indexed, dense; default 0)")
    parser.add_argument("--output", type=pathlib.Path,
                        help="the database to write (default: where the nets in "
                        "prototxt/ look for it)")
    arguments = parser.parse_args()
    check(arguments)

    dataset = datasets.load(arguments.dataset)
    split = splits.load_split(dataset, arguments.protocol, arguments.split_seed)
    if arguments.split == "train":
        parts = [("train", split.training, arguments.triplets)]
    else:
        parts = [("validation_train", split.validation_training, arguments.triplets),
                 ("validation_test", split.validation_queries,
                  min(arguments.triplets, HELD_OUT_COUNT))]
    for part, members, count in parts:
        output = paths.ROOT / nets.database_of(arguments.dataset, part, arguments.layout)
        if arguments.output:
            output = arguments.output.resolve()
            if len(parts) > 1:
                output = output.with_name(f"{output.name}_{part}")
        about = {"dataset": dataset.name, "source": dataset.source, "part": part,
                 "protocol": split.protocol, "split_seed": split.seed}
        write(arguments, dataset, members, count, about, output)


def check(arguments):
    """Refuse what makes no sense; fill in what was not said."""
    if arguments.layout == "fresh":
        for name in ("triplets", "seed"):
            if getattr(arguments, name) is not None:
                raise UserError(
                    f"--{name} goes with --layout indexed or dense; fresh triplets are "
                    "drawn while training, by the seed in the net")
    elif arguments.layout == "dense" and arguments.encoding not in (None, "raw"):
        raise UserError("--encoding goes with --layout fresh or indexed; dense triplets "
                        "are raw")
    if arguments.triplets is None:
        arguments.triplets = DEFAULT_COUNT
    if arguments.seed is None:
        arguments.seed = 0
    if arguments.seed < 0:
        raise UserError(f"--seed {arguments.seed}: seeds are 0 or more")
    if arguments.triplets > MAX_COUNT:
        raise UserError(f"{arguments.triplets:,} triplets: at most {MAX_COUNT:,} go "
                        "into a database")
    if arguments.output and not arguments.output.resolve().name:
        raise UserError(f"--output {arguments.output}: give the name of a new folder")
    if arguments.output is None and not splits.is_the_nets(
            arguments.protocol, arguments.split_seed):
        raise UserError("the nets in prototxt/ are for split seed 0 of the protocols "
                        "'paper' and '54k'; give another split's images a place of "
                        "their own with --output")


def write(arguments, dataset, members, count, about, output):
    """Write one database, and say what is in it."""
    needed = recipes.recipe_of(dataset.name, "").batch
    if len(members) < needed and about["part"] != "validation_test":
        raise UserError(f"{dataset.name} has {len(members)} training images and a batch of "
                        f"its nets {needed}; add images, or classes")
    labels = dataset.labels[members]
    per_class = labels if labels.ndim == 1 else np.nonzero(labels)[1]
    about["images_per_class"] = dict(zip(dataset.classes, np.bincount(
        per_class, minlength=len(dataset.classes)).tolist()))
    drawn = None
    if arguments.layout != "fresh":
        drawn = triplets.draw_triplets(labels, count, arguments.seed)
        about["seed"] = arguments.seed
    start = time.perf_counter()
    if arguments.layout == "dense":
        pad = recipes.recipe_of(dataset.name, "").pad
        images = np.pad(dataset.images[members], ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect")
        databases.write_dense(output, images, drawn, about)
        written = f"{count:,} triplets of {len(members):,} images"
    else:
        databases.write_images(output, dataset.images, labels, about, arguments.encoding,
                               drawn, rows=members)
        written = f"{len(members):,} images" + (
            f" and a list of {count:,} triplets" if drawn is not None else "")
    seconds = time.perf_counter() - start
    print(f"{output}: {written} ({dataset.source}), {seconds:.1f} s")
    for key, value in databases.read_layout(output).items():
        print(f"  {key}: {value}")


if __name__ == "__main__":
    errors.run(main)
