"""Where things lie in the repository."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
MODELS = ROOT / "models"
PROTOTXT = ROOT / "prototxt"
RESULTS = ROOT / "results"
SNAPSHOTS = ROOT / "snapshots"
# The program: of a bundle (`make bundle`), or of the environment that `make` makes.
CAFFE = ROOT / ("bin/caffe" if (ROOT / "bin/caffe").exists() else ".venv/bin/caffe")
