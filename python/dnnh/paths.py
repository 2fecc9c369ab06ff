"""Where things lie in the repository; for a package installed from a wheel, in the current folder."""

import pathlib

_PACKAGE = pathlib.Path(__file__).resolve().parent
_IS_INSTALLED = (_PACKAGE / "tools").is_dir()
ROOT = pathlib.Path.cwd() if _IS_INSTALLED else _PACKAGE.parents[1]
TOOLS = _PACKAGE / "tools" if _IS_INSTALLED else ROOT / "tools"
DATA = ROOT / "data"
MODELS = ROOT / "models"
PROTOTXT = ROOT / "prototxt"
RESULTS = ROOT / "results"
SNAPSHOTS = ROOT / "snapshots"
# The program: of a bundle (`make bundle`), or of the environment that `make` makes.
CAFFE = ROOT / ("bin/caffe" if (ROOT / "bin/caffe").exists() else ".venv/bin/caffe")
