"""The whole pipeline: images, training, codes, Hamming ranking, report.

  python tools/demo.py                       scikit-learn's digits, half a minute
  python tools/demo.py --dataset cifar10     CIFAR-10, a shortened training

`make demo` builds what is missing and runs this.
"""

import pathlib
import re
import shlex
import subprocess
import sys

from tqdm import tqdm

from dnnh import cli, errors, paths
from dnnh.data import datasets
from dnnh.errors import UserError
from dnnh.nets import prototxt, specs

BITS = 48
# Iterations to train; None for the schedule's own. CIFAR-10's are far more.
ITERATIONS = {"digits": None, "cifar10": 200}
LOGGED_ITERATION = re.compile(r"Iteration (\d+).*, loss = (\S+)")


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

    say(f"1. Data: {datasets.load(dataset).source}")
    say("2. Training images; triplets are drawn from them while training")
    run_tool("make_triplets.py", "--dataset", dataset, "--output", database)
    say("3. Training with `caffe train`")
    model = train(dataset, iterations, folder, database, snapshots / "net")
    run_tool("plot_log.py", folder / "training.log", "--output", folder / "training.png")
    say("4. Codes, Hamming ranking, report")
    note = (
        f"A shortened training: {iterations} iterations where the schedule has many more; its "
        "figures show that everything works, not how well."
        if iterations
        else ""
    )
    evaluate = ["--dataset", dataset, "--bits", BITS, "--model", model, "--output", folder]
    run_tool("evaluate.py", *evaluate, "--note", note)
    if note:
        say(note)
    say(f"Look at {folder / 'report.html'} and {folder / 'training.png'}")


def say(text: str) -> None:
    print(f"\n{text}", flush=True)


def run_tool(name: str, *arguments: object) -> None:
    """Run one of our tools, as a user would."""
    command = ["python", f"tools/{name}", *map(str, arguments)]
    print("$ " + shlex.join(command), flush=True)
    command[0] = sys.executable
    if subprocess.run(command, cwd=paths.ROOT).returncode:
        raise UserError(f"tools/{name} failed; its message is above")


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

    command = ["caffe", "train", "-solver", str(folder / "solver.prototxt")]
    print("$ " + shlex.join(command), flush=True)
    # The environment's own caffe, whether or not the environment is active.
    command[0] = str(paths.CAFFE)
    run_with_progress(command, folder / "training.log", solver.max_iter)
    return prefix.with_name(f"{prefix.name}_iter_{solver.max_iter}.caffemodel")


def run_with_progress(command: list[str], log: pathlib.Path, iterations: int) -> None:
    """Run `caffe train`, with its output in a log and its progress on the terminal."""
    with (
        log.open("w", encoding="utf-8") as file,
        tqdm(total=iterations, unit=" iterations", desc="training") as progress,
        subprocess.Popen(
            command,
            cwd=paths.ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            if match := LOGGED_ITERATION.search(line):
                progress.n = int(match[1])
                progress.set_postfix(loss=match[2])
        if process.wait():
            raise UserError(f"caffe train failed; {log} says why")


if __name__ == "__main__":
    errors.run(main)
