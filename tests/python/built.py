"""What the environment's programs were built from, which may be build/ or build-cuda/."""

import pathlib
import sys

from dnnh.paths import ROOT

sys.path.append(str(ROOT / "cmake"))
import bundle

CAFFE = ROOT / ".venv/bin/caffe"
BUILD = CAFFE.resolve().parents[1]


def has_onednn() -> bool:
    return "ONEDNN=0" not in (BUILD / "settings").read_text(encoding="utf-8")


def caffe_source() -> pathlib.Path:
    return bundle.caffe_source(BUILD)
