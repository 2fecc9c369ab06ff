"""The whole pipeline: images, training, codes, Hamming ranking, report.

  python tools/demo.py                       scikit-learn's digits, half a minute
  python tools/demo.py --dataset cifar10     CIFAR-10, a shortened training run

`make demo` builds what is missing and runs this.
"""

import pathlib

from dnnh import cli, errors, paths, pipeline
from dnnh.data import datasets
from dnnh.nets import prototxt, specs

BITS = 48
# Iterations to train; None for the schedule's own. CIFAR-10's are far more.
ITERATIONS = {"digits": None, "cifar10": 200}


def main() -> None:
    parser = cli.parser(__doc__)
    parser.add_argument(
        "--dataset", default="digits", choices=sorted(ITERATIONS), help="(default: digits)"
    )
    dataset = parser.parse_args().dataset
    iterations = ITERATIONS[dataset]
    folder = paths.RESULTS / f"demo_{dataset}"
    folder.mkdir(parents=True, exist_ok=True)
    database, snapshots = folder / "images", folder / "snapshots"
    snapshots.mkdir(exist_ok=True)

    pipeline.say(f"1. Data: {datasets.load(dataset).source}")
    pipeline.say("2. Training images; triplets are drawn from them while training")
    pipeline.run_tool("make_triplets.py", "--dataset", dataset, "--output", database)
    pipeline.say("3. Training with `caffe train`")
    model = train(dataset, iterations, folder, database, snapshots / "net")
    pipeline.run_tool("plot_log.py", folder / "training.log", "--output", folder / "training.png")
    pipeline.say("4. Codes, Hamming ranking, report")
    note = (
        f"A shortened training run: {iterations} iterations where the schedule has many more; its "
        "figures show that everything works, not how well."
        if iterations
        else ""
    )
    evaluate = ["--dataset", dataset, "--bits", BITS, "--model", model, "--output", folder]
    pipeline.run_tool("evaluate.py", *evaluate, "--note", note)
    if note:
        pipeline.say(note)
    pipeline.say(f"Look at {folder / 'report.html'} and {folder / 'training.png'}")


def train(
    dataset: str,
    iterations: int | None,
    folder: pathlib.Path,
    database: pathlib.Path,
    prefix: pathlib.Path,
) -> pathlib.Path:
    """Train the committed net in ``folder``; returns the model's path."""
    spec = specs.net_spec(dataset, bits=BITS)
    net = prototxt.read_net(spec.files["train_test"])
    solver = prototxt.read_solver(spec.files["solver"])
    net.layer[0].triplet_data_param.source = str(database)
    solver.net = str(folder / "train_test.prototxt")
    solver.snapshot_prefix = str(prefix)
    solver.display = 10
    if iterations:
        solver.max_iter = iterations
    prototxt.write(folder / "train_test.prototxt", net)
    prototxt.write(folder / "solver.prototxt", solver)

    log = folder / "training.log"
    pipeline.train(folder / "solver.prototxt", log)
    return prefix.with_name(f"{prefix.name}_iter_{solver.max_iter}.caffemodel")


if __name__ == "__main__":
    errors.run(main)
