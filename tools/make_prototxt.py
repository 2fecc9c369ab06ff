"""Write nets and solvers to prototxt/.

  python tools/make_prototxt.py                                the committed ones
  python tools/make_prototxt.py --dataset cifar10 --bits 16    one more length
  python tools/make_prototxt.py --dataset cifar10 --variant lai --bits 64
  python tools/make_prototxt.py --dataset cifar10 --variant short --seed 2
  python tools/make_prototxt.py --dataset cifar10 --variant bare --layout dense

--layout says where the triplets come from in training: fresh (drawn while
training), indexed (a list) or dense (whole triplets, for Caffe's own Data layer);
`make_triplets.py --layout` writes what these read.
"""

import argparse

from dnnh import errors, nets, paths
from dnnh.errors import UserError


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", help="write this data set's net only")
    parser.add_argument("--variant", default="",
                        help="of the net: README.md lists them (default: the "
                        "paper's own net)")
    parser.add_argument("--layout", default="fresh", choices=nets.LAYOUTS,
                        help="see above (default: fresh)")
    parser.add_argument("--validation", action="store_true",
                        help="the net that trains on four fifths of the training images")
    parser.add_argument("--bits", type=int, nargs="+", default=[nets.DEFAULT_BITS],
                        help="code lengths, 8 to 64 (default 48)")
    parser.add_argument("--seed", type=int, default=1,
                        help="of weights, triplets and changes of images (default 1)")
    parser.add_argument("--iterations", type=int, default=0,
                        help="train so many, with the schedules of rate and threshold "
                        "stretched to them (default: the recipe's)")
    arguments = parser.parse_args()

    specs = nets.COMMITTED
    if arguments.dataset is None and (arguments.variant or arguments.validation
                                  or arguments.layout != "fresh" or arguments.seed != 1
                                  or arguments.iterations
                                  or arguments.bits != [nets.DEFAULT_BITS]):
        raise UserError("--bits, --variant, --layout, --seed, --iterations and --validation "
                        "need --dataset")
    if arguments.dataset is not None:
        specs = [nets.net_spec(arguments.dataset, arguments.variant, bits,
                               arguments.validation, arguments.layout, arguments.seed,
                               arguments.iterations)
                 for bits in arguments.bits]
    for spec in specs:
        for path, text in nets.files_of(spec).items():
            with paths.written_whole(path) as partial:
                partial.write_text(text)
            print(path.relative_to(paths.ROOT))
    if arguments.dataset is not None:
        print("train with:")
        for spec in specs:
            print(f"  caffe train -solver {spec.files['solver'].relative_to(paths.ROOT)}")


if __name__ == "__main__":
    errors.run(main)
