"""What the environment's programs were built from, which may be build/ or build-cuda/."""

import pathlib
import re

from dnnh.paths import ROOT

CAFFE = ROOT / ".venv/bin/caffe"
BUILD = CAFFE.resolve().parents[1]


def has_onednn() -> bool:
    return "ONEDNN=0" not in _settings()


def caffe_source() -> pathlib.Path:
    given = re.match("CAFFE_SOURCE_DIR=(.*) ONEDNN=", _settings())
    return ROOT / given[1] if given and given[1] else BUILD / "caffe"


def _settings() -> str:
    return (BUILD / "settings").read_text(encoding="utf-8")
