"""Where things lie in the repository, and files that appear whole or not at all."""

import contextlib
import os
import pathlib
import shutil

from dnnh.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
MODELS = ROOT / "models"
PROTOTXT = ROOT / "prototxt"
RESULTS = ROOT / "results"
SNAPSHOTS = ROOT / "snapshots"


@contextlib.contextmanager
def written_whole(path):
    """Yield a path beside ``path`` to write to; rename it when all went well.

    Works for files and for folders. If the block raises, or the process is
    killed, ``path`` is left as it was; a leftover of an earlier kill is removed
    at the start. A folder is never replaced by a file.
    """
    path = pathlib.Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is a device or a pipe; name a file to write")
    partial = path.with_name(f".{path.name}.dnnh-partial")
    remove(partial)
    try:
        yield partial
        if path.is_dir():   # a folder cannot be renamed over a full one
            if not partial.is_dir():
                raise UserError(f"{path} is a folder; name a file to write")
            remove(path)
        os.replace(partial, path)
    finally:
        remove(partial)


def remove(path):
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
