"""Commands that run one after the other, each printed: our tools and `caffe train`."""

import pathlib
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from dnnh import paths
from dnnh.errors import UserError
from dnnh.nets import prototxt

_ITERATION = re.compile(r"Iteration (\d+).*, loss = (\S+)")
_OUTPUT = re.compile(r"Train net output #\d+: (?:\d+bit_)?(distinct_codes|clipped) = (\S+)")


def say(text: str) -> None:
    """Print what begins now."""
    print(f"\n{text}", flush=True)


def run_tool(name: str, *arguments: object) -> None:
    """Run one of our tools, as a user would.

    Raises
    ------
    UserError
        If it fails.
    """
    command = ["python", f"tools/{name}", *map(str, arguments)]
    print("$ " + shlex.join(command), flush=True)
    command[:2] = [sys.executable, str(paths.TOOLS / name)]
    if subprocess.run(command, cwd=paths.ROOT).returncode:
        raise UserError(f"tools/{name} failed; its message is above")


def train(solver: pathlib.Path, log: pathlib.Path, options: Sequence[str] = ()) -> float:
    """Run `caffe train` with its output in a log, and its progress on the terminal: the loss,
    different codes in a batch, the share of outputs that the threshold rounds, and the time left.

    Where Ctrl-C ends it, it writes a snapshot first. The log of a training run that goes on is
    continued.

    Parameters
    ----------
    solver : path of the solver prototxt
    log : path
    options : further options of `caffe train`, for example -snapshot and its file

    Returns
    -------
    float : seconds an iteration, without the first that is logged

    Raises
    ------
    UserError
        If it fails.
    """
    command = ["caffe", "train", "-solver", str(solver), *options]
    print("$ " + shlex.join(command), flush=True)
    # The environment's own caffe, whether or not the environment is active.
    command[0] = str(paths.CAFFE)
    iterations = prototxt.read_solver(solver).max_iter
    began: tuple[int, float] | None = None  # iterations, and when they had been computed
    latest: tuple[int, float] | None = None
    shown: dict[str, str] = {}
    with (
        log.open("a" if "-snapshot" in options else "w", buffering=1, encoding="utf-8") as file,
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
        try:
            for line in process.stdout:
                file.write(line)
                if match := _ITERATION.search(line):
                    iteration = int(match[1])
                    if iteration < iterations:  # that of the end has a forward pass alone
                        latest = iteration, time.monotonic()
                        began = began or latest
                        progress.initial = progress.initial or iteration
                    progress.n, shown["loss"] = iteration, match[2]
                    progress.set_postfix(shown)
                elif match := _OUTPUT.search(line):
                    shown[match[1]] = match[2]
        except KeyboardInterrupt:
            file.writelines(process.stdout)  # until the snapshot is written
            raise
        if process.wait():
            raise UserError(f"caffe train failed; see {log}")
        progress.n = iterations
        progress.refresh()
    if began is None or latest is None:
        return 0.0
    return (latest[1] - began[1]) / max(1, latest[0] - began[0])
