"""Write the prototxt files of nets and their solvers.

  python tools/make_prototxt.py                                      the committed ones
  python tools/make_prototxt.py --dataset cifar10 --bits 16          one more length
  python tools/make_prototxt.py --method dnnh_lai --bits 64
  python tools/make_prototxt.py --schedule short --bits 48 --train-seed 2
  python tools/make_prototxt.py --dataset photos --schedule 2000     a number of iterations
  python tools/make_prototxt.py --method dnnh_minimal --sampling materialized

Committed nets are in prototxt/, all others are written to prototxt/generated/, which git ignores.
--sampling says where the triplets come from in training: online (drawn from the labels while
training), listed (a list of image numbers) or materialized (whole triplets, for Caffe's own Data
layer); `make_triplets.py --sampling` writes what the last two read.
"""

import argparse

from dnnh import atomic_files, cli, errors, paths
from dnnh.nets import prototxt, specs


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_net_options(parser, many_lengths=True)
    cli.add_split_option(parser)
    cli.add_sampling_option(parser)
    cli.add_train_seed_option(parser)
    arguments = parser.parse_args()

    options = ("dataset", "method", "bits", "schedule", "split", "sampling", "train_seed")
    one_net = bool(cli.given(arguments, options))
    wanted = specs_of(arguments) if one_net else specs.committed()
    for spec in wanted:
        for path, text in prototxt.texts(spec).items():
            atomic_files.write_text(path, text)
            print(path.relative_to(paths.ROOT))
    if one_net:
        print("train with:")
        for spec in wanted:
            print(f"  caffe train -solver {spec.files['solver'].relative_to(paths.ROOT)}")


def specs_of(arguments: argparse.Namespace) -> list[specs.NetSpec]:
    """The nets that are asked for, one for each length."""
    cli.fill_in(arguments, bits=[specs.DEFAULT_BITS], sampling="online")
    cli.fill_in_defaults(arguments)
    return [
        specs.net_spec(
            arguments.dataset,
            arguments.method,
            bits,
            arguments.schedule,
            arguments.split,
            arguments.sampling,
            arguments.train_seed,
        )
        for bits in arguments.bits
    ]


if __name__ == "__main__":
    errors.run(main)
