"""Curves from the log of `caffe train`."""

import collections
import io
import os
import pathlib
import re
from collections.abc import Iterator

from dnnh import files, limits
from dnnh.errors import UserError

MAX_CURVES = 1000
LINE_LETTERS = 100_000  # that are read at once

Curve = tuple[list[int], list[float]]  # iterations, values

# "Iteration 20 (1.2 iter/s, 16s/20 iters), loss = 0.98"
_ITERATION = re.compile(r"Iteration (\d{1,12})(?: \(|, loss|, Testing)")
# "    Train net output #2: distinct_codes = 61"
_OUTPUT = re.compile(r"(Train|Test) net output #\d+: (\S{1,100}) = (\S+)")
# "PiecewiseThreshold layer 'codes': epsilon = 0.4 from iteration 20000"
_EPSILON = re.compile(r"epsilon = (\S+) from iteration (\d{1,12})\b")


def read(path: pathlib.Path) -> dict[str, Curve]:
    """Read a log of `caffe train`, or several appended to one another.

    Parameters
    ----------
    path : path of the log

    Returns
    -------
    dict of name to (iterations, values)
        Lists of equal length in the order of the iterations: each output of the training net;
        each output of the TEST phase, with "test " before its name; ``epsilon`` where it
        changed. Where training was resumed from a snapshot and an iteration is logged twice,
        the later one counts.

    Raises
    ------
    UserError
        If the file cannot be read, or is no such log.
    """
    curves: dict[str, dict[int, float]] = collections.defaultdict(dict)
    iteration = None
    for line in _lines(path):
        if match := _ITERATION.search(line):
            iteration = int(match[1])
        elif match := _EPSILON.search(line):
            _put(curves["epsilon"], int(match[2]), match[1])
        elif (match := _OUTPUT.search(line)) and iteration is not None:
            name = match[2] if match[1] == "Train" else f"test {match[2]}"
            if name not in curves and len(curves) >= MAX_CURVES:
                raise UserError(f"{path} has more than {MAX_CURVES:,} outputs; no net has so many")
            _put(curves[name], iteration, match[3])
    curves = {name: points for name, points in curves.items() if points}
    if not any(name != "epsilon" for name in curves):
        raise UserError(
            f"{path} has no figures of a training run in it; give a log of 'caffe train', for "
            "example by 'caffe train ... 2>&1 | tee training.log'"
        )
    return {name: _sorted(points) for name, points in curves.items()}


def _lines(path: pathlib.Path) -> Iterator[str]:
    """The lines of a text file, one in memory at a time; long ones come in parts."""
    try:
        with files.open_regular_file(path) as stream:
            if os.fstat(stream.fileno()).st_size > limits.LOG_BYTES:
                raise files.too_large(path, limits.LOG_BYTES)
            text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace")
            while line := text.readline(LINE_LETTERS):
                yield line
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path} cannot be read ({reason})") from error


def _put(points: dict[int, float], iteration: int, text: str) -> None:
    """Keep a figure, unless its line was cut inside the number."""
    try:
        points[iteration] = float(text)
    except ValueError:
        pass


def _sorted(points: dict[int, float]) -> Curve:
    iterations = sorted(points)
    return iterations, [points[iteration] for iteration in iterations]
