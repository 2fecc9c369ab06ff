"""Figures out of Caffe's training log."""

import collections
import re

from dnnh.errors import UserError

# "Iteration 20 (1.2 iter/s, 16s/20 iters), loss = 0.98"
_ITERATION = re.compile(r"Iteration (\d+)(?: \(|, loss|, Testing)")
# "    Train net output #2: distinct_codes = 61"
_OUTPUT = re.compile(r"(Train|Test) net output #\d+: (\S+) = (\S+)")
# "PiecewiseThreshold layer 'codes': epsilon = 0.4 from iteration 20000"
_EPSILON = re.compile(r"epsilon = (\S+) from iteration (\d+)")


def read(path):
    """Read a log of `caffe train`, or several appended to one another.

    Parameters
    ----------
    path : path of the log

    Returns
    -------
    dict of name to (iterations, values), lists of equal length in the order of the
    iterations: each output of the training net; each output of the TEST phase, with
    "test " before its name; ``epsilon`` where it changed. Where training went on
    from a snapshot and an iteration is there twice, the later one counts.

    Raises
    ------
    UserError
        If there is nothing of the kind in it.
    """
    curves = collections.defaultdict(dict)
    iteration = None
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    for line in lines:
        if found := _ITERATION.search(line):
            iteration = int(found[1])
        elif found := _EPSILON.search(line):
            _put(curves, "epsilon", int(found[2]), found[1])
        elif (found := _OUTPUT.search(line)) and iteration is not None:
            name = found[2] if found[1] == "Train" else f"test {found[2]}"
            _put(curves, name, iteration, found[3])
    if not any(name != "epsilon" for name in curves):
        raise UserError(f"{path} has no figures of a training in it; give a log of "
                        "'caffe train', for example by 'caffe train ... 2>&1 | tee "
                        "training.log'")
    return {name: tuple(map(list, zip(*sorted(points.items()))))
            for name, points in curves.items()}


def _put(curves, name, iteration, text):
    """Keep a figure; a line that was cut inside a number has none."""
    try:
        curves[name][iteration] = float(text)
    except ValueError:
        pass
