"""SVHN, from its cropped digits as .mat files (Netzer et al., NIPS workshop 2011).

A .mat file may be damaged or hostile, and SciPy's reader, which is partly written in C, can crash
the process on one. So the shapes that a file claims are checked before its arrays are read, and
a file that is not one of the published ones is first read in a process of its own: if that
process crashes, the file is refused. This guards against crashes, not against code that a file
might make SciPy run.
"""

import pathlib

import numpy as np
import scipy.io
from numpy.typing import NDArray
from tqdm import tqdm

from dnnh import files, python_process
from dnnh.data.dataset import Dataset
from dnnh.errors import UserError

# Images in each file; the first two are for training.
COUNTS = {"train_32x32.mat": 73_257, "extra_32x32.mat": 531_131, "test_32x32.mat": 26_032}
MD5 = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "extra_32x32.mat": "a93ce644f1a588dc4d68dda5feec44a7",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}


def prepare_svhn(source: files.StrPath) -> Dataset[NDArray[np.uint8]]:
    """SVHN from a folder that has its .mat files of 32x32 images.

    Parameters
    ----------
    source : path
        A folder with ``train_32x32.mat``, ``extra_32x32.mat`` and ``test_32x32.mat``.
        The extra ones may be missing; the data set then says so.

    Raises
    ------
    UserError
        If a file is missing, or is not what the official ones are.
    """
    source = pathlib.Path(source)
    if not source.is_dir():
        raise UserError(f"{source} is not a folder; name the one that has {', '.join(COUNTS)}")
    mat_files = {name: source / name for name in COUNTS if (source / name).is_file()}
    for name in COUNTS:
        if name not in mat_files and name != "extra_32x32.mat":
            raise UserError(f"{source}: {name} is missing")
    is_published = {name: files.md5(path) == MD5[name] for name, path in mat_files.items()}
    total = sum(COUNTS[name] for name in mat_files)
    images = np.empty((total, 32, 32, 3), np.uint8)
    labels = np.empty(total, np.int64)
    first = 0
    for name, path in tqdm(mat_files.items(), "reading SVHN", unit=" files"):
        rows = slice(first, first + COUNTS[name])
        pixels, digits = _read(path, COUNTS[name], is_published[name])
        images[rows] = pixels.transpose(3, 0, 1, 2)  # from (32, 32, 3, n)
        labels[rows] = digits % 10  # 10 stands for 0
        first = rows.stop
    what = "SVHN" if len(mat_files) == len(COUNTS) else "SVHN without its extra images"
    return Dataset(
        name="svhn",
        images=images,
        labels=labels,
        classes=tuple("0123456789"),
        train=total - COUNTS["test_32x32.mat"],
        source=f"{what} (md5 {'as published' if all(is_published.values()) else 'not verified'})",
    )


def _read(path: pathlib.Path, count: int, is_published: bool) -> tuple[NDArray, NDArray]:
    """X, uint8 of shape (32, 32, 3, count), and y, (count,), of one file."""
    expected = {"X": (32, 32, 3, count), "y": (count, 1)}
    try:
        # Shapes first: what claims to be huge is not read.
        listed = scipy.io.whosmat(path)
        shapes = {name: shape for name, shape, _ in listed}
        if len(shapes) < len(listed):
            raise UserError(f"{path} has several arrays of one name; fetch it again")
        if any(shapes.get(name) != shape for name, shape in expected.items()):
            raise UserError(
                f"{path} has arrays of the shapes {shapes}; X of shape "
                f"{expected['X']} and y of shape {expected['y']} are expected"
            )
        if not is_published:
            _load_in_another_process(path)
        arrays = scipy.io.loadmat(path, variable_names=list(expected))
        pixels, digits = arrays["X"], arrays["y"][:, 0]
    except UserError:
        raise
    except Exception as error:  # a broken .mat file can raise nearly anything
        raise UserError(
            f"{path} is not a whole .mat file of MATLAB 5 ({error}); fetch it again"
        ) from error
    if pixels.dtype != np.uint8 or digits.dtype.kind not in "iu":
        raise UserError(
            f"{path} has {pixels.dtype} as pixels and labels of {digits.dtype}; "
            "bytes and whole numbers are expected"
        )
    if digits.min() < 1 or digits.max() > 10:
        raise UserError(
            f"{path} has labels from {digits.min()} to {digits.max()}; 1 to 10, "
            "for the digits 1 to 9 and 0, are expected"
        )
    return pixels, digits


def _load_in_another_process(path: pathlib.Path) -> None:
    """Raise ValueError if reading the file fails, or crashes the process that reads it."""
    program = "import scipy.io; scipy.io.loadmat(sys.argv[1], variable_names=['X', 'y'])"
    completed = python_process.run(program, path)
    if completed.returncode:
        last_lines = completed.stderr.strip().splitlines()[-1:]
        raise ValueError(
            last_lines[0] if last_lines else f"its reader ended with signal {-completed.returncode}"
        )
