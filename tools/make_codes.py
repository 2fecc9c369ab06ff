"""CNNH's first stage: codes for the training images, made from their labels alone.

  python tools/make_codes.py --bits 12 24 32 48        CIFAR-10
  caffe train -solver prototxt/cifar10_cnnh_solver.prototxt       the second stage

Writes the training images of the protocol with their approximate codes, to where the
variants `cnnh` and `xia` of the nets look for them.
"""

import argparse

import numpy as np

from dnnh import cnnh, databases, datasets, errors, nets, paths, splits


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="cifar10", help="(default: cifar10)")
    parser.add_argument("--bits", type=int, nargs="+", default=[nets.DEFAULT_BITS],
                        help="lengths of the codes (default 48)")
    parser.add_argument("--split", default="train", choices=["train", "validation"],
                        help="train: all training images (default); validation: "
                        "four fifths of them")
    parser.add_argument("--seed", type=int, default=0, help="of the codes (default 0)")
    arguments = parser.parse_args()

    dataset = datasets.load(arguments.dataset)
    split = splits.load_split(dataset)
    part, members = (("train", split.training) if arguments.split == "train" else
                     ("validation_train", split.validation_training))
    for bits in arguments.bits:
        nets.net_spec(dataset.name, "cnnh", bits)              # is there such a net?
        objectives = []
        codes = cnnh.approximate_codes(dataset.labels[members], bits, arguments.seed,
                                       objectives)
        output = paths.ROOT / nets.database_of(dataset.name, part, coded=bits)
        databases.write_images(output, dataset.images, codes, {
            "labels": "approximate codes, a bit each", "dataset": dataset.name,
            "source": dataset.source, "part": part, "protocol": split.protocol,
            "split_seed": split.seed, "seed": arguments.seed}, rows=members)
        print(f"{output}: {len(members):,} images with codes of {bits} bits, "
              f"{len(np.unique(codes, axis=0)):,} of them different; "
              f"|S - H H^T / q|^2 / n^2 from {objectives[0]:.3f} to {objectives[-1]:.3f}")


if __name__ == "__main__":
    errors.run(main)
