"""Train a net on your own images, from a folder to an index that can be searched.

  python tools/fit.py --images photos --name photos
  python tools/fit.py --images photos --name photos --bits 64 --minutes 30
  python tools/fit.py --images photos.csv --name photos --method dnnh --size 32

--images has a folder of images for each class, or is a CSV file of paths and labels. The tool runs
the commands that do each step, and prints them: prepare the data set, write the training images and
the net, `caffe train`, evaluate on queries that were not trained on, encode all images into an
index. Interrupted at any step, the same command resumes.

The default method, dnnh_pretrained, starts from EfficientNet-Lite0's ImageNet weights, which need
the extra `pretrained`, and is for images of one label each. The methods dnnh, dnnh_fc and
dnnh_two_towers start from scratch, and need far more images and time.
"""

import argparse
import contextlib
import pathlib
import shlex
import tempfile

from dnnh import atomic_files, cli, errors, files, paths, pipeline
from dnnh.data import datasets, folder, sources
from dnnh.errors import UserError
from dnnh.nets import configs, pretrained, prototxt, pycaffe, specs
from dnnh.nets.specs import NetSpec
from dnnh.retrieval import index_files

METHOD, NETWORK = "dnnh_pretrained", "efficientnet_lite0"
MEASURED = 5  # iterations, by which --minutes becomes a number of them
LEAST = 50  # iterations


def main() -> None:
    arguments = parse_arguments()
    data_set = prepare(arguments)
    if arguments.method == METHOD and not pretrained.path_of(NETWORK).is_file():
        pipeline.run_tool("get_model.py", NETWORK)
    schedule = str(arguments.iterations) if arguments.iterations else None
    spec = specs.net_spec(arguments.name, arguments.method, arguments.bits, schedule)
    write_images(spec, data_set)
    if arguments.minutes:
        iterations = iterations_in(spec, arguments.minutes, data_set)
        spec = specs.net_spec(arguments.name, arguments.method, arguments.bits, str(iterations))
    net = ["--dataset", spec.dataset, "--method", spec.method, "--bits", spec.bits]
    net += ["--schedule", spec.schedule]
    pipeline.run_tool("make_prototxt.py", *net)
    model = train(spec, data_set)
    pipeline.say("Evaluation on queries that were not trained on")
    pipeline.run_tool("evaluate.py", *net, "--model", model)
    output = arguments.output
    encode(arguments, net, model)
    shown = shlex.quote(str(output))
    pipeline.say(f"Search it: python tools/serve.py --index {shown}   (http://127.0.0.1:8000)")


def parse_arguments() -> argparse.Namespace:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--images",
        type=cli.path,
        required=True,
        help="a folder of class folders, or a CSV file",
    )
    parser.add_argument(
        "--name", required=True, help="name of the data set: lower-case letters and digits"
    )
    cli.add_bits_option(parser)
    parser.add_argument("--method", help=f"method (default: {METHOD})")
    parser.add_argument(
        "--size",
        type=int,
        choices=folder.SIDES,
        help="height and width that the images get (default: 256)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--iterations", type=int, help="training iterations (default: the method's own)"
    )
    length.add_argument(
        "--minutes", type=float, help="minutes of training, in place of --iterations"
    )
    parser.add_argument("--output", type=cli.path, help="the index (default: NAME.index.h5 here)")
    arguments = parser.parse_args()
    folder.check_name(arguments.name)
    if arguments.minutes is not None and not 0 < arguments.minutes <= 1e5:
        raise UserError(f"--minutes {arguments.minutes:g}: from more than 0 to 100,000")
    if arguments.iterations is not None and arguments.iterations < 1:
        raise UserError(f"--iterations {arguments.iterations}: 1 or more")
    output = pathlib.Path.cwd() / f"{arguments.name}.index.h5"
    cli.fill_in(arguments, bits=specs.DEFAULT_BITS, method=METHOD, size=256, output=output)
    specs.check_bits(arguments.bits)
    methods = (*configs.OWN_METHODS, METHOD)
    if arguments.method not in methods:
        raise UserError(
            f"--method {arguments.method}: images of your own take {', '.join(methods)}"
        )
    arguments.output, arguments.images = map(files.resolved, (arguments.output, arguments.images))
    check_places(arguments)
    pycaffe.load()  # raises where Caffe is not built
    return arguments


def check_places(arguments: argparse.Namespace) -> None:
    """Raise UserError, before hours of training, where the output could not be written after them."""
    output = arguments.output
    if output.is_relative_to(arguments.images):
        raise UserError(f"--output {output} lies in --images; name a place outside")
    if output.is_dir():
        raise UserError(
            f"{output} is a folder, and the index becomes a file; name another --output"
        )
    if output.exists():
        index = index_files.load(output)
        index.close()
        net, source = index.net, pathlib.Path(index.source)
        if (net.dataset, source) != (arguments.name, arguments.images):
            raise UserError(
                f"{output} is an index of {source} by {net.method} of {net.dataset}, not of "
                "--name and --images; name another --output"
            )


