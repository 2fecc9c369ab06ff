"""Plot the log of `caffe train`: loss, active triplets, bits, codes.

caffe train -solver prototxt/cifar10_solver.prototxt 2>&1 | tee training.log
python tools/plot_log.py training.log                     writes training.log.png
python tools/plot_log.py training.log --output plot.pdf
"""

from dnnh import atomic_files, cli, errors, pages
from dnnh.errors import UserError
from dnnh.evaluation import plots
from dnnh.nets import training_log


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument("log", type=cli.path)
    parser.add_argument("--output", type=cli.path, help="picture to write, .png, .pdf or .svg")
    arguments = parser.parse_args()

    if not arguments.log.is_file():
        raise UserError(f"{arguments.log} is not a file; name a log of 'caffe train'")
    output = arguments.output or arguments.log.with_name(arguments.log.name + ".png")
    if output.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"{output}: pictures are .png, .pdf or .svg files")
    atomic_files.refuse_overwriting([output], [arguments.log])
    figure = plots.training(training_log.read(arguments.log))
    atomic_files.write_bytes(output, pages.figure_bytes(figure, output.suffix[1:], dpi=120))
    print(output)


if __name__ == "__main__":
    errors.run(main)
