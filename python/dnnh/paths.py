"""Where things lie in the repository."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
MODELS = ROOT / "models"
PROTOTXT = ROOT / "prototxt"
RESULTS = ROOT / "results"
SNAPSHOTS = ROOT / "snapshots"