def prepare(arguments: argparse.Namespace) -> pathlib.Path:
    """The data set's file, made if it is not there."""
    path = datasets.path_of(arguments.name)
    if not path.exists():
        pipeline.say("Data set")
        words = ["folder", "--from", arguments.images, "--name", arguments.name]
        pipeline.run_tool("get_data.py", *words, "--size", arguments.size)
        return path
    dataset = datasets.load(arguments.name)
    origin, side = dataset.origin, dataset.images.shape[1]
    wanted = sources.as_text(str(arguments.images))
    if not origin:  # of an earlier version, which kept the folder's name alone
        origin, wanted = dataset.source.rpartition(",")[0], arguments.images.name
    if (origin, side) != (wanted, arguments.size):
        raise UserError(
            f"{path} is there already and was made from {origin} at {side}x{side}, not from "
            f"{arguments.images} at {arguments.size}x{arguments.size}; give another --name, or "
            "delete it"
        )
    pipeline.say(f"Data set: {path} is there already; delete it to read the images again")
    return path


def write_images(spec: NetSpec, data_set: pathlib.Path) -> None:
    """Write the LMDB of the training images, unless it is newer than the data set."""
    pipeline.say("Training images")
    database = paths.ROOT / specs.image_database_path(spec.dataset, "train")
    if files.is_newer(database / "data.mdb", data_set):
        print(f"{database} is there already")
    else:
        pipeline.run_tool("make_triplets.py", "--dataset", spec.dataset)


def iterations_in(spec: NetSpec, minutes: float, data_set: pathlib.Path) -> int:
    """How many iterations of a training run take so many minutes, by a few of them."""
    # The same number when the training goes on.
    known = paths.SNAPSHOTS / f"{spec.training_name}_{minutes:g}minutes.json"
    if files.is_newer(known, data_set):
        with contextlib.suppress(ValueError, TypeError):  # else it is damaged: measured again
            return int(files.read_json(known))
    pipeline.say(f"Measuring {MEASURED} iterations")
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        net, solver = prototxt.train_net(spec), prototxt.solver(spec)
        solver.net, solver.snapshot_prefix = str(place / "net.prototxt"), str(place / "net")
        solver.max_iter, solver.display, solver.snapshot_after_train = 1 + MEASURED, 1, False
        prototxt.write(place / "net.prototxt", net)
        prototxt.write(place / "solver.prototxt", solver)
        log = place / "training.log"
        seconds = pipeline.train(place / "solver.prototxt", log, initial_weights(spec))
    iterations = max(LEAST, int(60 * minutes / seconds))
    print(f"{seconds:.2f} s an iteration: {iterations:,} iterations in {minutes:g} minutes")
    atomic_files.write_text(known, f"{iterations}\n")
    return iterations


def initial_weights(spec: NetSpec) -> list[str]:
    """The option of `caffe train` for weights to start from."""
    return ["-weights", str(pretrained.path_of(NETWORK))] if spec.method == METHOD else []


def train(spec: NetSpec, data_set: pathlib.Path) -> pathlib.Path:
    """Train a net, or go on where its training was interrupted; returns its model."""
    pipeline.say(f"Training, {int(spec.schedule_config.solver.max_iter):,} iterations")
    solver, prefix = spec.files["solver"], paths.ROOT / spec.snapshot_prefix
    last = prefix.with_name(f"{prefix.name}_iter_{spec.schedule_config.solver.max_iter}.caffemodel")
    if files.is_newer(last, data_set):
        print(f"{last} is there already")
        return last
    states = prefix.parent.glob(f"{prefix.name}_iter_*.solverstate")
    newest = max(states, key=lambda path: path.stat().st_mtime_ns, default=None)
    start = initial_weights(spec)
    if newest is not None and files.is_newer(newest, data_set):
        start = ["-snapshot", str(newest)]
    prefix.parent.mkdir(exist_ok=True)
    log = prefix.with_name(f"{prefix.name}.log")
    pipeline.train(solver, log, start)
    if not files.is_newer(last, data_set):  # an interrupted caffe ends as if it had finished
        raise UserError("the training was stopped; the same command goes on with it")
    pipeline.run_tool("plot_log.py", log, "--output", log.with_suffix(".png"))
    return last


def encode(arguments: argparse.Namespace, net: list[object], model: pathlib.Path) -> None:
    """Encode all images, or what is new or changed in an index of these codes."""
    pipeline.say("Index")
    output = arguments.output
    if output.exists():
        index = index_files.load(output)
        # One model may have several lengths.
        wanted = (files.sha256(model), arguments.bits)
        has_these_codes = (index.net.weights, index.net.bits) == wanted
        can_be_updated = has_these_codes and index.stamps is not None
        index.close()
        if can_be_updated:
            words = ["--update", "--images", arguments.images, "--output", output]
            pipeline.run_tool("encode.py", *words, "--model", model)
            return
    words = ["--images", arguments.images, "--output", output, *net, "--model", model]
    pipeline.run_tool("encode.py", *words, *["--force"] * output.exists())


if __name__ == "__main__":
    errors.run(main)
