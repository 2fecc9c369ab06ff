"""Plot what a log of `caffe train` says: loss, active triplets, bits, codes.

  caffe train -solver prototxt/cifar10_solver.prototxt 2>&1 | tee training.log
  python tools/plot_log.py training.log                     writes training.log.png
  python tools/plot_log.py training.log --output plot.pdf
"""

import argparse
import pathlib

from dnnh import errors, plots, traininglog


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path,
                        help="picture to write, .png, .pdf or .svg")
    arguments = parser.parse_args()

    output = arguments.output or arguments.log.with_name(arguments.log.name + ".png")
    plots.training(traininglog.read(arguments.log)).savefig(output, dpi=120)
    print(output)


if __name__ == "__main__":
    errors.run(main)
