"""The main job end to end: images, training, codes, ranking, report.

  python tools/demo.py                       scikit-learn's digits, half a minute
  python tools/demo.py --dataset cifar10     CIFAR-10, a reduced run

`make demo` builds what is missing and runs this.
"""

import argparse
import re
import shlex
import subprocess
import sys

from tqdm import tqdm

from dnnh import datasets, errors, nets, paths
from dnnh.errors import UserError

BITS = 48
# Iterations to train, None for the solver's; CIFAR-10's goes on far longer.
ITERATIONS = {"digits": None, "cifar10": 200}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits", choices=sorted(ITERATIONS),
                        help="(default: digits)")
    dataset = parser.parse_args().dataset
    iterations = ITERATIONS[dataset]
    folder = paths.RESULTS / f"demo_{dataset}"
    folder.mkdir(parents=True, exist_ok=True)

    say(f"1. Data: {datasets.load(dataset).source}")
    database, snapshots = folder / "images", folder / "snapshots"
    snapshots.mkdir(exist_ok=True)
    say("2. Training images; triplets are drawn from them while training")
    tool("make_triplets.py", "--dataset", dataset, "--output", database)
    say("3. Training with `caffe train`")
    model = train(dataset, iterations, folder, database, snapshots / "net")
    tool("plot_log.py", folder / "training.log", "--output", folder / "training.png")
    say("4. Codes, Hamming ranking, report")
    reduced = iterations is not None
    note = (f"A reduced run: {iterations} iterations where the solver has many more; "
            "its figures say that things work, not how well." if reduced else "")
    tool("evaluate.py", "--dataset", dataset, "--bits", BITS, "--model", model,
         "--output", folder, "--note", note)
    if reduced:
        say(note)
    say(f"Look at {folder / 'report.html'} and {folder / 'training.png'}")


def say(text):
    print(f"\n{text}", flush=True)


def tool(name, *arguments):
    """Run one of our tools, as a user would."""
    command = ["python", f"tools/{name}", *map(str, arguments)]
    print("$ " + shlex.join(command), flush=True)
    command[0] = sys.executable
    if subprocess.run(command, cwd=paths.ROOT).returncode:
        raise UserError(f"tools/{name} failed; its message is above")


def train(dataset, iterations, folder, database, prefix):
    """Train in ``folder`` with the committed net; returns the model's path."""
    spec = nets.net_spec(dataset, bits=BITS)
    net, solver = folder / "train_test.prototxt", folder / "solver.prototxt"
    net.write_text(spec.files["train_test"].read_text().replace(
        nets.database_of(dataset, "train"), str(database)))
    text = spec.files["solver"].read_text()
    text = re.sub(r"(?m)^net: .*", f'net: "{net}"', text)
    text = re.sub(r"(?m)^snapshot_prefix: .*", f'snapshot_prefix: "{prefix}"', text)
    text = re.sub(r"(?m)^display: .*", "display: 10", text)
    if iterations:
        text = re.sub(r"(?m)^max_iter: .*", f"max_iter: {iterations}", text)
    solver.write_text(text)
    total = int(re.search(r"(?m)^max_iter: (\d+)", text)[1])

    log = folder / "training.log"
    command = ["caffe", "train", "-solver", str(solver)]
    print("$ " + shlex.join(command), flush=True)
    # The environment's own caffe, whether or not the environment is active.
    command[0] = str(paths.ROOT / ".venv/bin/caffe")
    with log.open("w") as file, tqdm(total=total, unit="iteration",
                                     desc="training") as progress:
        process = subprocess.Popen(command, cwd=paths.ROOT, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for line in process.stdout:
            file.write(line)
            if found := re.search(r"Iteration (\d+).*, loss = (\S+)", line):
                progress.n = int(found[1])
                progress.set_postfix(loss=found[2])
        if process.wait():
            raise UserError(f"caffe train failed; {log} says why")
    return prefix.with_name(f"{prefix.name}_iter_{total}.caffemodel")


if __name__ == "__main__":
    errors.run(main)
