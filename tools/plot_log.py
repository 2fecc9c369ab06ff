"""Plot what a log of `caffe train` says: loss, active triplets, bits, codes.

  caffe train -solver prototxt/cifar10_solver.prototxt 2>&1 | tee training.log
  python tools/plot_log.py training.log                     writes training.log.png
  python tools/plot_log.py training.log --output plot.pdf
"""

import argparse
import pathlib

from dnnh import errors, paths, plots, traininglog
from dnnh.errors import UserError


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path,
                        help="picture to write, .png, .pdf or .svg")
    arguments = parser.parse_args()

    output = arguments.output or arguments.log.with_name(arguments.log.name + ".png")
    if output.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"{output}: pictures are .png, .pdf or .svg files")
    paths.check_apart([output], [arguments.log])
    figure = plots.training(traininglog.read(arguments.log))
    with paths.written_whole(output) as partial:
        figure.savefig(partial, format=output.suffix[1:], dpi=120)
    print(output)


if __name__ == "__main__":
    errors.run(main)
