"""CNNH's first stage: codes for the training images, made from their labels alone.

  python tools/make_target_codes.py --bits 12 24 32 48        CIFAR-10
  caffe train -solver prototxt/cifar10/cnnh_star_48bit_solver.prototxt    the second stage

Writes the training images of the protocol with their approximate codes, to where the
nets `cnnh` and `cnnh_star` look for them.
"""

import numpy as np

from dnnh import cli, errors, paths
from dnnh.baselines import cnnh
from dnnh.data import datasets, image_database, splits
from dnnh.nets import specs


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_dataset_option(parser)
    cli.add_bits_option(parser, many_lengths=True)
    parser.add_argument(
        "--split",
        choices=specs.SPLITS,
        help="test: codes for all training images (default); validation: for four fifths of them",
    )
    cli.add_method_seed_option(parser)
    arguments = parser.parse_args()
    cli.fill_in(arguments, bits=[cli.DEFAULTS["bits"]])
    cli.fill_in_defaults(arguments)

    dataset = datasets.load(arguments.dataset)
    split = splits.load_split(dataset)
    part, rows = split.trained_on(arguments.split)
    for bits in arguments.bits:
        specs.net_spec(dataset.name, "cnnh_star", bits)  # raises if there is no such net
        objectives: list[float] = []
        codes = cnnh.approximate_codes(
            dataset.labels[rows], bits, arguments.method_seed, objectives
        )
        output = paths.ROOT / specs.image_database_path(dataset.name, part, target_bits=bits)
        image_database.write_images(
            output,
            dataset.images,
            codes,
            {
                "labels": "approximate codes, a bit each",
                **split.about(dataset, part),
                "seed": arguments.method_seed,
            },
            rows=rows,
        )
        print(
            f"{output}: {len(rows):,} images with codes of {bits} bits, "
            f"{len(np.unique(codes, axis=0)):,} of them different; "
            f"|S - H H^T / q|^2 / n^2 from {objectives[0]:.3f} to {objectives[-1]:.3f}"
        )


if __name__ == "__main__":
    errors.run(main)
