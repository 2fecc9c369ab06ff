"""Write what `caffe train` reads: training images, or triplets of them.

  python tools/make_triplets.py                        CIFAR-10, 5,000 images
  python tools/make_triplets.py --dataset digits
  python tools/make_triplets.py --split validation     4,000 images, and the other
                                                       1,000 for the TEST phase
  python tools/make_triplets.py --sampling listed --triplets 1000000 --triplet-seed 3
  python tools/make_triplets.py --sampling materialized --output /tmp/triplets

--sampling online (the default) writes each image once, with its label; the nets in
prototxt/ draw triplets from the labels while they train. listed writes a list of
triplets beside the images, three numbers each, for nets that follow a list.
materialized writes whole triplets, for Caffe's own Data layer. `make_prototxt.py --sampling`
makes the nets for these two, of the methods `dnnh_minimal` and `dnnh_lai`. Only
training images of the protocol are written, none of its queries.
"""

import argparse
import dataclasses
import pathlib
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dnnh import cli, errors, files, paths
from dnnh.data import datasets, image_database, splits, triplets
from dnnh.data.dataset import Dataset, Images
from dnnh.errors import UserError
from dnnh.nets import configs, specs

DEFAULT_TRIPLETS = 100_000
MAX_TRIPLETS = 100_000_000
HELD_OUT_TRIPLETS = 5_000


@dataclasses.dataclass
class Part:
    """Training images that become one database."""

    name: str
    rows: NDArray[np.int64]
    triplets: int


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_dataset_option(parser)
    cli.add_sampling_option(parser)
    parser.add_argument(
        "--split",
        choices=specs.SPLITS,
        help="test: all training images (default); validation: four fifths of them, and the "
        "others for the TEST phase",
    )
    cli.add_protocol_options(parser)
    parser.add_argument(
        "--encoding",
        choices=image_database.ENCODINGS,
        help="encoding of the images (online, listed; default: as the data set stores them, raw if "
        "they are small)",
    )
    parser.add_argument(
        "--triplets",
        type=int,
        help=f"number of triplets (listed, materialized; default: {DEFAULT_TRIPLETS:,})",
    )
    parser.add_argument(
        "--triplet-seed",
        type=int,
        help="random seed of the triplets (listed, materialized; default: 0)",
    )
    parser.add_argument(
        "--output",
        type=cli.path,
        help="the database to write (default: where the nets in prototxt/ look for it)",
    )
    arguments = parser.parse_args()
    check(arguments)

    dataset = datasets.load(arguments.dataset)
    split = splits.load_split(dataset, arguments.protocol, arguments.split_seed)
    for part in parts_of(arguments, split):
        output = output_of(arguments, part)
        write(arguments, dataset, part, split.about(dataset, part.name), output)


def check(arguments: argparse.Namespace) -> None:
    """Fill in defaults; refuse options that do not go together or are out of range."""
    cli.fill_in(arguments, sampling="online")
    if arguments.sampling == "online":
        cli.refuse(
            arguments,
            ("triplets", "triplet_seed"),
            "goes with --sampling listed or materialized; online triplets are drawn while training, by "
            "the seed in the net",
        )
    if arguments.sampling == "materialized" and arguments.encoding not in (None, "raw"):
        raise UserError(
            "--encoding goes with --sampling online or listed; materialized triplets are raw"
        )
    cli.fill_in(arguments, triplets=DEFAULT_TRIPLETS, triplet_seed=0)
    cli.fill_in_defaults(arguments)
    if arguments.triplet_seed < 0:
        raise UserError(f"--triplet-seed {arguments.triplet_seed}: seeds are 0 or more")
    if arguments.triplets > MAX_TRIPLETS:
        raise UserError(
            f"{arguments.triplets:,} triplets: at most {MAX_TRIPLETS:,} go into a database"
        )
    if arguments.output and not files.resolved(arguments.output).name:
        raise UserError(f"--output {arguments.output}: give the name of a new folder")
    if arguments.output is None and not splits.fits_committed_nets(
        arguments.protocol, arguments.split_seed
    ):
        raise UserError(
            "the nets in prototxt/ are for split seed 0 of the protocols "
            "'paper' and '54k'; pass --output to write another split's images elsewhere"
        )


def parts_of(arguments: argparse.Namespace, split: splits.Split) -> list[Part]:
    """The parts of the training images that are asked for."""
    training = Part(*split.trained_on(arguments.split), arguments.triplets)
    if arguments.split == "test":
        return [training]
    held_out = min(arguments.triplets, HELD_OUT_TRIPLETS)
    return [training, Part("validation_test", split.validation_queries, held_out)]


def output_of(arguments: argparse.Namespace, part: Part) -> pathlib.Path:
    """The database of a part."""
    if arguments.output is None:
        return paths.ROOT / specs.image_database_path(
            arguments.dataset, part.name, sampling=arguments.sampling
        )
    output = files.resolved(arguments.output)
    return output if arguments.split == "test" else output.with_name(f"{output.name}_{part.name}")


def write(
    arguments: argparse.Namespace,
    dataset: Dataset[Images],
    part: Part,
    about: dict[str, Any],
    output: pathlib.Path,
) -> None:
    """Write one database, and print what is in it."""
    config = specs.net_spec(dataset.name).config
    if len(part.rows) < config.batch.images and part.name != "validation_test":
        raise UserError(
            f"{dataset.name} has {len(part.rows)} training images and a batch of "
            f"its nets {config.batch.images}; add images, or classes"
        )
    labels = dataset.labels[part.rows]
    class_of_each = labels if labels.ndim == 1 else np.nonzero(labels)[1]
    counts = np.bincount(class_of_each, minlength=len(dataset.classes))
    about["images_per_class"] = dict(zip(dataset.classes, counts.tolist()))
    drawn = None
    if arguments.sampling != "online":
        drawn = triplets.draw_triplets(labels, part.triplets, arguments.triplet_seed)
        about["triplet_seed"] = arguments.triplet_seed
    start = time.perf_counter()
    if arguments.sampling == "materialized":
        assert drawn is not None
        pad = configs.materialized_pad(dataset.name)
        images = np.pad(
            dataset.images[part.rows], ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="reflect"
        )
        image_database.write_materialized_triplets(output, images, drawn, about)
        content = f"{part.triplets:,} triplets of {len(part.rows):,} images"
    else:
        image_database.write_images(
            output, dataset.images, labels, about, arguments.encoding, drawn, rows=part.rows
        )
        content = f"{len(part.rows):,} images"
        if drawn is not None:
            content += f" and a list of {part.triplets:,} triplets"
    seconds = time.perf_counter() - start
    print(f"{output}: {content} ({dataset.source}), {seconds:.1f} s")
    for key, value in image_database.read_layout(output).items():
        print(f"  {key}: {value}")


if __name__ == "__main__":
    errors.run(main)
